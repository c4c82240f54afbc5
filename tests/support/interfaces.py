"""Asks for predictions in every way that there is: in Python, over HTTP, and by commands.

Each way takes encoded images and gives, for each in its order, the probabilities by the classes' names. `evaluate`
gives the five most probable classes, every other way all of them.
"""

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import numpy as np
import pyarrow.parquet as pq

from tencrop.common.errors import BadInput
from tencrop.dataset.layouts import open_source
from tencrop.evaluation.evaluate import evaluate_source
from tencrop.images.decode import decode
from tencrop.runtime.classifier import Classifier

Answers = list[dict[str, float]]

CLIENTS = 8  # threads that post at the same time


def list_names(classifier: Classifier) -> list[str]:
    """The names of the classes, which tell them apart. Raises AssertionError where two are equal."""
    names = [label.name for label in classifier.labels]
    assert len(set(names)) == len(names)
    return names


def by_name(classifier: Classifier, rows: np.ndarray | Sequence[np.ndarray]) -> Answers:
    """Probabilities [N,C] by the classes' names."""
    return [dict(zip(list_names(classifier), row.tolist(), strict=True)) for row in rows]


def forward(classifier: Classifier, images: Sequence[bytes]) -> Answers:
    squares = np.stack([decode(image, classifier.contract)[0] for image in images])
    return by_name(classifier, classifier.forward(squares)[0])


def predict(classifier: Classifier, images: Sequence[bytes]) -> Answers:
    return by_name(classifier, [classifier.predict(image).probabilities for image in images])


def predict_list(classifier: Classifier, images: Sequence[bytes]) -> Answers:
    return by_name(classifier, [found.probabilities for found in classifier.predict(list(images))])


def predict_each(classifier: Classifier, images: Sequence[bytes]) -> Answers:
    found = classifier.predict_each(images)
    return by_name(classifier, [each.probabilities for each in found if not isinstance(each, BadInput)])


def evaluate(classifier: Classifier, images: Sequence[bytes]) -> Answers:
    names = list_names(classifier)
    with TemporaryDirectory() as scratch:
        folder, out = Path(scratch, "photos", classifier.labels[0].id), Path(scratch, "run")
        write_images(folder, images)
        evaluate_source(open_source(folder.parent), classifier, out=out)
        rows = pq.read_table(out / "predictions.parquet").sort_by("id").to_pylist()
    return [
        dict(zip((names[i] for i in row["ten_crop_indices"]), row["ten_crop_probabilities"], strict=True))
        for row in rows
    ]


def post_each(client: httpx2.Client, names: Sequence[str], images: Sequence[bytes]) -> Answers:
    def ask(image: bytes) -> dict[str, float]:
        return read_guesses(post(client, f"/v1/predict?top={len(names)}", content=image)["top"])

    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(ask, images))


def post_batch(client: httpx2.Client, names: Sequence[str], images: Sequence[bytes]) -> Answers:
    files = [("images", image) for image in images]
    results = post(client, f"/v1/predict/batch?top={len(names)}", files=files)["results"]
    return [read_guesses(result["top"]) for result in results]


def post_hub(client: httpx2.Client, names: Sequence[str], images: Sequence[bytes]) -> Answers:
    def ask(image: bytes) -> dict[str, float]:
        body = {"inputs": base64.b64encode(image).decode(), "parameters": {"top_k": len(names)}}
        return {guess["label"]: guess["score"] for guess in post(client, "/v1/image-classification", json=body)}

    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(ask, images))


def post_inference(client: httpx2.Client, names: Sequence[str], images: Sequence[bytes]) -> Answers:
    texts = [base64.b64encode(image).decode() for image in images]
    tensor = {"name": "image", "datatype": "BYTES", "shape": [len(images)], "data": texts}
    served = post(client, "/v2/repository/index", json={})[0]["name"]
    output = post(client, f"/v2/models/{served}/infer", json={"inputs": [tensor]})["outputs"][0]
    rows = np.array(output["data"]).reshape(output["shape"]).tolist()
    return [dict(zip(names, row, strict=True)) for row in rows]


def post(client: httpx2.Client, path: str, **body: Any) -> Any:
    """The JSON of the answer."""
    reply = client.post(path, **body)
    assert reply.status_code == 200, reply.text
    return reply.json()


def read_guesses(top: Sequence[dict[str, Any]]) -> dict[str, float]:
    return {guess["label"]: guess["probability"] for guess in top}


def run_predict(images: Sequence[bytes]) -> Answers:
    """`tencrop predict` of the embedded model in a process of its own."""
    with TemporaryDirectory() as scratch:
        write_images(Path(scratch), images)
        command = [sys.executable, "-m", "tencrop", "predict", scratch, "--json", "--top", "1000", "--device", "cpu"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [read_guesses(json.loads(line)["top"]) for line in done.stdout.splitlines()]


def write_images(folder: Path, images: Sequence[bytes]) -> None:
    """Write the images to files that are named in their order."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        (folder / f"{number:03}.jpg").write_bytes(image)


IN_PYTHON: dict[str, Callable[[Classifier, Sequence[bytes]], Answers]] = {
    "forward": forward,
    "predict": predict,
    "predict of a list": predict_list,
    "predict_each": predict_each,
    "evaluate": evaluate,
}
OVER_HTTP: dict[str, Callable[[httpx2.Client, Sequence[str], Sequence[bytes]], Answers]] = {
    "POST /v1/predict": post_each,
    "POST /v1/predict/batch": post_batch,
    "POST /v1/image-classification": post_hub,
    "POST /v2/models/NAME/infer": post_inference,
}
