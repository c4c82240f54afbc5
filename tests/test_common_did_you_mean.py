"""A mistyped name is answered with the known one that is like it, wherever a name comes out of a known list."""

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.command_line import call

from tencrop.common.did_you_mean import did_you_mean
from tencrop.common.errors import BadInput
from tencrop.dataset.layouts import open_source
from tencrop.dataset.source_options import SourceOptions
from tencrop.evaluation.plan import plan_evaluation
from tencrop.export.importers.input_convention import InputConvention
from tencrop.runtime.classifier import Classifier
from tencrop.runtime.engine_choice import EngineOptions, engine_choices
from tencrop.server.settings import read_settings
from tencrop.training.recipe import load


def test_the_like_name_stands_before_the_other_advice() -> None:
    assert did_you_mean("FP61", ("fp32", "fp16"), "see docs") == "did you mean fp16? see docs"
    assert did_you_mean("zebra", ("fp32", "fp16"), "see docs") == "see docs"
    assert did_you_mean("zebra", ()) == ""


@pytest.mark.parametrize(
    ("act", "meant"),
    [
        (lambda: load("caltech11"), "caltech101"),
        (lambda: load("caltech101", ["lr=0.1"]), "optim.lr"),
        (lambda: load("caltech101", ["optim.momemtum=0.1"]), "optim.momentum"),
        (lambda: load("caltech101", ["units=8"]), "net.fc6.units or net.fc7.units or net.fc8.units"),
        (lambda: engine_choices(EngineOptions(engine="openvio")), "openvino"),
        (lambda: engine_choices(EngineOptions(precision="bf61")), "bf16"),
        (lambda: engine_choices(EngineOptions(device="cdua")), "cuda"),
        (lambda: InputConvention(layout="nwhc").check(), "nhwc"),
    ],
    ids=["recipe", "leaf", "key", "leaves", "engine", "precision", "device", "layout"],
)
def test_a_mistyped_value_of_an_option_is_told_the_right_one(act: Callable[[], object], meant: str) -> None:
    with pytest.raises(BadInput) as refused:
        act()
    assert refused.value.advice.startswith(f"did you mean {meant}?")


def test_a_mistyped_format_of_weights_is_told_the_right_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "export", "--weights", "fp61") == 2
    assert "did you mean fp16?" in capsys.readouterr().err


def test_a_mistyped_setting_is_told_the_right_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TENCROP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TENCROP_KEP_ALIVE_SECONDS", "3")
    with pytest.raises(BadInput, match=r"did you mean TENCROP_KEEP_ALIVE_SECONDS\?"):
        read_settings()


@pytest.mark.parametrize(
    ("options", "meant"),
    [
        (SourceOptions(config="cropt"), "cropped"),
        (SourceOptions(config="cropped", image_column="pictre"), "picture"),
        (SourceOptions(config="cropped", label_column="genos"), "genus"),
    ],
    ids=["config", "image_column", "label_column"],
)
def test_a_mistyped_name_in_tables_is_told_the_right_one(
    options: SourceOptions, meant: str, photographs: dict[str, Path], tmp_path: Path
) -> None:
    table = pa.table({"picture": [photographs["china"].read_bytes()] * 2, "genus": ["pagoda", "pizza"]})
    for config in ("cropped", "whole"):
        (tmp_path / config).mkdir()
        pq.write_table(table, tmp_path / config / "train.parquet")
    with pytest.raises(BadInput) as refused:
        open_source(tmp_path, options)
    assert refused.value.advice.startswith(f"did you mean {meant}?")


def test_a_mistyped_class_folder_is_told_the_models_class(
    classifier: Classifier, photographs: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "pagodda").mkdir()
    (tmp_path / "pagodda/1.jpg").write_bytes(photographs["china"].read_bytes())
    with pytest.raises(BadInput) as refused:
        plan_evaluation(open_source(tmp_path), classifier, 1, None)
    assert refused.value.advice.startswith("did you mean pagoda? rename")
