"""The 2012 AlexNet from Python: `tencrop.load().predict("photo.jpg").label`. docs/python.md shows the whole interface.

Importing tencrop loads no runtime: each function imports what it needs when it is called.
"""

from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tencrop.common.errors import TencropError

if TYPE_CHECKING:
    import numpy as np

    from tencrop.images.image_input import ImageInput
    from tencrop.model.contract import Contract
    from tencrop.runtime.classifier import Classifier
    from tencrop.runtime.prediction import Guess, Prediction

__version__ = "0.1.0"
__all__ = ["Classifier", "Guess", "Prediction", "TencropError", "__version__", "decode", "load"]

HOMES = {  # of the classes above, imported at their first use
    "Classifier": "tencrop.runtime.classifier",
    "Guess": "tencrop.runtime.prediction",
    "Prediction": "tencrop.runtime.prediction",
}


def load(
    model: str | PathLike[str] | None = None, device: str = "auto", engine: str = "auto", precision: str = "auto"
) -> "Classifier":
    """Open a tencrop.onnx or its folder (the embedded model where none is named) on an engine that reproduces its probe.

    device: auto, cpu, cuda or cuda:N; engine: auto, onnxruntime, tensorrt or openvino; precision: auto, fp32, tf32,
    bf16 or fp16. Raises TencropError for a bad file or option, or where no engine of this machine computes the model.
    """
    from tencrop.model.embedded import EMBEDDED
    from tencrop.runtime.classifier import open_classifier
    from tencrop.runtime.engine_choice import EngineOptions

    return open_classifier(Path(model) if model else EMBEDDED, EngineOptions(device, engine, precision))


def decode(image: "ImageInput", contract: "Contract") -> "np.ndarray":
    """Decode an image into the square that the ten views are cut from, uint8 [R,R,3] RGB.

    The shorter side is resized to R, then the center is cut out.

    An image is a path, the bytes of an encoded image, a binary file object, a PIL image, or a uint8 array [H,W,3].
    Raises TencropError where the image cannot be read or decoded.
    """
    from tencrop.images.image_input import decode_input

    return decode_input(image, contract)


if not TYPE_CHECKING:  # type checkers see the imports above, and report names that are not there

    def __getattr__(name: str) -> Any:
        if name not in HOMES:
            raise AttributeError(f"module 'tencrop' has no attribute {name!r}")
        return getattr(import_module(HOMES[name]), name)
