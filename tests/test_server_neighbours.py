"""/v1/neighbours: the images that a search finds, thumbnails of files below the data root alone, refusals in a line."""

import base64
import io
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tencrop.common.errors import Stopped
from tencrop.evaluation.feature_file import FeatureFile, feature_schema
from tencrop.evaluation.neighbours import describe_image, find_neighbours
from tencrop.images.decode import decode
from tencrop.model.contract import CENTER_VIEW, Contract
from tencrop.runtime.classifier import Classifier
from tencrop.server.app import create_app
from tencrop.server.settings import Settings

URL = "/v1/neighbours"


@pytest.fixture(scope="module")
def root(tiny_folder: Path, feature_net: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with photos/, its index, and indexes that no request can use. Features but one are random."""
    root = tmp_path_factory.mktemp("neighbours") / "root"
    ids = [f"{kind}/{number}.png" for kind in ("ant", "bee_hive", "cat") for number in range(2)]
    for name in ids:
        (root / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tiny_folder / name, root / "photos" / name)
    square, _ = decode((root / "photos" / ids[-1]).read_bytes(), feature_net.contract)
    own = feature_net.forward_features(square[None], "fc7")[:, CENTER_VIEW]
    features = np.concatenate([np.random.default_rng(0).random((5, own.shape[1]), np.float32) * own.max(), own])
    origin = {"model_sha256": feature_net.sha256, "layer": "fc7", "views": "center"}

    def write(name: str, names: Sequence[str] = ids, **changes: str) -> None:
        values = pa.FixedSizeListArray.from_arrays(features.ravel(), features.shape[1])
        schema = feature_schema(features.shape[1]).with_metadata(origin | changes)
        pq.write_table(pa.table([names, [name[:3] for name in names], values], schema=schema), root / name)

    write("photos.parquet")
    write("model.parquet", model_sha256="0" * 64)
    write("layer.parquet", layer="pool5")
    write("views.parquet", views="each")
    write("other.parquet", ["../../secret.png", ids[1], "link.png", f"/{ids[3]}", "cat/../cat/0.png", "gone.png"])
    secret = root.parent / "secret.png"
    shutil.copy(tiny_folder / "ant/0.png", secret)
    (root / "photos" / "link.png").symlink_to(secret)
    return root


@pytest.fixture(scope="module")
def client(feature_net: Classifier, root: Path) -> Iterator[TestClient]:
    settings = Settings(data_root=root, state_dir=root / "state")
    with TestClient(create_app([feature_net], settings)) as client:
        yield client


def ask(client: TestClient, image: bytes, **parameters: Any) -> Any:
    reply = client.post(URL, params=parameters, content=image)
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_the_images_are_those_that_the_command_finds(client: TestClient, feature_net: Classifier, root: Path) -> None:
    image = (root / "photos/cat/1.png").read_bytes()
    file = FeatureFile.open(root / "photos.parquet")
    want = find_neighbours(describe_image(image, feature_net, file), file, 4)
    answer = ask(client, image, index="photos.parquet", top=4)
    assert answer["neighbours"] == [each._asdict() for each in want]
    assert (answer["neighbours"][0]["id"], answer["neighbours"][0]["distance"]) == ("cat/1.png", 0)
    assert (answer["index"], answer["layer"], answer["views"]) == ("photos.parquet", "fc7", "center")


def test_a_thumbnail_is_the_image_that_was_found(client: TestClient, root: Path) -> None:
    image = (root / "photos/cat/1.png").read_bytes()
    found = ask(client, image, index="photos.parquet", thumbnails=True, timing=False)["neighbours"]
    assert len(found) == 6
    for each in found:
        kind, _, data = each["thumbnail"].partition(",")
        assert kind == "data:image/jpeg;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as opened:
            shown = np.asarray(opened, np.float32)
        own, _ = decode((root / "photos" / each["id"]).read_bytes(), Contract(resize=224, crop=224))
        assert np.abs(shown - own).mean() < 6


def test_an_image_that_may_not_or_cannot_be_read_has_a_reason(client: TestClient, root: Path) -> None:
    image = (root / "photos/cat/1.png").read_bytes()
    found = ask(client, image, index="other.parquet", dataset="photos", thumbnails=True)["neighbours"]
    outside, gone = "image: not in the data root; give a path below it", "image: no such file in the data root"
    assert {each["id"]: each.get("without_thumbnail", "") for each in found} == {
        "../../secret.png": outside,
        "ant/1.png": "",
        "link.png": outside,
        "/bee_hive/1.png": "",
        "cat/../cat/0.png": outside,
        "gone.png": gone,
    }
    assert sum("thumbnail" in each for each in found) == 2
    none = ask(client, image, index="other.parquet", thumbnails=True, dataset="../root/photos")["neighbours"]
    assert {each["without_thumbnail"] for each in none} == {outside}


@pytest.mark.parametrize(
    ("index", "code", "message"),
    [
        ("none.parquet", "bad_index", "index: no such file in the data root"),
        ("photos", "bad_index", "index: no such file in the data root"),
        ("../secret.png", "bad_index", "index: not in the data root; give a path below it"),
        ("/etc/passwd", "bad_index", "index: not in the data root; give a path below it"),
        ("photos/link.png", "bad_index", "index: not in the data root; give a path below it"),
        ("views.parquet", "bad_index", "index: views.parquet: no feature file"),
        (
            "layer.parquet",
            "no_features",
            "caltech101 gives features of fc7, fc6; export it with `tencrop export --features pool5`",
        ),
    ],
)
def test_another_index_is_refused_in_one_line(
    client: TestClient, root: Path, index: str, code: str, message: str
) -> None:
    reply = client.post(URL, params={"index": index}, content=(root / "photos/cat/1.png").read_bytes())
    assert (reply.status_code, reply.json()["error"]) == (422, {"code": code, "message": message})


def test_the_index_of_another_model_is_refused(client: TestClient, feature_net: Classifier) -> None:
    reply = client.post(URL, params={"index": "model.parquet"}, content=b"x")
    message = f"index: its features are of the model {'0' * 12}, and caltech101 is {feature_net.sha256[:12]}; "
    assert (reply.status_code, reply.json()["error"]["code"]) == (422, "bad_index")
    assert reply.json()["error"]["message"] == message + "take them again with `tencrop features --model`"
    assert client.post(URL, content=b"x").json()["error"]["message"] == "index: field required"


def test_an_index_needs_a_data_root(feature_net: Classifier) -> None:
    with TestClient(create_app([feature_net], Settings())) as client:
        reply = client.post(URL, params={"index": "photos.parquet"}, content=b"x")
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "no_data_root")


def test_a_search_that_nobody_waits_for_stops(root: Path) -> None:
    file = FeatureFile.open(root / "photos.parquet")
    with pytest.raises(Stopped):
        find_neighbours(np.zeros(file.width, np.float32), file, 6, lambda: True)
