"""Lists an Arrow stream: labels and paths, and where each image lies in the file. No image is read.

`Dataset.save_to_disk` writes such files, without compression. Message.fbs of the Arrow format numbers the fields.
"""

import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import ipc, types

from tencrop.common.errors import BadInput, one_line
from tencrop.common.lfs_pointer import refuse_lfs_pointer
from tencrop.dataset.hub_columns import Columns, Rows, check_listing
from tencrop.dataset.hub_schema import choose_columns
from tencrop.dataset.source_options import SourceOptions

END = b"\xff\xff\xff\xff\0\0\0\0"
HEADER, CUSTOM_METADATA = 2, 4  # fields of a message
COMPRESSION = 3  # field of a record batch
PLACE_BYTES = 32  # of a row's place in memory
EXPECTED = "save it again with `save_to_disk`"


class Listing(NamedTuple):
    """The rows of a file."""

    columns: Columns
    rows: Rows
    places: np.ndarray  # int64 [n,3]: start and size in the file, -1 for a null, and 1 where they are the path's


def list_stream(file: Path, options: SourceOptions) -> Listing:
    """List the rows of a file, which is mapped into memory while it is listed.

    Raises BadInput where the file lacks the columns, is damaged or compressed, or takes more than MAX_LISTING to list.
    """
    try:
        with pa.memory_map(str(file)) as mapped:
            return _list_batches(file, mapped, options)
    except (OSError, pa.ArrowException, KeyError, ValueError, struct.error, StopIteration) as error:
        raise BadInput(
            f"{file}: not an Arrow stream with labelled images, or damaged ({one_line(error)})", EXPECTED
        ) from None


def _list_batches(file: Path, mapped: pa.MemoryMappedFile, options: SourceOptions) -> Listing:
    mapped.seek(max(0, mapped.size() - len(END)))
    if mapped.read() != END:
        refuse_lfs_pointer(file)
        raise BadInput(f"{file}: ends early", "copy it again")
    mapped.seek(0)
    whole = mapped.read_buffer(mapped.size())
    mapped.seek(0)
    for number, message in enumerate(ipc.MessageReader.open_stream(mapped)):
        if number and (message.type != "record batch" or _is_compressed(message.metadata)):
            raise BadInput(f"{file}: holds compressed rows, or a {message.type}", EXPECTED)
    mapped.seek(0)
    stream = ipc.open_stream(mapped)
    columns = choose_columns(file, stream.schema, options)
    rows: list[Rows] = []
    places = [np.zeros((0, 3), np.int64)]
    size = 0
    for batch in stream:
        wanted = batch.select([columns.image.name, columns.label])
        size += batch.num_rows * PLACE_BYTES
        check_listing(file, size)
        rows.append(columns.read(wanted))
        size += rows[-1].nbytes
        check_listing(file, size)
        places.append(_locate_images(wanted, columns, options.image_root is not None, whole))
    return Listing(columns, columns.join(rows), np.concatenate(places))


def _is_compressed(metadata: pa.Buffer) -> bool:
    """Return whether a record batch is compressed: pyarrow would inflate it, to any size, before it can be measured."""
    data = memoryview(metadata)
    message = struct.unpack_from("<I", data)[0]
    header = message + _find_field(data, message, HEADER)
    header += struct.unpack_from("<I", data, header)[0]
    return bool(_find_field(data, message, CUSTOM_METADATA) or _find_field(data, header, COMPRESSION))


def _find_field(data: memoryview, table: int, number: int) -> int:
    """The offset of a field in a table of FlatBuffers, 0 where the table lacks it."""
    fields = table - struct.unpack_from("<i", data, table)[0]
    at = 4 + 2 * number
    found: int = struct.unpack_from("<H", data, fields + at)[0] if at < struct.unpack_from("<H", data, fields)[0] else 0
    return found


def _locate_images(batch: pa.RecordBatch, columns: Columns, with_paths: bool, whole: pa.Buffer) -> np.ndarray:
    """Locate the bytes of each image in the file, or for a null its path: int64 [n,3] as in Listing."""
    split = columns.image.split(batch.column(columns.image.name))
    starts, sizes = _locate(split.column("bytes"), whole)
    are_paths = (sizes < 0) & with_paths
    path_starts, path_sizes = _locate(split.column("path"), whole)
    starts, sizes = np.where(are_paths, path_starts, starts), np.where(are_paths, path_sizes, sizes)
    return np.stack([starts, sizes, are_paths], 1)


def _locate(values: pa.Array, whole: pa.Buffer) -> tuple[np.ndarray, np.ndarray]:
    """The start and the size of each value in the file, int64 [n]; a null's are 0 and -1."""
    nulls = values.is_null().to_numpy(zero_copy_only=False)
    if nulls.all():  # also an array that is in no file
        return np.zeros(len(values), np.int64), np.full(len(values), -1)
    _, offsets, data = values.buffers()
    is_large = types.is_large_binary(values.type) or types.is_large_string(values.type)
    numbers = np.frombuffer(offsets, np.int64 if is_large else np.int32)
    ends = numbers[values.offset : values.offset + len(values) + 1].astype(np.int64)
    ends += data.address - whole.address if data else 0
    if ends[0] < 0 or ends[-1] > len(whole):
        raise ValueError("values that are not in the file as they are")
    return np.where(nulls, 0, ends[:-1]), np.where(nulls, -1, np.diff(ends))
