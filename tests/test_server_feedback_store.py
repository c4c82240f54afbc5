"""The store of answers that wait for labels: bounded, kept across restarts, and whole where a file is damaged."""

from pathlib import Path

import pytest

from tencrop.common.errors import BadInput
from tencrop.server import feedback_store
from tencrop.server.feedback_store import FeedbackStore, Pair


def test_labels_stay_across_restarts(tmp_path: Path) -> None:
    file = tmp_path / "feedback.sqlite"
    store = FeedbackStore(file)
    store.keep(-5, Pair("ant", "bee"))
    assert store.label(-5, "ant") == ("ant", "bee")
    store.close()
    again = FeedbackStore(file)
    assert again.count() == (0, 1, 0, 0)
    assert again.label(-5, "bee") == ("ant", "bee")
    assert again.count() == (0, 0, 1, 0)
    again.close()


def test_the_newest_requests_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feedback_store, "KEPT", 3)
    store = FeedbackStore(tmp_path / "feedback.sqlite")
    for request in (-1, -2, -1, -3, -4):  # -1 comes again, and its answers replace those from before
        store.keep(request, Pair(f"m{request}", "s"))
    found = {request: store.label(request, "x") for request in (-1, -2, -3, -4)}
    assert found == {-1: ("m-1", "s"), -2: None, -3: ("m-3", "s"), -4: ("m-4", "s")}
    store.close()


def test_a_request_that_comes_again_has_no_label_yet(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path / "feedback.sqlite")
    store.keep(-1, Pair("ant", "ant"))
    store.label(-1, "ant")
    store.keep(-1, Pair("bee", "ant"))
    assert store.count() == (0, 0, 0, 0)
    store.close()


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "feedback.sqlite"
    file.write_bytes(b"no database, but long enough to be read as the head of one" * 20)
    with pytest.raises(BadInput, match="cannot be used"):
        FeedbackStore(file)
