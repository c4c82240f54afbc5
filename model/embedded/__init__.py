"""The model that comes with every installation: a compact checkpoint trained on Caltech-101, and its tencrop.onnx."""

from pathlib import Path

EMBEDDED = Path(__file__).parent / "caltech101"  # the one place that tells where the model lies
