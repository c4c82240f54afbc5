"""evaluation/features.py, neighbours.py: rows are the net's own features, and a search finds the nearest."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.command_line import call

from tencrop.common.errors import BadInput, WorkFailed
from tencrop.dataset.account import Account
from tencrop.dataset.layouts import open_source
from tencrop.evaluation.feature_file import FeatureFile
from tencrop.evaluation.features import extract_features, plan_features
from tencrop.evaluation.neighbours import describe_image, find_neighbours
from tencrop.evaluation.plan import Plan
from tencrop.images.decode import decode
from tencrop.model.embedded import EMBEDDED
from tencrop.runtime.classifier import Classifier, open_classifier
from tencrop.runtime.engine_choice import EngineOptions


@pytest.fixture(scope="module")
def net() -> Classifier:
    """The embedded model with its fc7."""
    return open_classifier(EMBEDDED, EngineOptions("cpu", "onnxruntime", "fp32"), "fc7")


@pytest.fixture(scope="module")
def plan(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """Seven images of the tiny folder, one of them broken, in chunks of three."""
    root = tmp_path_factory.mktemp("seven")
    for name in (
        "ant/1.png",
        "ant/broken.png",
        *(f"{kind}/{number}.png" for kind in ("bee_hive", "cat") for number in range(2)),
    ):
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copy(tiny_folder / name, root / name)
    shutil.copy(tiny_folder / "cat/5.png", root / "cat")
    return replace(plan_features(open_source(root)), chunk_size=3)


@pytest.fixture(scope="module")
def center(plan: Plan, net: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The feature file of the center crops."""
    out = tmp_path_factory.mktemp("features") / "center.parquet"
    extract_features(plan, net, "fc7", "center", out)
    assert [file.name for file in out.parent.iterdir()] == [out.name]
    return out


def test_rows_are_the_features_of_the_images_that_can_be_decoded(center: Path, plan: Plan, net: Classifier) -> None:
    table = pq.read_table(center)
    sound = [entry for entry in plan.entries if "broken" not in entry.id]
    assert table["id"].to_pylist() == [entry.id for entry in sound]
    assert table["label"].to_pylist() == [entry.id.split("/")[0] for entry in sound]
    squares = np.stack([decode(plan.data.read(entry), net.contract)[0] for entry in sound])
    want = net.forward_features(squares, "fc7")[:, 2]
    np.testing.assert_allclose(np.stack(table["features"].to_numpy()), want, rtol=0, atol=1e-4 * want.max())
    metadata = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    assert (metadata["model_sha256"], metadata["layer"], metadata["views"]) == (net.sha256, "fc7", "center")
    assert metadata["contract_sha256"] == net.contract.sha256
    account = Account.from_json(json.loads(metadata["account"]))
    assert (account.seen, sum(account.undecodable.values())) == (7, 1)


@pytest.mark.slow
def test_a_stopped_run_goes_on_and_then_equals_an_undisturbed_one(
    center: Path, plan: Plan, net: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, write = tmp_path / "again.parquet", pq.write_table

    def fill_disk(table: pa.Table, path: Path) -> None:
        if path.name.startswith("0000001"):
            raise OSError(28, "No space left on device")
        write(table, path)

    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", fill_disk)
        with pytest.raises(WorkFailed, match="cannot be written"):
            extract_features(plan, net, "fc7", "center", out)
    assert not out.exists()
    with pytest.raises(BadInput, match="holds a run already"):
        extract_features(plan, net, "fc7", "center", out)
    with pytest.raises(BadInput, match="another views"):
        extract_features(plan, net, "fc7", "ten", out, resume=True)
    done: list[int] = []
    extract_features(plan, net, "fc7", "center", out, True, done.append)
    assert done == [6, 7], "the first chunk is not computed again"
    assert out.read_bytes() == center.read_bytes()
    with pytest.raises(BadInput, match="exists already"):
        extract_features(plan, net, "fc7", "center", out, resume=True)


def test_the_nearest_images_are_those_of_the_smallest_distance(
    center: Path, plan: Plan, net: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tencrop.evaluation.feature_file.GROUP", 3)
    file = FeatureFile.open(center)
    entry = plan.entries[-1]
    query = describe_image(plan.data.read(entry), net, file)
    found = find_neighbours(query, file, 6)
    table = pq.read_table(center)
    distances = np.linalg.norm(np.stack(table["features"].to_numpy()).astype(np.float64) - query, axis=1)
    order = np.argsort(distances, kind="stable")[:6]
    assert [each.id for each in found] == [table["id"][int(row)].as_py() for row in order]
    assert found[0].id == entry.id and found[0].distance < 1e-3 * found[1].distance
    np.testing.assert_allclose([each.distance for each in found], distances[order])
    other = replace(file, origin=replace(file.origin, model_sha256="0" * 64))
    with pytest.raises(BadInput, match=r"features are of the model 0{12}, and caltech101 is [0-9a-f]{12}"):
        describe_image(plan.data.read(entry), net, other)


def test_another_file_is_no_feature_file(tmp_path: Path, tiny_folder: Path) -> None:
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"id": ["a"], "features": [[1.0]]}), other)
    for path in (other, tiny_folder / "ant/0.png"):
        with pytest.raises(BadInput, match="no feature file"):
            FeatureFile.open(path)
    with pytest.raises(BadInput, match="cannot be read"):
        FeatureFile.open(tmp_path / "missing.parquet")


@pytest.mark.slow
def test_commands_write_a_file_and_find_an_image_in_it(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, image = str(tmp_path / "seven.parquet"), str(plan.data.root / "cat/0.png")
    assert call(monkeypatch, "features", str(plan.data.root), out, "--layer", "fc6", "--views", "ten", "--quiet") == 0
    assert capsys.readouterr().out.splitlines()[0] == "7 seen: 6 taken"
    assert call(monkeypatch, "neighbours", image, "--in", out, "--top", "2") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.split()[1:] == ["cat", "cat/0.png"] and float(first.split()[0]) < float(second.split()[0])
