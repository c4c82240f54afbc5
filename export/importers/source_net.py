"""SourceNet: a classifier before its conversion: the ONNX graph, and what its file states about its input."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import onnx

from tencrop.export.importers.input_convention import InputConvention


@dataclass(frozen=True)
class SourceNet:
    """The graph takes one float tensor of images and returns one score a class."""

    path: Path
    kind: str  # for a person: "ONNX", "torchvision's alexnet", ...
    model: onnx.ModelProto
    known: InputConvention = field(default=InputConvention())  # stated by the file or fixed for its kind
    assumed: tuple[str, ...] = ()  # a line for each value that neither the user nor the file states
    labels: Path | None = None  # a file of class names, the user's or one beside the net
    notes: tuple[str, ...] = ()  # lines about what was taken from files beside the net, or is done otherwise here
    half_model: onnx.ModelProto | None = None  # the graph as its file has it, where that computes in float16
    is_rebuilt: bool = False  # whether our reader wrote the graph; else the graph is the file's own

    @property
    def reference(self) -> str:
        """Describes the graph that the parity gate compares with, for messages and parity.json."""
        rebuilt = f"the graph that our reader wrote of {self.kind}"
        return f"{rebuilt if self.is_rebuilt else f'the file itself ({self.kind})'}, run by onnxruntime"

    @property
    def sha256(self) -> str:
        """Hash of the file."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
