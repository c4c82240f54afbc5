"""The model that comes with an installation: the compact checkpoint of Caltech-101 and its tencrop.onnx."""

from pathlib import Path

EMBEDDED = Path(__file__).parent / "caltech101"
