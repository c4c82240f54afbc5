"""dataset/prepare.py, dataset/prepared_part.py: a resumable, checked cache of 256x256 images and their statistics."""

import errno
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archives import ilsvrc, jpeg, tar, validation_images
from PIL import Image

from tencrop.common.errors import BadInput, WorkFailed
from tencrop.dataset import prepare as prepare_module
from tencrop.dataset.holdout import choose_holdout
from tencrop.dataset.layouts import open_source
from tencrop.dataset.prepare import prepare
from tencrop.dataset.prepared_document import PLAN
from tencrop.dataset.prepared_images import STORES, PreparedImage
from tencrop.dataset.prepared_part import PartWriter
from tencrop.dataset.prepared_store import DOCUMENT, INDEX, SCHEMA, STATISTICS, PreparedStore
from tencrop.dataset.source import Entry, Source
from tencrop.images.decode import decode
from tencrop.model.contract import DECODING, FULL_DECODING, Contract


def quiet(done: int) -> None:
    pass


def originals(source: Source) -> list[np.ndarray | None]:
    """Decoded, in order; None for the broken one."""
    return [None if "broken" in entry.id else decode(source.read(entry), Contract())[0] for entry in source.entries]


@pytest.fixture(scope="module")
def source(tiny_folder: Path) -> Source:
    return open_source(tiny_folder)


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def parts_of_8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare_module, "PART", 8)


def test_undecodable_images_are_listed_and_left_out(tiny_prepared: PreparedStore) -> None:
    document = json.loads((tiny_prepared.root / DOCUMENT).read_text())
    assert document["undecodable"] == ["ant/broken.png"]
    assert (document["images"], document["training"] + document["validation"]) == (31, 30)
    assert len(tiny_prepared.labels) == len(tiny_prepared.validation) == len(tiny_prepared.where) == 30


def test_labels_and_holdout_are_those_of_the_source(tiny_prepared: PreparedStore, source: Source) -> None:
    good = np.array(["broken" not in entry.id for entry in source.entries])
    assert tiny_prepared.contract == Contract(labels=source.labels, decode=DECODING)
    np.testing.assert_array_equal(tiny_prepared.labels, np.array([entry.label for entry in source.entries])[good])
    np.testing.assert_array_equal(tiny_prepared.validation, choose_holdout(source.entries, 0.2)[good])
    assert 0 < tiny_prepared.validation.sum() < 10


def test_the_document_counts_training_and_validation_images(tiny_prepared: PreparedStore) -> None:
    document = json.loads((tiny_prepared.root / DOCUMENT).read_text())
    assert document["validation"] == tiny_prepared.validation.sum()
    assert document["training"] == (~tiny_prepared.validation).sum()
    assert document["bytes_per_image"] == round(tiny_prepared.where[:, 2].mean())


def test_statistics_are_those_of_the_decoded_training_images(tiny_prepared: PreparedStore, source: Source) -> None:
    held = choose_holdout(source.entries, 0.2)
    training = [x for x, out in zip(originals(source), held, strict=True) if x is not None and not out]
    stack = np.stack(training).astype(np.float64)
    statistics = tiny_prepared.statistics
    np.testing.assert_allclose(statistics.mean, stack.mean(0).transpose(2, 0, 1), rtol=1e-5, atol=1e-4)
    variances, vectors = np.linalg.eigh(np.cov(stack.reshape(-1, 3).T, bias=True))
    np.testing.assert_allclose(statistics.colour_std, np.sqrt(variances[::-1]), rtol=1e-4)
    np.testing.assert_allclose(np.abs(statistics.colour_vectors @ vectors[:, ::-1]), np.eye(3), atol=1e-4)


def test_pixels_are_close_to_the_originals(tiny_prepared: PreparedStore, source: Source) -> None:
    for index, original in enumerate(x for x in originals(source) if x is not None):
        pixels = tiny_prepared.read_pixels(index)
        assert pixels.shape == (256, 256, 3)
        assert pixels.dtype == np.uint8
        assert np.abs(pixels.astype(int) - original).mean() < 1.5


def test_photographs_survive_the_cache_nearly_untouched(photographs: dict[str, Path], tmp_path: Path) -> None:
    for name, path in photographs.items():
        (tmp_path / "data" / name).mkdir(parents=True)
        shutil.copy(path, tmp_path / "data" / name / "1.jpg")
    prepare(open_source(tmp_path / "data"), tmp_path / "out", 0.0, quiet)
    prepared = PreparedStore.open(tmp_path / "out")
    for index, path in enumerate(photographs.values()):
        original = decode(path.read_bytes(), Contract())[0].astype(float)
        assert np.sqrt(((prepared.read_pixels(index) - original) ** 2).mean()) < 3.0  # above 38 dB


def test_chroma_is_kept_at_full_resolution(tiny_prepared: PreparedStore) -> None:
    part, start, size = tiny_prepared.where[0]
    data = (tiny_prepared.root / f"part-{part:05d}.bin").read_bytes()[start : start + size]
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "JPEG"
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3  # type: ignore[attr-defined]


@pytest.mark.usefixtures("parts_of_8")
def test_the_size_of_the_parts_changes_no_result(tiny_prepared: PreparedStore, source: Source, tmp_path: Path) -> None:
    prepare(source, tmp_path, 0.2, quiet)
    cut = PreparedStore.open(tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.bin")) == [f"part-0000{part}.bin" for part in range(4)]
    np.testing.assert_array_equal(cut.labels, tiny_prepared.labels)
    np.testing.assert_array_equal(cut.validation, tiny_prepared.validation)
    assert all(np.array_equal(cut.read_pixels(index), tiny_prepared.read_pixels(index)) for index in range(30))
    np.testing.assert_allclose(cut.statistics.mean, tiny_prepared.statistics.mean, rtol=1e-6)


@pytest.mark.usefixtures("parts_of_8")
def test_processes_write_the_store_that_threads_write(source: Source, tmp_path: Path, store: str) -> None:
    for workers in (0, 2):
        prepare(source, tmp_path / str(workers), 0.2, quiet, store, workers)
    assert snapshot(tmp_path / "2") == snapshot(tmp_path / "0")


@pytest.mark.usefixtures("parts_of_8")
def test_progress_reports_the_number_of_images(source: Source, tmp_path: Path) -> None:
    heard: list[int] = []
    prepare(source, tmp_path, 0.2, heard.append)
    assert heard == [8, 16, 24, 31]


def snapshot(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.iterdir() if path.suffix != ".npz"}


@pytest.mark.usefixtures("parts_of_8")
@pytest.mark.parametrize("part", range(4))
def test_an_unfinished_part_is_remade_equal(source: Source, tmp_path: Path, part: int) -> None:
    prepare(source, tmp_path, 0.2, quiet)
    whole = snapshot(tmp_path)
    (tmp_path / DOCUMENT).unlink()
    (tmp_path / f"part-0000{part}.parquet").unlink()
    (tmp_path / f"part-0000{part}.bin").write_bytes(b"half")
    prepare(source, tmp_path, 0.2, quiet)
    assert snapshot(tmp_path) == whole


def test_images_are_resized_by_the_filter_that_is_asked_for(source: Source, tmp_path: Path) -> None:
    prepare(source, tmp_path, 0.2, quiet, "raw", filter="bicubic")
    store, contract = PreparedStore.open(tmp_path), Contract(filter="bicubic", decode=DECODING)
    first = next(entry for entry in source.entries if "broken" not in entry.id)
    np.testing.assert_array_equal(store.read_pixels(0), decode(source.read(first), contract)[0])
    assert store.contract == replace(contract, labels=source.labels)
    with pytest.raises(BadInput, match=r"--filter cubic: expected bilinear or bicubic; did you mean bicubic\?"):
        prepare(source, tmp_path, 0.2, quiet, filter="cubic")


@pytest.mark.usefixtures("parts_of_8")
@pytest.mark.parametrize("left", [0.0, 0.4])
def test_truncated_images_are_made_again_equal(source: Source, tmp_path: Path, store: str, left: float) -> None:
    prepare(source, tmp_path, 0.2, quiet, store)
    whole = snapshot(tmp_path)
    file = PreparedStore.open(tmp_path).images.find_file(1)
    os.truncate(file, int(left * file.stat().st_size))
    with pytest.raises(BadInput, match=f"{file}: truncated or missing; prepare it again"):
        PreparedStore.open(tmp_path)
    prepare(source, tmp_path, 0.2, quiet, store)
    assert snapshot(tmp_path) == whole


@pytest.mark.usefixtures("parts_of_8")
def test_finished_parts_are_not_decoded_again(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(source, tmp_path, 0.2, quiet)
    (tmp_path / "part-00002.parquet").unlink()
    seen: list[str] = []
    original = PartWriter._read_and_prepare

    def counted(writer: PartWriter, entry: Entry) -> PreparedImage:
        seen.append(entry.id)
        return original(writer, entry)

    monkeypatch.setattr(PartWriter, "_read_and_prepare", counted)
    prepare(source, tmp_path, 0.2, quiet)
    assert sorted(seen) == sorted(entry.id for entry in source.entries[16:24])


@pytest.mark.usefixtures("parts_of_8")
def test_a_full_disk_is_one_line_and_finished_parts_stay(
    source: Source, tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")  # as a write has it: no file is named

    prepare(source, tmp_path / "whole", 0.2, quiet, store)
    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full)
        with pytest.raises(
            WorkFailed, match=r"out: No space left on device; what is done is kept: make room and run it again"
        ):
            prepare(source, tmp_path / "out", 0.2, quiet, store)
    prepare(source, tmp_path / "out", 0.2, quiet, store)
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "whole")


@pytest.mark.usefixtures("parts_of_8")
def test_an_interrupted_prepare_is_not_a_prepared_data_set_and_can_be_finished(
    source: Source, tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(source, tmp_path / "whole", 0.2, quiet, store)
    original, calls = PartWriter._read_and_prepare, 0

    def failing(writer: PartWriter, entry: Entry) -> PreparedImage:
        nonlocal calls
        calls += 1
        if calls == 20:
            raise KeyboardInterrupt
        return original(writer, entry)

    with monkeypatch.context() as patch:
        patch.setattr(PartWriter, "_read_and_prepare", failing)
        with pytest.raises(KeyboardInterrupt):
            prepare(source, tmp_path / "begun", 0.2, quiet, store)
    with pytest.raises(BadInput, match="tencrop prepare"):
        PreparedStore.open(tmp_path / "begun")
    prepare(source, tmp_path / "begun", 0.2, quiet, store)
    assert snapshot(tmp_path / "begun") == snapshot(tmp_path / "whole")


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A disk that is full: files grow to so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_the_plan_is_written_atomically_and_once(source: Source, tmp_path: Path) -> None:
    with files_of_at_most(100), pytest.raises(OSError, match="File too large"):
        prepare(source, tmp_path, 0.2, quiet)
    assert not list(tmp_path.iterdir())
    prepare(source, tmp_path, 0.2, quiet)
    before = (tmp_path / "plan.json").stat()
    prepare(source, tmp_path, 0.2, quiet)
    assert (tmp_path / "plan.json").stat().st_mtime_ns == before.st_mtime_ns


def test_a_store_of_an_older_version_is_finished_as_it_was_begun(source: Source, tmp_path: Path) -> None:
    assert prepare(source, tmp_path, 0.2, quiet).contract.decode == DECODING
    plan = json.loads((tmp_path / PLAN).read_text())
    assert plan["contract"].pop("decode") == {"jpeg_scale_from": 1024, "icc_profile": "srgb"}
    older = json.dumps(plan, indent=1, ensure_ascii=False)
    (tmp_path / PLAN).write_text(older)
    assert prepare(source, tmp_path, 0.2, quiet).contract.decode == FULL_DECODING
    assert (tmp_path / PLAN).read_text() == older


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"contract": {"decode": {"jpeg_scale_from": 0}}}'])
def test_a_damaged_plan_is_another_one(text: str, source: Source, tmp_path: Path) -> None:
    (tmp_path / PLAN).write_text(text)
    with pytest.raises(BadInput, match="holds another prepared data set"):
        prepare(source, tmp_path, 0.2, quiet)


def test_statistics_on_a_full_disk_are_an_os_error_and_finished_later(source: Source, tmp_path: Path) -> None:
    prepare(source, tmp_path, 0.2, quiet)
    whole = snapshot(tmp_path)
    for name in (DOCUMENT, STATISTICS):
        (tmp_path / name).unlink()
    with files_of_at_most(100_000), pytest.raises(OSError, match="File too large"):
        prepare(source, tmp_path, 0.2, quiet)
    assert not (tmp_path / STATISTICS).exists()
    prepare(source, tmp_path, 0.2, quiet)
    assert snapshot(tmp_path) == whole


@pytest.mark.usefixtures("parts_of_8")
@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
@pytest.mark.parametrize("left", [0.0, 0.5, 0.99])
def test_a_damaged_part_is_remade_equal(source: Source, tmp_path: Path, suffix: str, left: float) -> None:
    prepare(source, tmp_path, 0.2, quiet)
    whole = snapshot(tmp_path)
    (tmp_path / DOCUMENT).unlink()
    file = tmp_path / f"part-00001{suffix}"
    file.write_bytes(file.read_bytes()[: int(left * file.stat().st_size)])
    prepare(source, tmp_path, 0.2, quiet)
    assert snapshot(tmp_path) == whole


@pytest.mark.parametrize("change", ["holdout", "fewer images", "other classes", "other files", "store"])
def test_another_data_set_does_not_go_into_the_same_folder(tiny_folder: Path, tmp_path: Path, change: str) -> None:
    data, out = Path(shutil.copytree(tiny_folder, tmp_path / "data")), tmp_path / "out"
    prepare(open_source(data), out, 0.2, quiet)
    before = snapshot(out)
    if change == "fewer images":
        (data / "cat" / "3.png").unlink()
    if change == "other classes":
        (data / "cat").rename(data / "dog")
    if change == "other files":
        (data / "cat" / "3.png").rename(data / "cat" / "13.png")
    with pytest.raises(BadInput, match=f"{out}: holds another"):
        prepare(
            open_source(data), out, 0.3 if change == "holdout" else 0.2, quiet, "raw" if change == "store" else "jpeg"
        )
    assert snapshot(out) == before


def test_the_index_gives_the_position_of_each_image(tiny_prepared: PreparedStore, source: Source) -> None:
    index = pq.read_table(tiny_prepared.root / INDEX)
    assert index.schema.equals(SCHEMA)
    assert isinstance(index, pa.Table)
    assert index["id"].to_pylist() == [entry.id for entry in source.entries]
    sizes = index["bytes"].to_numpy()
    assert sizes[index["id"].to_pylist().index("ant/broken.png")] == 0
    np.testing.assert_array_equal(index["start"].to_numpy(), np.concatenate([[0], np.cumsum(sizes)[:-1]]))


def test_a_data_set_without_one_decodable_image_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "data" / "a").mkdir(parents=True)
    (tmp_path / "data" / "a" / "1.jpg").write_bytes(b"no image")
    with pytest.raises(BadInput):
        prepare(open_source(tmp_path / "data"), tmp_path / "out", 0.0, quiet)


def test_a_data_set_without_one_training_image_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "data" / "a").mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(tmp_path / "data" / "a" / "1.png")
    with pytest.raises(BadInput):
        prepare(open_source(tmp_path / "data"), tmp_path / "out", 0.9, quiet)


def test_a_class_without_a_training_image_is_bad_input_naming_it(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.tar").write_bytes(tar({"1.jpg": jpeg(1), "1.cls": b"0"}))
    (tmp_path / "data" / "classes.txt").write_text("ant\nbee\n")
    with pytest.raises(BadInput, match=r"class 'bee' .* has no training image"):
        prepare(open_source(tmp_path / "data"), tmp_path / "out", 0.0, quiet)
    assert not (tmp_path / "out").exists()


def test_ilsvrc_is_prepared_with_its_own_split(tmp_path: Path) -> None:
    source = open_source(ilsvrc(tmp_path / "data"))
    document = prepare(source, tmp_path / "out", 0.15, quiet)
    prepared = PreparedStore.open(tmp_path / "out")
    assert (document.training, document.validation, document.holdout) == (12, 5, None)
    np.testing.assert_array_equal(prepared.validation, source.entries.validation)
    np.testing.assert_array_equal(prepared.labels, source.entries.labels)
    expected = [decode(data, Contract())[0] for data in validation_images().values()]
    for index, pixels in zip(np.flatnonzero(prepared.validation), expected, strict=True):
        assert np.abs(prepared.read_pixels(int(index)).astype(int) - pixels).max() <= 2


def test_validation_images_alone_are_not_prepared(tmp_path: Path) -> None:
    (ilsvrc(tmp_path / "data") / "ILSVRC2012_img_train.tar").unlink()
    with pytest.raises(BadInput, match="holds no training images"):
        prepare(open_source(tmp_path / "data"), tmp_path / "out", 0.15, quiet)


def test_other_labels_of_the_same_images_do_not_go_into_the_same_folder(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "classes.txt").write_text("ant\nbee\n")
    for labels in ("01", "10"):
        samples = {
            f"{n}.{kind}": content
            for n in range(2)
            for kind, content in (("jpg", jpeg(n)), ("cls", labels[n].encode()))
        }
        (tmp_path / "data" / "x.tar").write_bytes(tar(samples))
        if labels == "01":
            prepare(open_source(tmp_path / "data"), tmp_path / "out", 0.0, quiet)
    with pytest.raises(BadInput, match="holds another"):
        prepare(open_source(tmp_path / "data"), tmp_path / "out", 0.0, quiet)


STUCK = """
import itertools, sys, time
from pathlib import Path
from tencrop.dataset import prepare
from tencrop.dataset.layouts import open_source
prepare.PART, original, calls = 8, prepare.prepare_image, itertools.count()
def stuck(*arguments):
    if next(calls) >= 20:
        print("stuck", flush=True)
        time.sleep(600)
    return original(*arguments)
prepare.prepare_image = stuck
prepare.prepare(open_source(Path(sys.argv[1])), Path(sys.argv[2]), 0.2, lambda done: None, sys.argv[3])
"""


@pytest.mark.slow
@pytest.mark.usefixtures("parts_of_8")
def test_a_killed_prepare_is_finished_equal(source: Source, tiny_folder: Path, tmp_path: Path, store: str) -> None:
    """SIGKILL in the middle of the third part: the two finished ones are kept as they are."""
    prepare(source, tmp_path / "whole", 0.2, quiet, store)
    out = tmp_path / "killed"
    command = [sys.executable, "-c", STUCK, str(tiny_folder), str(out), store]
    with subprocess.Popen(command, cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE) as child:
        assert child.stdout
        heard = child.stdout.readline()
        child.kill()
    assert (heard[:5], child.returncode) == (b"stuck", -signal.SIGKILL)
    finished = sorted(out.glob("part-*.parquet"))
    assert [path.name for path in finished] == ["part-00000.parquet", "part-00001.parquet"]
    before = {path: path.stat().st_mtime_ns for path in (*finished, *out.glob("part-0000[01].bin"))}
    prepare(source, out, 0.2, quiet, store)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert snapshot(out) == snapshot(tmp_path / "whole")


PREPARE = """
import resource, sys
from pathlib import Path
from tencrop.dataset.layouts import open_source
from tencrop.dataset.prepare import prepare
from tencrop.dataset.prepared_document import PLAN
source = open_source(Path(sys.argv[1]))
prepare(source, Path(sys.argv[2]), 0.15, lambda done: None)
print(len(source.entries), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_memory(root: Path, images: int) -> float:
    """MiB that a process of its own needs at most to prepare a WebDataset of so many images."""
    data, picture = root / f"data{images}", jpeg(0)
    data.mkdir()
    (data / "classes.txt").write_text("ant\nbee\n")
    for shard in range(0, images, 1000):
        samples = (
            (f"{n:06d}.{kind}", content)
            for n in range(shard, shard + 1000)
            for kind, content in (("jpg", picture), ("cls", b"01"[n % 2 :][:1]))
        )
        (data / f"{shard:06d}.tar").write_bytes(tar(list(samples)))
    command = [sys.executable, "-c", PREPARE, str(data), str(root / f"out{images}")]
    done = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=True)
    listed, kilobytes = map(int, done.stdout.split())
    assert listed == images
    return kilobytes / 1024


@pytest.mark.slow
def test_six_thousand_images_need_little_more_memory_than_one_thousand(tmp_path: Path) -> None:
    assert peak_memory(tmp_path, 6000) - peak_memory(tmp_path, 1000) < 50
