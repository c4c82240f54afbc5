"""The shadow that --shadow names: refused where its answers could not be compared, and its private folder."""

from dataclasses import replace
from pathlib import Path

import pytest

from tencrop.common.errors import BadInput
from tencrop.model.contract import DECODING, Contract, Label
from tencrop.model.embedded import EMBEDDED
from tencrop.runtime.classifier import Classifier
from tencrop.runtime.engine_choice import EngineOptions
from tencrop.server.open_shadow import check_comparable, open_shadow
from tencrop.server.settings import Settings, read_settings

OPTIONS = EngineOptions("cpu", "auto", "fp32")
CONTRACT = Contract(labels=(Label("ant", "ant"), Label("bee", "bee")))


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (replace(CONTRACT, labels=(Label("ant", "ant"),)), "'bee' is in new alone"),
        (replace(CONTRACT, labels=(*CONTRACT.labels, Label("cat", "cat"))), "'cat' is in old alone"),
        (replace(CONTRACT, resize=288), "resize is 288, not 256"),
        (replace(CONTRACT, decode=DECODING), "decode is Decoding"),
    ],
    ids=["fewer classes", "more classes", "resize", "decoding"],
)
def test_models_that_cannot_be_compared_are_refused(other: Contract, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        check_comparable("new", CONTRACT, "old", other)


def test_crops_names_and_the_order_of_the_classes_may_differ() -> None:
    labels = (Label("bee", "a bee"), Label("ant", "an ant"))
    check_comparable("new", CONTRACT, "old", replace(CONTRACT, crop=227, labels=labels))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"feedback": True}, "--feedback: there is no shadow"),
        ({"keep_disagreements": 5}, "--keep-disagreements: there is no shadow"),
        ({"shadow": f"caltech101={EMBEDDED}"}, "a served model is named 'caltech101'"),
        ({"shadow": "old=/nonexistent"}, "/nonexistent"),
    ],
    ids=["feedback alone", "squares alone", "a served name", "no such file"],
)
def test_a_shadow_that_cannot_be_is_refused(
    given: dict[str, object], words: str, classifier: Classifier, tmp_path: Path
) -> None:
    settings = Settings(state_dir=tmp_path, **given)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=words):
        open_shadow(settings, OPTIONS, [classifier])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["old", "=models/old", "old="])
def test_a_shadow_without_a_name_or_a_model_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="write old=models/old"):
        read_settings(shadow=text)


@pytest.mark.slow
def test_what_is_kept_lies_in_a_private_folder_of_the_pair_for_one_server(
    classifier: Classifier, tmp_path: Path
) -> None:
    settings = Settings(state_dir=tmp_path / "state", shadow=f"old={EMBEDDED}", feedback=True, keep_disagreements=5)
    opened = open_shadow(settings, OPTIONS, [classifier])
    assert opened and opened.feedback and opened.lock and opened.name == "old"
    (folder,) = (tmp_path / "state" / "shadow").iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700 and folder.name == "-".join([classifier.sha256[:16]] * 2)
    with pytest.raises(BadInput, match="another server uses it"):
        open_shadow(settings, OPTIONS, [classifier])
    opened.feedback.close()
    opened.lock.close()
