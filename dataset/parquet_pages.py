"""Reads the headers of a Parquet column's pages: how far the pages inflate is known before pyarrow inflates them.

A page header is a Thrift struct in the compact protocol; parquet.thrift of the Parquet format numbers the fields.
"""

import errno
import os
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from tencrop.common.errors import BadInput

MAX_PAGE = 128 << 20  # bytes; pyarrow puts up to 1024 images on a page, which are 112 MB in ImageNet
MAX_PAGES = 100_000  # of a column in a row group
HEADER = 1 << 16  # bytes read at a time; a header with statistics takes some kB
UNCOMPRESSED, COMPRESSED, DATA, DATA_V2 = 2, 3, 5, 8  # fields of a page header
VALUES = 1  # field of DATA and DATA_V2
TRUE = 1  # the type of a field that is true; FALSE is 2
MAX_DEPTH = 8  # structs within a header


def measure_largest_page(file: Path, chunk: pq.ColumnChunkMetaData) -> int:
    """The bytes of the largest page once inflated. No value of the column is longer.

    Raises BadInput where a page would take more than MAX_PAGE, OSError where the headers cannot be read.
    """
    at, largest, values = _find_first_page(chunk), 0, 0
    end = at + chunk.total_compressed_size
    with file.open("rb", buffering=0) as opened:
        for _ in range(MAX_PAGES):
            if at >= end or values >= chunk.num_values:
                return largest
            page = _read_page(file, os.pread(opened.fileno(), HEADER, at))
            if page.inflated > MAX_PAGE:
                raise BadInput(
                    f"{file}: a page of {chunk.path_in_schema} inflates to {page.inflated} bytes, over {MAX_PAGE}",
                    "write the file again with row groups of 100 images",
                )
            largest, values = max(largest, page.inflated), values + page.values
            at += page.size
    raise BadInput(f"{file}: {chunk.path_in_schema} has more than {MAX_PAGES} pages", "write the file again")


def find_column(group: pq.RowGroupMetaData, path: str) -> pq.ColumnChunkMetaData | None:
    """The chunk of a column, by its path in the schema; None where there is none."""
    chunks = (group.column(index) for index in range(group.num_columns))
    return next((chunk for chunk in chunks if chunk.path_in_schema == path), None)


class _Page(NamedTuple):
    """One page: its bytes in the file with the header, its bytes once inflated, its values."""

    size: int
    inflated: int
    values: int


def _find_first_page(chunk: pq.ColumnChunkMetaData) -> int:
    """A dictionary comes before the data."""
    dictionary = chunk.dictionary_page_offset if chunk.has_dictionary_page else None
    return int(min(dictionary, chunk.data_page_offset) if dictionary else chunk.data_page_offset)


def _read_page(file: Path, data: bytes) -> _Page:
    reader = _ThriftReader(data)
    try:
        header = reader.read_struct()
        inflated, packed = header[UNCOMPRESSED], header[COMPRESSED]
        values = (header.get(DATA) or header.get(DATA_V2) or {}).get(VALUES, 0)
    except (IndexError, KeyError, AttributeError, ValueError):
        raise OSError(errno.EIO, "damaged page header in parquet", str(file)) from None
    if min(inflated, packed, values) < 0:
        raise OSError(errno.EIO, "damaged page header in parquet", str(file))
    return _Page(reader.at + packed, inflated, values)


class _ThriftReader:
    """Reads structs of Thrift's compact protocol.

    Raises IndexError at the end of the bytes, ValueError for other types.
    """

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def read_struct(self, depth: int = 0) -> dict[int, Any]:
        """The fields by their numbers."""
        if depth > MAX_DEPTH:
            raise ValueError(depth)
        fields: dict[int, Any] = {}
        number = 0
        while head := self._read_byte():
            number = number + (head >> 4) if head >> 4 else self._read_signed()
            fields[number] = self._read_value(head & 15, depth)
        return fields

    def _read_value(self, kind: int, depth: int) -> Any:
        match kind:
            case 1 | 2:
                return kind == TRUE
            case 3:
                return self._read_byte()
            case 4 | 5 | 6:  # integers of 16 to 64 bits
                return self._read_signed()
            case 7:  # a double
                return self._skip(8)
            case 8:  # bytes or a text
                return self._skip(self._read_varint())
            case 9 | 10:  # a list or a set
                return self._read_list(depth)
            case 12:
                return self.read_struct(depth + 1)
        raise ValueError(kind)

    def _read_list(self, depth: int) -> list[Any]:
        head = self._read_byte()
        length = head >> 4 if head >> 4 < 15 else self._read_varint()
        if length > len(self.data):
            raise ValueError(length)
        return [self._read_value(head & 15, depth + 1) for _ in range(length)]

    def _read_byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def _read_varint(self) -> int:
        value, shift = 0, 0
        while True:
            byte = self._read_byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise ValueError(shift)

    def _read_signed(self) -> int:
        value = self._read_varint()
        return value >> 1 ^ -(value & 1)

    def _skip(self, size: int) -> None:
        self.at += size
        if self.at > len(self.data):
            raise IndexError(size)
