"""GET /v1/folders and the data root behind it: names only, none that leads out of the root, and not too many."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tencrop.runtime.classifier import Classifier
from tencrop.server import data_root
from tencrop.server.app import create_app
from tencrop.server.data_root import DataRoot
from tencrop.server.errors import ApiError
from tencrop.server.keys import generate_key, hash_key
from tencrop.server.settings import Settings

URL = "/v1/folders"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with two data sets, a file, a hidden folder, a link within it, links out of it, and the jobs."""
    root = tmp_path / "root"
    for name in ("photos/cats", "photos/dogs", "more", ".hidden", "state/validations"):
        (root / name).mkdir(parents=True)
    (root / "photos.tar").touch()
    (tmp_path / "outside" / "secret").mkdir(parents=True)
    (root / "within").symlink_to(root / "photos")
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "circle").symlink_to(root / "circle")
    if sys.platform == "linux":
        os.mkdir(os.fsencode(root) + b"/\xff")  # a name that is no text
    return root


@pytest.fixture
def client(classifier: Classifier, root: Path) -> Iterator[TestClient]:
    settings = Settings(data_root=root, state_dir=root / "state")
    with TestClient(create_app([classifier], settings)) as client:
        yield client


def test_folders_of_the_data_root_are_listed(client: TestClient) -> None:
    assert client.get(URL).json() == {"folders": ["more", "photos", "within"]}
    assert client.get(URL, params={"below": "photos/"}).json() == {"folders": ["cats", "dogs"]}
    assert client.get(URL, params={"below": "within"}).json() == {"folders": ["cats", "dogs"]}
    assert client.get(URL, params={"below": "more"}).json() == {"folders": []}


@pytest.mark.parametrize(
    "below",
    ["..", "out", "out/secret", "/", "photos/..", "photos.tar", "none", "circle", "a\0b", "state/validations"],
)
def test_folders_outside_of_the_data_root_are_not_listed(below: str, client: TestClient) -> None:
    reply = client.get(URL, params={"below": below})
    assert (reply.status_code, reply.json()["error"]["code"]) == (422, "bad_dataset")
    assert "secret" not in reply.text.replace(below, "")


def test_each_listed_folder_may_be_validated(root: Path) -> None:
    folders = DataRoot(root, root / "state" / "validations")
    assert [folders.find(name).is_dir() for name in folders.list_folders("")] == [True] * 3
    for name, why in (("state", "holds"), ("state/validations", "in"), ("state/validations/1", "in")):
        (root / name).mkdir(exist_ok=True)
        with pytest.raises(ApiError, match=f"{why} the state directory"):
            folders.find(name)
    assert DataRoot(root / "photos", root).list_folders("") == ["cats", "dogs"]


def test_a_list_of_folders_is_bounded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = DataRoot(root, root / "state" / "validations")
    monkeypatch.setattr(data_root, "MAX_FOLDERS", 2)
    assert folders.list_folders("") == ["more", "photos"]
    monkeypatch.setattr(data_root, "MAX_ENTRIES", 0)
    assert folders.list_folders("") == []


def test_folders_need_a_data_root_and_a_key(classifier: Classifier, root: Path, tmp_path: Path) -> None:
    with TestClient(create_app([classifier], Settings())) as client:
        assert client.get(URL).json()["error"]["code"] == "validations_off"
    key, keys = generate_key(), tmp_path / "keys"
    keys.write_text(f"anna {hash_key(key)}\n")
    settings = Settings(data_root=root, state_dir=root / "state", api_key_file=keys)
    with TestClient(create_app([classifier], settings)) as client:
        assert client.get(URL).status_code == 401
        assert client.get(URL, headers={"Authorization": f"Bearer {key}"}).status_code == 200
