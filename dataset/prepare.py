"""The prepared data set: 256x256 images as JPEG in parts, their labels, the mean image and the colour PCA.

OUT/plan.json says what is prepared. For each 1000 images part-00000.bin (their JPEGs end to end), part-00000.npz (their sums for
the statistics) and part-00000.parquet (where each lies), written in this order: a part without its .parquet, or a damaged one, is made
again. Then statistics.safetensors, index.parquet (all parts) and prepared.json, written last: a folder without it is unfinished and
`prepare` goes on where it stopped. Originals are decoded once, here; memory does not grow with the number of images but by the index.
"""

import errno
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from safetensors.numpy import save

from tencrop.common.atomic import atomic_path, write_atomic
from tencrop.common.errors import BadInput, WorkFailed
from tencrop.common.strict_config import dump
from tencrop.dataset.holdout import choose_holdout
from tencrop.dataset.prepared_store import DOCUMENT, INDEX, SCHEMA, STATISTICS
from tencrop.dataset.source import Entries, Entry, Source
from tencrop.images.decode import decode
from tencrop.images.errors import ImageError
from tencrop.model.contract import Contract
from tencrop.model.mean_and_pca import PixelStatistics
from tencrop.runtime.cores import cores

PART = 1000  # images a part
FULL = (errno.ENOSPC, errno.EDQUOT)
QUALITY = 95  # JPEG quality of the cache, chroma at full resolution


def prepare(source: Source, out: Path, holdout: float, progress: Callable[[int], None]) -> dict[str, Any]:
    """Write the prepared form of `source`, or finish one that was begun; `progress` hears how many images are done.

    `holdout` is the share that is kept for validation where the data set has no validation images of its own.
    The statistics are those of the training images, before JPEG. Returns prepared.json.
    Raises BadInput where `out` cannot be used or holds another data set, where there is one class only, or one without a training
    image, or none that can be decoded; WorkFailed where the disk is full.
    """
    entries = source.entries
    held = choose_holdout(entries, holdout)
    _check_classes(source, held)
    contract = Contract(labels=source.labels)
    share = holdout if entries.validation is None else None
    plan = {"contract": dump(contract), "holdout": share, "images": len(entries), "ids": _digest(entries)}
    plan |= {"quality": QUALITY, "part": PART}
    with _report_full_disk(out):
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if error.errno in FULL:
                raise
            raise BadInput(f"{out}: cannot be used ({error.strerror}); choose another folder") from None
        _check_plan(out / "plan.json", plan)
        sums = [np.zeros(1, np.int64), np.zeros((contract.resize, contract.resize, 3)), np.zeros((3, 3))]
        tables = []
        with ThreadPoolExecutor(cores()) as pool:
            for part, start in enumerate(range(0, len(entries), PART)):
                chunk = slice(start, start + PART)
                table, part_sums = _part(source, entries[chunk], held[chunk], part, out, contract, pool)
                tables.append(table)
                for total, value in zip(sums, part_sums, strict=True):
                    total += value
                progress(start + table.num_rows)
        index = pa.concat_tables(tables)
        if not sums[0][0]:
            raise BadInput(f"{source.root}: no training image can be decoded; check the files and --holdout")
        statistics = PixelStatistics.from_sums(int(sums[0][0]), sums[1], sums[2])
        write_atomic(out / STATISTICS, save(statistics.to_tensors()))
        with atomic_path(out / INDEX) as partial:
            pq.write_table(index, partial)
        return _finish(out, plan, index)


@contextmanager
def _report_full_disk(out: Path) -> Iterator[None]:
    """Raises WorkFailed where the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise WorkFailed(
            f"{out}: {os.strerror(error.errno)}; what is done is kept: make room and run it again"
        ) from None


def _check_classes(source: Source, held: np.ndarray) -> None:
    """Each class needs something to learn from, and something to be told from."""
    if len(source.labels) < 2:
        raise BadInput(
            f"{source.root}: holds one class, {source.labels[0].id!r}; name the folder whose folders are the classes"
        )
    if held.all():
        raise BadInput(
            f"{source.root}: holds no training images, only those for validation; add them, or lower --holdout"
        )
    without = np.setdiff1d(np.arange(len(source.labels)), source.entries.labels[~held])
    if len(without):
        label = source.labels[without[0]]
        raise BadInput(
            f"{source.root}: class {label.id!r} ({label.name}) has no training image ({len(without)} such classes)"
        )


def _digest(entries: Entries) -> str:
    """What tells one list of images from another: ids, labels and the data set's own split."""
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(f"{entry.id}\t{entry.label}\t{entry.validation}\n".encode())
    return digest.hexdigest()


def _check_plan(file: Path, plan: dict[str, Any]) -> None:
    """Remember what is being prepared, so that another data set never mixes into the same folder."""
    text = json.dumps(plan, indent=1, ensure_ascii=False)
    if not file.exists():
        write_atomic(file, text)
    elif file.read_bytes() != text.encode():
        raise BadInput(f"{file.parent}: holds another prepared data set (or other settings); choose an empty folder")


def _finish(out: Path, plan: dict[str, Any], index: pa.Table) -> dict[str, Any]:
    sizes = index["bytes"].to_numpy()
    good = sizes > 0
    document = plan | {
        "training": int((good & ~index["validation"].to_numpy()).sum()),
        "validation": int((good & index["validation"].to_numpy()).sum()),
        "undecodable": index["id"].filter(pa.array(~good)).to_pylist(),
        "bytes_per_image": round(float(sizes[good].mean())),
    }
    write_atomic(out / DOCUMENT, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    return document


def _part(
    source: Source,
    entries: Sequence[Entry],
    held: np.ndarray,
    part: int,
    out: Path,
    contract: Contract,
    pool: ThreadPoolExecutor,
) -> tuple[pa.Table, list[np.ndarray]]:
    """One part: read back where it is complete (its .parquet is written last), else made."""
    name = out / f"part-{part:05d}"
    listing, sums_file = name.with_suffix(".parquet"), name.with_suffix(".npz")
    if kept := _kept(listing, sums_file):
        return kept
    n, image, colour = np.zeros(1, np.int64), np.zeros((contract.resize, contract.resize, 3)), np.zeros((3, 3))
    rows: list[tuple[str, int, bool, int, int, int]] = []
    start = 0
    with atomic_path(name.with_suffix(".bin")) as partial, partial.open("wb") as packed:
        results = pool.map(lambda entry: _prepare_one(source, entry, contract), entries)
        for entry, validation, (pixels, jpeg, products) in zip(entries, held, results, strict=True):
            packed.write(jpeg)
            rows.append((entry.id, entry.label, bool(validation), part, start, len(jpeg)))
            start += len(jpeg)
            if pixels is not None and not validation:
                n += 1
                image += pixels
                colour += products
    table = pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], schema=SCHEMA)
    with atomic_path(sums_file) as partial, partial.open("wb") as file:
        np.savez(file, n=n, image=image, colour=colour)
    with atomic_path(listing) as partial:
        pq.write_table(table, partial)
    return table, [n, image, colour]


def _kept(listing: Path, sums_file: Path) -> tuple[pa.Table, list[np.ndarray]] | None:
    """What a part says; None where a file of it is damaged or not there."""
    try:
        with sums_file.open("rb") as file, np.load(file) as stored:  # given the path, it leaves a damaged file open
            return pq.read_table(listing), [stored["n"], stored["image"], stored["colour"]]
    except (OSError, EOFError, ValueError, KeyError, BadZipFile, pa.ArrowException):
        return None


def _prepare_one(source: Source, entry: Entry, contract: Contract) -> tuple[np.ndarray | None, bytes, np.ndarray]:
    """Pixels, their JPEG, and the sum of pixel x pixel^T; no pixels and no bytes of an image that cannot be decoded."""
    try:
        pixels, _ = decode(source.read(entry), contract)
    except ImageError:
        return None, b"", np.zeros((3, 3))
    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, "JPEG", quality=QUALITY, subsampling=0)
    flat = pixels.reshape(-1, 3).astype(np.float64)
    return pixels, packed.getvalue(), flat.T @ flat
