"""An ONNX file from anywhere -> Source, with its external data read from beside it and from nowhere else."""

from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import TensorProto, inliner
from onnx.external_data_helper import load_external_data_for_tensor

from tencrop.common.errors import BadInput, one_line
from tencrop.export.importers.input_convention import InputConvention
from tencrop.export.importers.onnxzoo_alexnet import BVLC_INPUT, is_bvlc_alexnet
from tencrop.export.importers.source_net import SourceNet
from tencrop.model.tencropfile import PREFIX, parse_onnx

MOST_BYTES = 2**31 - 1  # what one ONNX file can hold
STANDARD = ("", "ai.onnx")


def read_onnx(path: Path) -> SourceNet:
    """Raises BadInput, one line, for whatever is not a whole classifier in standard operators."""
    try:
        model = parse_onnx(path.read_bytes(), str(path))
    except OSError as error:
        raise BadInput(
            f"{path}: cannot be read ({error.strerror}); name an .onnx, .pth, .safetensors or .caffemodel"
        ) from None
    if any(entry.key.startswith(PREFIX) for entry in model.metadata_props):
        raise BadInput(f"{path}: is a tencrop.onnx already; serve it as it is")
    _sort(model)
    model = _inline_functions(model, path)
    _read_external(model, path)
    _check(model, path)
    known = BVLC_INPUT if is_bvlc_alexnet(model) else InputConvention()
    return SourceNet(path, "ONNX Model Zoo's bvlcalexnet" if is_bvlc_alexnet(model) else "ONNX", model, known)


def _sort(model: onnx.ModelProto) -> None:
    """Each node behind those that make what it takes: onnxruntime's converter to fp16 leaves them in another order."""
    graph = model.graph
    known = {"", *(value.name for value in (*graph.input, *graph.initializer))}
    left, placed = list(graph.node), list[onnx.NodeProto]()
    while left:
        waiting = []
        for node in left:
            if known.issuperset(node.input):
                known.update(node.output)
                placed.append(node)
            else:
                waiting.append(node)
        if len(waiting) == len(left):  # the checker says what is missing
            return
        left = waiting
    del graph.node[:]
    graph.node.extend(placed)


def _inline_functions(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Without functions of its own. Raises BadInput."""
    try:
        return inliner.inline_local_functions(model) if model.functions else model
    except Exception as error:  # of several types
        raise BadInput(f"{path}: its functions cannot be written out: {one_line(error)}") from None


def _read_external(model: onnx.ModelProto, path: Path) -> None:
    """Take in the tensors that lie in other files. Raises BadInput where one points outside the model's folder or past an end."""
    folder, total = path.parent.resolve(), 0
    for tensor in _tensors(model.graph):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        total += _length(tensor, folder, path)
        if total > MOST_BYTES:
            raise BadInput(f"{path}: more than 2 GB of weights do not fit one ONNX file")
        try:
            load_external_data_for_tensor(tensor, str(folder))
        except Exception as error:  # of several types
            raise BadInput(f"{path}: the data of {one_line(tensor.name)!r} cannot be read: {one_line(error)}") from None
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]


def _length(tensor: TensorProto, folder: Path, path: Path) -> int:
    """How many bytes of the file that it names are its own. Raises BadInput where they are not there, or the file is elsewhere."""
    told = {entry.key: entry.value for entry in tensor.external_data}
    where = told.get("location", "")
    name, shown = one_line(tensor.name), one_line(where)
    try:
        file = (folder / where).resolve()  # follows links: where it really lies
        if not where or not file.is_relative_to(folder):
            raise BadInput(f"{path}: the data of {name!r} lies outside the model's folder ({shown!r}); refused")
        if not file.is_file():
            raise BadInput(
                f"{path}: {shown!r}, which holds the data of {name!r}, is not there; put it beside the model"
            )
    except (OSError, ValueError) as error:  # a name too long for a file, or with a NUL in it
        raise BadInput(f"{path}: the data of {name!r} lies in no file: {one_line(error)}") from None
    size = file.stat().st_size
    try:
        offset = int(told.get("offset", 0))
        length = int(told.get("length", size - offset))
    except ValueError:
        raise BadInput(f"{path}: {name!r} says no numbers where its data lies") from None
    if offset < 0 or length < 0 or offset + length > size:
        raise BadInput(f"{path}: {shown!r} ends before the data of {name!r} does; is it truncated?")
    return length


def _tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            if attribute.HasField("g"):
                yield from _tensors(attribute.g)


def _check(model: onnx.ModelProto, path: Path) -> None:
    """Standard operators, each used as the standard says."""
    foreign = next((node for node in model.graph.node if node.domain not in STANDARD), None)
    if foreign:
        raise BadInput(
            f"{path}: operator {foreign.op_type} of {foreign.domain!r} is not one of ONNX's own; export it with standard ones"
        )
    branching = next((n for n in model.graph.node if any(a.HasField("g") or a.graphs for a in n.attribute)), None)
    if branching:
        raise BadInput(f"{path}: operator {branching.op_type} branches; export the net with control flow resolved")
    training = next((n for n in model.graph.node if any(a.name == "training_mode" and a.i for a in n.attribute)), None)
    if training:
        raise BadInput(f"{path}: operator {training.op_type} is in training mode; export the net in eval mode")
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # a type of its own for every fault
        raise BadInput(f"{path}: not valid ONNX: {one_line(error)}") from None
