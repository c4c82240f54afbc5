"""Files that tencrop 0.1 wrote are read by this version, with equal results. tests/fixtures/0.1/make.sh made them."""

import json
import shutil
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
import tomli_w
import torch

from tencrop.common.strict_config import dump, parse
from tencrop.dataset.layouts import open_source
from tencrop.dataset.prepare import prepare
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.evaluation.compare import compare
from tencrop.evaluation.evaluate import evaluate_source
from tencrop.evaluation.finished_run import open_run
from tencrop.images.decode import decode
from tencrop.model.checkpoint import Checkpoint, hash_weights
from tencrop.model.net_config import Conv, NetConfig
from tencrop.model.run_checkpoints import list_checkpoints
from tencrop.model.ten_crop_net import TenCropNet
from tencrop.model.tencropfile import TenCropFile
from tencrop.runtime.classifier import Classifier, open_classifier
from tencrop.runtime.engine_choice import EngineOptions
from tencrop.server.job_store import open_job_store
from tencrop.server.settings import Settings
from tencrop.training.recipe import Recipe, load, to_plain
from tencrop.training.train import train

STORED = Path(__file__).parent / "fixtures" / "0.1"
CHECKPOINT = STORED / "run" / "checkpoint-0002"
EXPECTED = json.loads((STORED / "expected.json").read_text())
RECORDS = pq.read_table(STORED / "evaluation" / "predictions.parquet").to_pylist()


@pytest.fixture(scope="module")
def tiny() -> Classifier:
    return open_classifier(STORED / "tiny", EngineOptions("cpu", "onnxruntime", "fp32"))


def quiet(*_: object) -> None:
    pass


def in_order(record: dict[str, Any], kind: str) -> np.ndarray:
    """A record's probabilities by class."""
    return np.array(record[f"{kind}_probabilities"])[np.argsort(record[f"{kind}_indices"])]


def test_a_stored_recipe_reads_as_groups_and_is_written_as_columns() -> None:
    stored = json.loads((CHECKPOINT / "checkpoint.json").read_text())["recipe"]
    assert {stored["net"][layer]["columns"] for layer in ("conv2", "conv4", "conv5", "lrn")} == {2}
    assert "samemap" in stored["net"] and "samemap" in stored["net"]["layers"][1]
    recipe = parse(Recipe, stored, "checkpoint.json")
    assert [recipe.net.conv2.groups, recipe.net.conv3.groups, recipe.net.lrn.groups] == [2, 1, 2]
    assert to_plain(recipe) == stored
    assert list(to_plain(recipe)["net"]["conv2"]) == list(stored["net"]["conv2"])  # in the same order, too


def test_a_stored_recipe_toml_is_written_again_byte_for_byte() -> None:
    file = STORED / "run" / "recipe.toml"
    assert tomli_w.dumps(to_plain(load(str(file)))) == file.read_text()


def test_the_name_in_python_is_no_key_of_a_recipe() -> None:
    with pytest.raises(Exception, match=r"x: groups: unexpected keyword argument"):
        parse(Conv, {"channels": 3, "kernel": 3, "groups": 2}, "x")
    assert "groups" not in json.dumps(dump(NetConfig()))


def test_a_stored_checkpoint_is_loaded_and_saved_again_byte_for_byte(tmp_path: Path) -> None:
    checkpoint = Checkpoint.load(CHECKPOINT)
    checkpoint.check(CHECKPOINT)
    checkpoint.save(tmp_path / "again")
    for file in CHECKPOINT.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


def test_the_hash_of_a_stored_contract_is_the_one_that_was_recorded(tiny: Classifier) -> None:
    summary = json.loads((STORED / "evaluation" / "summary.json").read_text())
    contracts = [tiny.contract, Checkpoint.load(CHECKPOINT).contract, PreparedStore.open(STORED / "prepared").contract]
    assert {contract.sha256 for contract in contracts} == {EXPECTED["contract_sha256"]} == {summary["contract_sha256"]}


@pytest.mark.parametrize("record", [r for r in RECORDS if not r["undecodable"]], ids=lambda record: record["id"])
def test_a_stored_net_answers_as_it_did(record: dict[str, Any], tiny: Classifier) -> None:
    pixels, _ = decode((STORED / "photos" / record["id"]).read_bytes(), tiny.contract)
    mean, views = tiny.forward(pixels[None])
    np.testing.assert_allclose(mean[0], in_order(record, "ten_crop"), atol=1e-5)
    np.testing.assert_allclose(views[0, 2], in_order(record, "center"), atol=1e-5)


def test_a_stored_tencrop_onnx_is_that_of_the_stored_checkpoint(tiny: Classifier) -> None:
    metadata, checkpoint = TenCropFile.read(STORED / "tiny").metadata, Checkpoint.load(CHECKPOINT)
    props = {entry.key: entry.value for entry in onnx.load(STORED / "tiny" / "tencrop.onnx").metadata_props}
    assert metadata.to_props() == props
    assert metadata.checkpoint_sha256 == hash_weights(CHECKPOINT)
    assert (metadata.recipe, metadata.contract) == (checkpoint.recipe, checkpoint.contract)
    assert metadata.parity == json.loads((STORED / "tiny" / "parity.json").read_text())
    assert metadata.filter_picture == (STORED / "run" / "conv1.png").read_bytes()
    assert asdict(metadata.probe)["slack"] == 0
    images = np.stack([decode((STORED / "photos" / name).read_bytes(), tiny.contract)[0] for name in ("ant/0.png",)])

    with torch.inference_mode():
        mean, _ = TenCropNet.from_checkpoint(checkpoint).eval()(torch.from_numpy(images))
    np.testing.assert_allclose(tiny.forward(images)[0], mean.numpy(), atol=1e-5)


def read_without_account(folder: Path) -> dict[str, Any]:
    """All files, prepared.json without the account, which 0.1 did not write.

    index.parquet is its rows: its bytes hold the version of pyarrow.
    """
    document = json.loads((folder / "prepared.json").read_text())
    document.pop("account", None)
    read = {"prepared.json": document, "index.parquet": pq.read_table(folder / "index.parquet")}
    return {path.name: path.read_bytes() for path in folder.iterdir()} | read


def test_a_stored_prepared_data_set_is_opened_and_prepared_again_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(STORED / "prepared", tmp_path, dirs_exist_ok=True)
    stored = PreparedStore.open(tmp_path)
    assert (len(stored.labels), int(stored.validation.sum())) == (12, 2)
    assert stored.read_pixels(0).shape == (40, 40, 3) and stored.statistics.mean.shape == (3, 40, 40)
    contract = stored.contract
    monkeypatch.setattr(
        "tencrop.dataset.prepare.Contract", lambda filter, labels, decode: replace(contract, decode=decode)
    )
    before = read_without_account(tmp_path)
    prepare(open_source(STORED / "photos"), tmp_path, 0.25, quiet)  # of a finished part nothing is made again
    assert read_without_account(tmp_path) == before


def test_a_stored_prepared_data_set_that_is_unfinished_is_finished_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(STORED / "prepared", tmp_path, dirs_exist_ok=True)
    before = read_without_account(tmp_path)
    contract = PreparedStore.open(tmp_path).contract
    monkeypatch.setattr(
        "tencrop.dataset.prepare.Contract", lambda filter, labels, decode: replace(contract, decode=decode)
    )
    for name in ("prepared.json", "index.parquet", "statistics.safetensors"):
        (tmp_path / name).unlink()
    prepare(open_source(STORED / "photos"), tmp_path, 0.25, quiet)
    assert read_without_account(tmp_path) == before


def test_a_stored_training_is_resumed(tmp_path: Path) -> None:
    shutil.copytree(STORED / "run", tmp_path, dirs_exist_ok=True)
    records = train(
        load(str(STORED / "recipe.toml"), ["epochs=3"]),
        PreparedStore.open(STORED / "prepared"),
        tmp_path,
        True,
        0,
        quiet,
    )
    history = [asdict(record) for record in records]
    assert history[:2] == Checkpoint.load(CHECKPOINT).progress["history"]
    timed = ("seconds", "images_per_s")
    expected = {key: value for key, value in EXPECTED["third_epoch"].items() if key not in timed}
    assert {key: value for key, value in history[2].items() if key not in timed} == pytest.approx(expected, rel=1e-3)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["checkpoint-0002", "checkpoint-0003"]


def test_a_stored_training_that_was_stopped_in_an_epoch_ends_as_the_one_that_was_not(tmp_path: Path) -> None:
    shutil.copytree(STORED / "stopped_run", tmp_path, dirs_exist_ok=True)
    prepared = PreparedStore.open(STORED / "prepared")
    train(load(str(STORED / "recipe.toml")), prepared, tmp_path, True, 0, quiet)
    resumed, undisturbed = Checkpoint.load(tmp_path / "checkpoint-0002"), Checkpoint.load(CHECKPOINT)
    for name, value in undisturbed.weights.items():
        np.testing.assert_allclose(resumed.weights[name], value, rtol=1e-4, atol=1e-5)


def test_a_stored_evaluation_is_compared_with_one_of_today(tiny: Classifier, tmp_path: Path) -> None:
    evaluate_source(open_source(STORED / "photos"), tiny, out=tmp_path / "run")
    found = compare(open_run(STORED / "evaluation"), open_run(tmp_path / "run"), 5)
    assert found["n"] == 13
    for kind in ("center", "ten_crop"):
        assert found[kind]["changed"] == found[kind]["top1"]["difference"] == 0
        assert found[kind]["largest_move"] < 1e-5


def test_a_stored_evaluation_that_was_stopped_is_resumed(
    tiny: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(STORED / "stopped_evaluation", tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr("tencrop.evaluation.plan.CHUNK", 4)  # as when the run was stopped, after two chunks
    monkeypatch.setattr("tencrop.evaluation.chunks.cores", lambda: 2)  # the machine that the run began on
    done: list[int] = []
    evaluate_source(
        open_source(STORED / "photos"), tiny, out=tmp_path, resume=True, progress=lambda images, _: done.append(images)
    )
    assert done == [4, 8, 12, 13]  # parts of 0.1 know no column `no_answer`: their images are evaluated again
    assert not compare(open_run(STORED / "evaluation"), open_run(tmp_path), 5)["images"]


def test_a_finished_stored_evaluation_is_only_read(
    tiny: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(STORED / "evaluation", tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr("tencrop.evaluation.chunks.cores", lambda: 2)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    summary = evaluate_source(open_source(STORED / "photos"), tiny, out=tmp_path, resume=True)
    assert (summary.n, summary.contract_sha256) == (13, EXPECTED["contract_sha256"])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != "lock"} == before


def test_a_stored_job_is_read_by_the_server(tmp_path: Path) -> None:
    shutil.copytree(STORED / "state", tmp_path / "state")
    store = open_job_store(Settings(data_root=STORED, state_dir=tmp_path / "state"))
    assert store is not None
    with closing(store):
        jobs = store.read()
        job = jobs[EXPECTED["job"]]
        stored = json.loads((store.folder / job.id / "job.json").read_text())
        assert list(jobs) == [EXPECTED["job"]] and job.status == "done"
        assert json.loads(job.model_dump_json()) == stored
        assert (store.run_folder(job.id) / "report.html").is_file() and open_run(store.run_folder(job.id))
