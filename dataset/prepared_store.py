"""PreparedStore: random access to a prepared data set, the 256x256 images that prepare.py writes."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError
from safetensors.numpy import load_file

from tencrop.common.errors import BadInput
from tencrop.common.strict_config import parse
from tencrop.dataset.prepared_images import STORES, Images
from tencrop.model.contract import Contract
from tencrop.model.mean_and_pca import PixelStatistics
from tencrop.runtime.cores import cores

DOCUMENT, INDEX, STATISTICS = "prepared.json", "index.parquet", "statistics.safetensors"
SCHEMA = pa.schema(  # of the index; bytes is 0 where the original could not be decoded
    {
        "id": pa.string(),
        "label": pa.int32(),
        "validation": pa.bool_(),
        "part": pa.int32(),
        "start": pa.int64(),
        "bytes": pa.int32(),
    }
)


@dataclass(frozen=True)
class PreparedStore:
    """A finished prepared data set, without the images that could not be decoded."""

    root: Path
    contract: Contract
    labels: np.ndarray  # int32 [n]: index of the class
    validation: np.ndarray  # bool [n]
    where: np.ndarray  # int64 [n,3]: part, start, bytes
    statistics: PixelStatistics  # mean image and colour PCA of the training images
    images: Images

    @classmethod
    def open(cls, root: Path) -> "PreparedStore":
        """Open a prepared data set. Raises BadInput where the folder is unfinished, truncated or something else."""
        if not (root / DOCUMENT).is_file():
            raise BadInput(f"{root}: not a finished prepared data set", f"run: tencrop prepare DATA {root}")
        try:
            document = json.loads((root / DOCUMENT).read_text(encoding="utf-8"))
            index = pq.read_table(root / INDEX, columns=SCHEMA.names)
            if index.schema != SCHEMA:
                raise ValueError(f"{INDEX} has other columns")
            contract = parse(Contract, document["contract"], f"{root / DOCUMENT}: contract")
            images = STORES[document.get("store", "jpeg")](root, contract.resize)
            statistics = PixelStatistics(**load_file(root / STATISTICS))
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException, SafetensorError) as error:
            raise BadInput(f"{root}: damaged prepared data set ({error})", "prepare it again") from None
        columns = {name: index[name].to_numpy() for name in SCHEMA.names if name != "id"}
        good = columns["bytes"] > 0
        where = np.stack([columns[name][good].astype(np.int64) for name in ("part", "start", "bytes")], axis=1)
        needed = np.zeros(where[:, 0].max(initial=-1) + 1, np.int64)
        np.maximum.at(needed, where[:, 0], where[:, 1] + where[:, 2])
        for part, size in enumerate(needed.tolist()):
            file = images.find_file(part)
            if size and (not file.is_file() or file.stat().st_size < size):
                raise BadInput(f"{file}: truncated or missing", "prepare it again: only this part is made anew")
        return cls(root, contract, columns["label"][good], columns["validation"][good], where, statistics, images)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the folder's path alone: a worker process opens the folder itself."""
        return PreparedStore.open, (self.root,)

    def read_crop(self, index: int, top: int, left: int, size: int) -> np.ndarray:
        """Read a crop of an image, uint8 [size,size,3]. It may be a view of the file, and cannot be written to."""
        return self.images.read_crop(self.where[index].tolist(), top, left, size)

    def read_pixels(self, index: int) -> np.ndarray:
        """Read an image, uint8 [R,R,3]. It may be a view of the file, and cannot be written to."""
        return self.read_crop(index, 0, 0, self.contract.resize)

    def iter_batches(self, indices: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (uint8 [n,R,R,3], labels [n]) in order; n is `size` except in the last batch.

        Threads, one per core, decode one batch ahead.
        """
        groups = [indices[start : start + size] for start in range(0, len(indices), size)]
        with ThreadPoolExecutor(cores()) as pool:
            submitted = ([pool.submit(self.read_pixels, int(index)) for index in group] for group in groups)
            pending = [*islice(submitted, 1)]
            for group in groups:
                pending += islice(submitted, 1)
                yield np.stack([image.result() for image in pending.pop(0)]), self.labels[group]
