"""The images that a net was trained on, by the hashes in its prepared data set: no model may be calibrated on them."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tencrop.common.errors import BadInput
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.evaluation.plan import Plan
from tencrop.images.errors import ImageError
from tencrop.model.contract import Contract

PARTS = "part-*.parquet"  # the tables of a prepared data set, which have the sha256 of each original


def check_unseen(plan: Plan, contract: Contract, prepared: Path) -> None:
    """Check that no image of the plan has the bytes of a training image of a prepared data set.

    Raises BadInput that names the first one that has, where the data set has other classes or sizes than the model, and
    where it has no hashes.
    """
    store = PreparedStore.open(prepared)
    if (store.contract.labels, store.contract.resize) != (contract.labels, contract.resize):
        raise BadInput(
            f"{prepared}: its classes or sizes are not those of the model", "name the data set it learned from"
        )
    trained = _read_hashes(prepared)
    for entry in plan.entries:
        try:
            image = plan.data.read(entry)
        except (ImageError, OSError):  # it has no answer either
            continue
        if hashlib.sha256(image).digest() in trained:
            raise BadInput(
                f"{plan.data.root}: the net was trained on {entry.id}",
                "calibrate on other images, as by --holdout with the share that `prepare` held out",
            )


def _read_hashes(prepared: Path) -> set[bytes]:
    try:
        tables = [pq.read_table(file, columns=["validation", "bytes", "sha256"]) for file in prepared.glob(PARTS)]
        table = pa.concat_tables(tables)
    except (OSError, pa.ArrowException) as error:  # a store of version 0.1 has no such column
        raise BadInput(f"{prepared}: knows no hashes of its images ({error})", "prepare it again") from None
    trained = table.filter(pc.and_(pc.invert(table["validation"]), pc.greater(table["bytes"], 0)))
    if trained["sha256"].null_count:
        raise BadInput(f"{prepared}: knows no hashes of some images", "prepare it again")
    return set(trained["sha256"].to_pylist())
