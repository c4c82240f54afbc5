"""Prepares a data set: decodes each image once and stores 256x256 images, labels, the mean image and the colour PCA.

Writes OUT/plan.json, then the parts, then statistics.safetensors, index.parquet (the tables of all parts) and
prepared.json. A folder without prepared.json is unfinished, and `prepare` resumes it: it writes only parts that are
missing or damaged. With the number of images only the index grows in memory.
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from safetensors.numpy import save

from tencrop.common.atomic import atomic_path, write_atomic
from tencrop.common.did_you_mean import did_you_mean
from tencrop.common.errors import BadInput, WorkFailed
from tencrop.dataset.account import Account
from tencrop.dataset.holdout import choose_holdout
from tencrop.dataset.prepared_document import PLAN, PreparationPlan, PreparedDocument, choose_decoding
from tencrop.dataset.prepared_images import STORES, Images, prepare_image
from tencrop.dataset.prepared_part import PartWriter, PixelSums
from tencrop.dataset.prepared_store import DOCUMENT, INDEX, SCHEMA, STATISTICS
from tencrop.dataset.separate_output import check_separate
from tencrop.dataset.source import Entries, Source
from tencrop.images.decode_processes import run_in_processes
from tencrop.model.contract import Contract, parse_filter
from tencrop.model.mean_and_pca import PixelStatistics
from tencrop.runtime.cores import cores

PART = 1000  # images per part
FULL = (errno.ENOSPC, errno.EDQUOT)


def prepare(
    source: Source,
    out: Path,
    holdout: float,
    progress: Callable[[int], None],
    store: str = "jpeg",
    workers: int = 0,
    filter: str = "bilinear",
) -> PreparedDocument:
    """Write the prepared store of a data set, or finish one; `progress` is called with the number of images done.

    `holdout` is the share of each class for validation where the data set has no validation images of its own; `store`
    is a key of STORES; `filter` is the one of the contract. `workers` processes decode, or threads where it is 0. The
    statistics are those of the training images, before they are encoded.
    Raises BadInput where `out` cannot be used, lies in the source or holds another data set, where there is only one
    class or a class without a training image, and where no training image can be decoded; WorkFailed where the disk
    is full.
    """
    if store not in STORES:
        raise BadInput(f"--store {store}: expected {' or '.join(STORES)}", did_you_mean(store, STORES))
    check_separate(source.root, out)
    entries = source.entries
    held = choose_holdout(entries, holdout)
    _check_classes(source, held)
    contract = Contract(filter=parse_filter(filter), labels=source.labels, decode=choose_decoding(out / PLAN))
    share = holdout if entries.validation is None else None
    images = STORES[store](out, contract.resize)
    plan = PreparationPlan(contract, share, len(entries), _hash_entries(entries), images.quality, PART, store=store)
    with _report_full_disk(out):
        _make_folder(out)
        plan.write_or_check(out / PLAN)
        _check_room(out, images.count_missing_bytes(len(entries)))
        index, sums = _prepare_parts(source, held, out, contract, images, progress, workers)
        if not sums.n[0]:
            raise BadInput(
                f"{source.root}: no training image can be decoded", "check the files and the share for validation"
            )
        statistics = PixelStatistics.from_sums(int(sums.n[0]), sums.image, sums.colour)
        write_atomic(out / STATISTICS, save(statistics.to_tensors()))
        with atomic_path(out / INDEX) as partial:
            pq.write_table(index.select(SCHEMA.names), partial)
        account = Account.close(source.inventory, len(entries), _undecodable(index), _find_duplicates(index))
        document = _summarize(plan, index, account)
        write_atomic(out / DOCUMENT, document.to_json() + "\n")
        return document


@contextmanager
def _report_full_disk(out: Path) -> Iterator[None]:
    """Turn the OSError of a full disk into WorkFailed."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise WorkFailed(
            f"{out}: {os.strerror(error.errno)}", "what is done is kept: make room and run it again"
        ) from None


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in FULL:
            raise
        raise BadInput(f"{out}: cannot be used ({error.strerror})", "choose another folder") from None


def _check_room(out: Path, needed: int) -> None:
    if needed > (free := shutil.disk_usage(out).free):
        raise WorkFailed(
            f"{out}: the images take {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free",
            "make room, or prepare them with --store jpeg",
        )


def _check_classes(source: Source, held: np.ndarray) -> None:
    """Raise BadInput where there are fewer than two classes, or where a class has no training image."""
    if len(source.labels) < 2:
        raise BadInput(
            f"{source.root}: all its images are of one class, {source.labels[0].id!r}",
            "a training takes two or more: a folder per class, as DATA/<class>/<image>, or --list FILE",
        )
    if held.all():
        raise BadInput(
            f"{source.root}: holds no training images, only those for validation",
            "add them, or lower the share for validation",
        )
    without = np.setdiff1d(np.arange(len(source.labels)), source.entries.labels[~held])
    if len(without):
        label = source.labels[without[0]]
        raise BadInput(
            f"{source.root}: class {label.id!r} ({label.name}) has no training image ({len(without)} such classes)"
        )


def _hash_entries(entries: Entries) -> str:
    """Hash ids, labels and the data set's own split."""
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(f"{entry.id}\t{entry.label}\t{entry.validation}\n".encode())
    return digest.hexdigest()


def _prepare_parts(
    source: Source,
    held: np.ndarray,
    out: Path,
    contract: Contract,
    images: Images,
    progress: Callable[[int], None],
    workers: int,
) -> tuple[pa.Table, PixelSums]:
    """Prepare part after part; returns the tables of all parts as one, and the sums over all training images."""
    sums, tables = PixelSums.zeros(contract.resize), []
    function = partial(prepare_image, contract, images.encode)
    with run_in_processes(function, workers) as prepare, ThreadPoolExecutor(workers or cores()) as pool:
        writer = PartWriter(source, out, contract.resize, images, prepare, pool)
        for part, start in enumerate(range(0, len(source.entries), PART)):
            chunk = slice(start, start + PART)
            table, part_sums = writer.read_or_write(part, start, source.entries[chunk], held[chunk])
            tables.append(table)
            sums.add(part_sums.n, part_sums.image, part_sums.colour)
            progress(start + table.num_rows)
    return pa.concat_tables(tables), sums


def _undecodable(index: pa.Table) -> list[str]:
    """The reason of each image that could not be decoded."""
    reasons: list[str] = index["reason"].filter(pc.not_equal(index["reason"], "")).to_pylist()
    return reasons


def _find_duplicates(index: pa.Table) -> list[str]:
    """The ids of the validation images whose bytes are those of a training image, both decoded."""
    index = index.filter(pc.equal(index["reason"], ""))
    held = index["validation"]
    trained = index["sha256"].filter(pc.invert(held)).drop_null()
    twice = pc.is_in(index["sha256"], pa.array(trained.to_pylist(), trained.type))
    ids: list[str] = index["id"].filter(pc.and_(held, twice)).to_pylist()
    return ids


def _summarize(plan: PreparationPlan, index: pa.Table, account: Account) -> PreparedDocument:
    sizes, validation = index["bytes"].to_numpy(), index["validation"].to_numpy()
    decoded = sizes > 0
    return PreparedDocument(
        **{field.name: getattr(plan, field.name) for field in fields(plan)},
        training=int((decoded & ~validation).sum()),
        validation=int((decoded & validation).sum()),
        undecodable=index["id"].filter(pa.array(~decoded)).to_pylist(),
        bytes_per_image=round(float(sizes[decoded].mean())),
        account=account.to_json(),
    )
