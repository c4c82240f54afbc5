"""The outputs of an answer: which a request asks for, and how one is written."""

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tencrop.model.contract import Label
from tencrop.model.metrics import top_k
from tencrop.server.errors import bad_request_error
from tencrop.server.oip.schemas import RequestedOutput
from tencrop.server.oip.served_model import OUTPUT, VIEWS


class AskedOutput(NamedTuple):
    """An output and its form: the `classes` most probable labels, or all probabilities (0)."""

    name: str
    binary: bool
    classes: int


def read_output(output: RequestedOutput, binary: bool) -> AskedOutput:
    """The output with its form. `binary` is the request's own default. Raises ApiError 400."""
    if output.name not in (OUTPUT, VIEWS):
        raise bad_request_error(f"output {output.name!r}: this model has the outputs {OUTPUT!r} and {VIEWS!r}")
    classes = output.parameters.get("classification", 0)
    if not isinstance(classes, int) or classes < 0:
        raise bad_request_error("classification: not a number of classes")
    return AskedOutput(output.name, bool(output.parameters.get("binary_data", binary)), classes)


def render_output(
    output: AskedOutput, probabilities: np.ndarray, labels: Sequence[Label]
) -> tuple[dict[str, Any], bytes]:
    """float32 [...,C] -> the output's JSON, and its binary data, empty where it has none."""
    if output.classes:
        rows = probabilities.reshape(-1, probabilities.shape[-1])
        best = top_k(rows, output.classes)
        values = [f"{row[i]:f}:{i}:{labels[i].name}" for row, indices in zip(rows, best, strict=True) for i in indices]
        datatype, shape = "BYTES", [*probabilities.shape[:-1], best.shape[-1]]
        packed = b"".join(struct.pack("<I", len(word)) + word for word in (text.encode() for text in values))
    else:
        datatype, shape, values = "FP32", list(probabilities.shape), probabilities.ravel().tolist()
        packed = np.asarray(probabilities, "<f4").tobytes()
    tensor: dict[str, Any] = {"name": output.name, "datatype": datatype, "shape": shape}
    if output.binary:
        return tensor | {"parameters": {"binary_data_size": len(packed)}}, packed
    return tensor | {"data": values}, b""
