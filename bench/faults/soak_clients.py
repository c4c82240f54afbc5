"""The clients of a soak: good ones of each interface, and bad ones of each kind. All keep a steady, moderate pace."""

import base64
import io
import json
import random
import threading
from collections.abc import Sequence
from contextlib import closing
from functools import cache, partial
from http.client import HTTPException
from pathlib import Path

from PIL import Image

from bench.expensive_images import FORM, form
from bench.faults.clients import (
    Fault,
    call,
    connect,
    post,
    request_head,
    send_and_leave,
    send_head_slowly,
    send_trailers,
)
from bench.serving.post import inference_request
from bench.serving.process import send

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")
PHOTOS = 24  # of the folder; the clients send each in every format
LARGE = (4000, 3000)  # pixels, as a telephone's photograph
PAUSE = 1.0  # seconds after each attempt of a client
BATCH = 4  # images in a form
JSON = {"Content-Type": "application/json"}
TLS_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello over TLS\r\n\r\n"
PAGES = ("/", "/docs", "/openapi.json", "/healthz", "/readyz", "/metrics", "/v1/validations", "/v2", "/no/such/path")
CLASSES = ("helicopter", "pagoda")  # two that the embedded model knows
IMAGES = 8  # of each class in the data set of the validations


def convert(photos: Sequence[bytes]) -> list[bytes]:
    """PHOTOS photographs, taken evenly, each in every format."""
    found = []
    for photo in photos[:: max(1, len(photos) // PHOTOS)][:PHOTOS]:
        image = Image.open(io.BytesIO(photo)).convert("RGB")
        for kind in FORMATS:
            packed = io.BytesIO()
            image.save(packed, kind)
            found.append(packed.getvalue())
    return found


@cache
def enlarge(photo: bytes) -> bytes:
    """A photograph as a JPEG of LARGE, which the server decodes apart from small ones."""
    packed = io.BytesIO()
    Image.open(io.BytesIO(photo)).resize(LARGE).save(packed, "JPEG")
    return packed.getvalue()


def write_data_set(folder: Path, photos: Sequence[bytes]) -> None:
    """Write a data set of CLASSES. Its labels do not matter."""
    for number, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for index, photo in enumerate(photos[number :: len(CLASSES)][:IMAGES]):
            (folder / name / f"{index}.jpg").write_bytes(photo)


def keep_pace(client: Fault, address: str, photos: list[bytes], stopped: threading.Event) -> object:
    """One attempt of a client, and the pause behind it."""
    try:
        return client(address, photos, stopped)
    except (OSError, HTTPException) as error:
        return type(error).__name__
    finally:
        stopped.wait(PAUSE)


def send_image(address: str, photos: list[bytes], stopped: threading.Event) -> object:
    return post(address, random.choice(photos))


def send_form(address: str, photos: list[bytes], stopped: threading.Event) -> object:
    return post(address, form(random.sample(photos, BATCH)), "/v1/predict/batch", FORM)


def send_json(address: str, photos: list[bytes], stopped: threading.Event) -> object:
    inputs = base64.b64encode(random.choice(photos)).decode()
    return post(address, json.dumps({"inputs": inputs}).encode(), "/v1/image-classification", JSON)


def send_tensor(address: str, photos: list[bytes], stopped: threading.Event) -> object:
    return send_bytes(address, inference_request("/v2/models/caltech101/infer", random.choice(photos)))


def send_large_photo(address: str, photos: list[bytes], stopped: threading.Event) -> object:
    return post(address, enlarge(photos[0]))


def send_damaged_image(address: str, photos: list[bytes], stopped: threading.Event) -> object:
    """Send an image with eight wrong bytes; or, as often, one that is also cut."""
    data = bytearray(random.choice(photos))
    for _ in range(8):
        data[random.randrange(len(data))] = random.randrange(256)
    return post(address, bytes(data[: random.choice((len(data), random.randrange(len(data))))]))


def send_half_and_leave(address: str, photos: list[bytes], stopped: threading.Event) -> object:
    photo = random.choice(photos)
    with closing(connect(address)) as connection:
        connection.sendall(request_head(len(photo)) + photo[: len(photo) // 2])
    return "left"


def send_no_http(address: str, photos: list[bytes], stopped: threading.Event) -> object:
    return send_bytes(address, TLS_HELLO)


def get_page(address: str, photos: list[bytes], stopped: threading.Event) -> object:
    return call(address + random.choice(PAGES))[0]


def validate(address: str, photos: list[bytes], stopped: threading.Event) -> object:
    """Create a validation. Cancel it at once; or follow it to its end, read its report, and remove it or keep it."""
    url = f"{address}/v1/validations"
    status, body = call(url, json.dumps({"dataset": "photos"}).encode(), JSON)
    if status != 202:
        return status
    job = f"{url}/{json.loads(body)['id']}"
    if random.random() < 1 / 3:
        return call(job, method="DELETE")[0]
    call(f"{job}/events")  # the answer ends with the validation
    status, _ = call(f"{job}/report")
    return call(job, method="DELETE")[0] if random.random() < 1 / 2 else status


def send_bytes(address: str, request: bytes) -> int:
    """Send a whole request; return the status."""
    return send(int(address.rpartition(":")[2]), request)[0]


CLIENTS: list[Fault] = [
    partial(keep_pace, client)
    for client in (
        send_image,
        send_form,
        send_json,
        send_tensor,
        send_large_photo,
        send_damaged_image,
        send_and_leave,
        send_half_and_leave,
        send_no_http,
        send_trailers,
        send_head_slowly,
        get_page,
        validate,
    )
]
