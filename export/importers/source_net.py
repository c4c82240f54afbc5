"""Source: a classifier as it came, as an ONNX graph of any convention, with what its kind of file tells."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import onnx

from tencrop.export.importers.input_convention import InputConvention


@dataclass(frozen=True)
class SourceNet:
    """One float image tensor in, one score a class out."""

    path: Path
    kind: str  # for a person: "ONNX", "torchvision's alexnet", ...
    model: onnx.ModelProto
    known: InputConvention = field(default=InputConvention())
    assumed: tuple[str, ...] = ()  # a line for each thing that neither the user nor the file said
    rebuilt: bool = False  # whether our reader wrote the graph; else it is the file's own

    @property
    def reference(self) -> str:
        """What the gate compares with, for a person."""
        graph = f"the graph that our reader wrote of {self.kind}" if self.rebuilt else f"the file itself ({self.kind})"
        return f"{graph}, run by onnxruntime"

    @property
    def sha256(self) -> str:
        """Of the file."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
