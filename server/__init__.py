"""The room that answers over HTTP, and the model that it comes with. Every command imports this file, none of the room's others."""

from pathlib import Path

EMBEDDED = Path(__file__).parent / "models" / "caltech101"  # the compact checkpoint and its tencrop.onnx
