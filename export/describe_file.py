"""Describes a file in plain data: a tencrop.onnx, any other ONNX file, or a checkpoint."""

from collections import Counter
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto

from tencrop.common.errors import BadInput
from tencrop.common.strict_config import dump
from tencrop.export.graph_builder import read_opset
from tencrop.export.view_maps import FRONT
from tencrop.model.checkpoint import DOCUMENT, Checkpoint, hash_weights
from tencrop.model.contract import Contract
from tencrop.model.run_checkpoints import find_checkpoint
from tencrop.model.tencropfile import TenCropFile, parse_onnx

MODEL = "tencrop.onnx"
PARAMETER_TYPES = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8, TensorProto.INT32)  # of weights and biases
PARITY_DIFFERENCES = ("logits_relative", "probabilities")  # keys of a row of parity.json
QUANTIZATION_SUFFIXES = ("_scale", "_zero_point")  # of the names of int8's scales and zero points


def describe_file(path: Path) -> dict[str, Any]:
    """Describe a file, a folder, or a run's newest checkpoint: kind, size, tensors and metadata. Raises BadInput."""
    path = path if (path / MODEL).is_file() else find_checkpoint(path)
    if (path / DOCUMENT).is_file():
        return _describe_checkpoint(path)
    file = path / MODEL if path.is_dir() else path
    try:
        data = file.read_bytes()
    except OSError as error:
        raise BadInput(
            f"{file}: cannot be read ({error.strerror})", "name an ONNX file or a checkpoint folder"
        ) from None
    model = parse_onnx(data, str(file))
    is_ours = any(entry.key == "tencrop.contract" for entry in model.metadata_props)
    return {
        "kind": "tencrop.onnx" if is_ours else "ONNX",
        "bytes": len(data),
        **_describe_graph(model),
        **(_describe_metadata(file) if is_ours else {}),
    }


def _describe_graph(model: onnx.ModelProto) -> dict[str, Any]:
    nodes = Counter(node.op_type for node in model.graph.node)
    parameters = [
        value
        for value in _list_weights(model.graph)
        if value.data_type in PARAMETER_TYPES
        and not value.name.startswith(FRONT)
        and not value.name.endswith(QUANTIZATION_SUFFIXES)
    ]
    return {
        "opset": read_opset(model),
        "inputs": {value.name: _format_shape(value) for value in model.graph.input},
        "outputs": {value.name: _format_shape(value) for value in model.graph.output},
        "parameters": sum(prod(value.dims) for value in parameters if value.dims),
        "lrn_nodes": nodes["LRN"],
        "nodes": dict(nodes.most_common()),
    }


def _list_weights(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """The stored tensors of a graph and of the loops in it."""
    yield from graph.initializer
    for attribute in (attribute for node in graph.node for attribute in node.attribute if attribute.HasField("g")):
        yield from _list_weights(attribute.g)


def _format_shape(value: onnx.ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    sides = ", ".join(str(dim.dim_value or dim.dim_param or "?") for dim in tensor.shape.dim)
    is_known = tensor.elem_type in TensorProto.DataType.values()
    kind = TensorProto.DataType.Name(tensor.elem_type).lower() if is_known else f"type {tensor.elem_type}"
    return f"{kind} [{sides}]"


def _describe_metadata(file: Path) -> dict[str, Any]:
    read = TenCropFile.read(file)
    metadata = read.metadata
    parity = {key: value for key, value in metadata.parity.items() if key != "compared"}
    try:
        worst = {
            key: max((row[key] for row in metadata.parity.get("compared", ())), default=None)
            for key in PARITY_DIFFERENCES
        }
    except (TypeError, KeyError):
        raise BadInput(f"{file}: damaged metadata (parity states no differences)") from None
    return {
        "sha256": read.sha256,
        "checkpoint_sha256": metadata.checkpoint_sha256,
        **_describe_contract(metadata.contract),
        "recipe": dict(metadata.recipe),
        "parity": parity | {"worst": worst},
        "calibration": metadata.calibration.describe() if metadata.calibration else None,
    }


def _describe_checkpoint(folder: Path) -> dict[str, Any]:
    saved = Checkpoint.load(folder)
    history = saved.progress.get("history", ())
    return {
        "kind": "checkpoint",
        "bytes": sum(file.stat().st_size for file in folder.iterdir()),
        "sha256": hash_weights(folder),
        "parameters": sum(value.size for value in saved.weights.values()),
        "epochs": len(history),
        "last_epoch": dict(history[-1]) if history else None,
        "sessions": list(saved.progress.get("sessions", ())),
        **_describe_contract(saved.contract),
        "recipe": dict(saved.recipe),
    }


def _describe_contract(contract: Contract) -> dict[str, Any]:
    plain = dump(contract)
    labels = plain.pop("labels")
    return {
        "contract": plain,
        "classes": len(labels),
        "labels": [f"{label['id']}: {label['name']}" for label in labels],
    }


def format_description(described: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """Yield lines for a person: a key and its value each; the parts of a value stand indented below its key."""
    for key, value in described.items():
        if isinstance(value, Mapping):
            yield f"{indent}{key}:"
            yield from format_description(value, indent + "  ")
        elif isinstance(value, list | tuple) and value:
            yield f"{indent}{key}:"
            yield from (f"{indent}  {item}" for item in value)
        else:
            yield f"{indent}{key}: {value}"
