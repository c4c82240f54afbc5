"""Reads tensors that an ONNX file keeps in other files, which must lie in the model's own folder."""

from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import TensorProto
from onnx.external_data_helper import load_external_data_for_tensor

from tencrop.common.errors import BadInput, one_line

MAX_BYTES = 2**31 - 1  # what one ONNX file can hold


def read_external_data(model: onnx.ModelProto, path: Path) -> None:
    """Move the external tensors into the model.

    Raises BadInput for a place outside the model's folder or past the end of a file.
    """
    folder, total = path.parent.resolve(), 0
    for tensor in _list_tensors(model.graph):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        total += _check_place(tensor, folder, path)
        if total > MAX_BYTES:
            raise BadInput(f"{path}: more than 2 GB of weights do not fit one ONNX file")
        try:
            load_external_data_for_tensor(tensor, str(folder))
        except Exception as error:  # onnx raises several types
            raise BadInput(f"{path}: the data of {one_line(tensor.name)!r} cannot be read: {one_line(error)}") from None
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]


def _check_place(tensor: TensorProto, folder: Path, path: Path) -> int:
    """Returns the number of the tensor's bytes. Raises BadInput where they are missing or lie outside the folder."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    place = entries.get("location", "")
    name, shown = one_line(tensor.name), one_line(place)
    try:
        file = (folder / place).resolve()  # follows links
        if not place or not file.is_relative_to(folder):
            raise BadInput(f"{path}: the data of {name!r} lies outside the model's folder ({shown!r}); refused")
        if not file.is_file():
            raise BadInput(f"{path}: the data of {name!r} is not there ({shown!r})", "put that file beside the model")
    except (OSError, ValueError) as error:  # a name too long for a file, or with a NUL in it
        raise BadInput(f"{path}: the data of {name!r} lies in no file: {one_line(error)}") from None
    size = file.stat().st_size
    try:
        offset = int(entries.get("offset", 0))
        length = int(entries.get("length", size - offset))
    except ValueError:
        raise BadInput(f"{path}: the place of the data of {name!r} is given in no numbers") from None
    if offset < 0 or length < 0 or offset + length > size:
        raise BadInput(f"{path}: {shown!r} ends before the data of {name!r} does; is it truncated?")
    return length


def _list_tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    """All tensors of a graph, in the order of its initializers and nodes, subgraphs included."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            if attribute.HasField("g"):
                yield from _list_tensors(attribute.g)
