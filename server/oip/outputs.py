"""The outputs of an answer: which a request asks for, and how one is written."""

import struct
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from tencrop.model.contract import Label
from tencrop.model.feature_output import VIEWS as FEATURE_VIEWS
from tencrop.model.metrics import top_k
from tencrop.server.errors import bad_request_error
from tencrop.server.feature_choice import FeatureChoice
from tencrop.server.oip.schemas import RequestedOutput, TensorMetadata
from tencrop.server.oip.served_model import OUTPUT, VIEWS
from tencrop.server.waiting import BatchedAnswer


class AskedOutput(NamedTuple):
    """An output and its form: the `classes` most probable labels, or all values (0)."""

    name: str
    binary: bool
    classes: int = 0
    features: FeatureChoice | None = None

    def find(self, answer: BatchedAnswer) -> np.ndarray:
        """The output's values of one image: float32 [C], [10,C] or [K]."""
        values: np.ndarray = getattr(answer, "features" if self.features else self.name)
        return values


def read_output(output: RequestedOutput, binary: Any, known: Collection[TensorMetadata]) -> AskedOutput:
    """The output with its form, one of the model's. `binary` is the request's own default. Raises ApiError 400."""
    names, parameters = [each.name for each in known], output.parameters
    if output.name not in names:
        raise bad_request_error(f"output {output.name!r}: this model has the outputs {', '.join(names)}")
    binary, classes = parameters.get("binary_data", binary), parameters.get("classification", 0)
    if not isinstance(binary, bool):
        raise bad_request_error("binary_data and binary_data_output: expected true or false")
    if not isinstance(classes, int) or isinstance(classes, bool) or classes < 0:
        raise bad_request_error("classification: not a number of classes")
    if output.name in (OUTPUT, VIEWS):
        return AskedOutput(output.name, binary, classes)
    if classes:
        raise bad_request_error(f"classification of {output.name}: features have no classes")
    views = parameters.get("views", FEATURE_VIEWS[0])
    if views not in FEATURE_VIEWS:
        raise bad_request_error(f"views of {output.name}: expected {' or '.join(FEATURE_VIEWS)}")
    return AskedOutput(output.name, binary, features=FeatureChoice(output.name, views))


def render_output(output: AskedOutput, values: np.ndarray, labels: Sequence[Label]) -> tuple[dict[str, Any], bytes]:
    """float32 [N,...] -> the output's JSON, and its binary data, empty where it has none."""
    if output.classes:
        rows = values.reshape(-1, values.shape[-1])
        best = top_k(rows, output.classes)
        data: list[Any] = [
            f"{row[i]:f}:{i}:{labels[i].name}" for row, indices in zip(rows, best, strict=True) for i in indices
        ]
        datatype, shape = "BYTES", [*values.shape[:-1], best.shape[-1]]
        packed = b"".join(struct.pack("<I", len(word)) + word for word in (text.encode() for text in data))
    else:
        datatype, shape, data = "FP32", list(values.shape), values.ravel().tolist()
        packed = np.asarray(values, "<f4").tobytes()
    tensor: dict[str, Any] = {"name": output.name, "datatype": datatype, "shape": shape}
    if output.binary:
        return tensor | {"parameters": {"binary_data_size": len(packed)}}, packed
    return tensor | {"data": data}, b""
