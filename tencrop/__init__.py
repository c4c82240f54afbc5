"""The 2012 AlexNet from Python: `tencrop.load().predict("photo.jpg").label`. docs/python.md shows the whole interface.

Importing tencrop loads no runtime: each function imports what it needs when it is called.
"""

from contextlib import nullcontext
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tencrop.common.errors import BadInput, TencropError
from tencrop.common.extras import require

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from tencrop.evaluation.summary import Summary
    from tencrop.images.image_input import ImageInput
    from tencrop.model.contract import Contract
    from tencrop.runtime.classifier import Classifier
    from tencrop.runtime.prediction import Guess, Prediction

__version__ = "0.2.0"
__all__ = ["Classifier", "Guess", "Prediction", "Summary", "TencropError", "__version__", "decode", "evaluate", "load"]

HOMES = {  # of the classes above, imported at their first use
    "Classifier": "tencrop.runtime.classifier",
    "Guess": "tencrop.runtime.prediction",
    "Prediction": "tencrop.runtime.prediction",
    "Summary": "tencrop.evaluation.summary",
}


def load(
    model: str | PathLike[str] | None = None,
    device: str = "auto",
    engine: str = "auto",
    precision: str = "auto",
    streams: int = 1,
    deterministic: bool = False,
) -> "Classifier":
    """Open a tencrop.onnx or its folder, by default the embedded model, on an engine that reproduces the probe.

    device: auto, cpu, cuda or cuda:N; engine: auto, onnxruntime, tensorrt or openvino; precision: auto, fp32, tf32,
    bf16 or fp16. streams: forward passes that run at once. deterministic: an image's answer has the same bits whatever
    shares its forward pass.
    Raises TencropError for a bad file or option, or where no engine of this machine computes the model.
    """
    from tencrop.model.embedded import EMBEDDED
    from tencrop.runtime.classifier import open_classifier
    from tencrop.runtime.engine_choice import EngineOptions

    options = EngineOptions(device, engine, precision, streams, deterministic)
    return open_classifier(EMBEDDED if model is None else Path(model), options)


def decode(image: "ImageInput", contract: "Contract") -> "np.ndarray":
    """Decode an image into the square that the ten views are cut from, uint8 [R,R,3] RGB.

    The shorter side is resized to R, then the center is cut out.

    An image is a path, the bytes of an encoded image, a binary file object, a PIL image, or a uint8 array [H,W,3].
    Raises TencropError where the image cannot be read or decoded.
    """
    from tencrop.images.image_input import decode_input
    from tencrop.model.contract import Contract

    if not isinstance(contract, Contract):
        raise BadInput(f"{type(contract).__name__} is no contract", "give a classifier's `contract`")
    return decode_input(image, contract)


def evaluate(
    data: str | PathLike[str],
    model: "str | PathLike[str] | Classifier | None" = None,
    *,
    out: str | PathLike[str] | None = None,
    limit: int | None = None,
    holdout: float | None = None,
    resume: bool = False,
    progress: "Callable[[int, int], object] | None" = None,
) -> "Summary":
    """Measure the top-1 and top-5 errors of a model over a labelled data set, by the center crop and by the ten views.

    data: a folder in any layout that `tencrop evaluate` reads; the data set's own validation images, if it has any.
    model: as in `load`, or an open classifier. out: a new folder for report.html, summary.json and predictions.parquet.
    limit: evaluate this many images, evenly spread. holdout: evaluate only this share of each class, the one that
    `tencrop prepare --holdout` keeps. resume: continue a stopped run in `out`. progress: called with the numbers of
    finished and of all images.
    Raises TencropError for a bad data set, model or folder, or without the packages of the extra `evaluate`.
    """
    require("evaluate")
    from tencrop.dataset.layouts import open_source
    from tencrop.evaluation.evaluate import evaluate_source
    from tencrop.runtime.classifier import Classifier

    if not 0 <= (share := 1 if holdout is None else float(holdout)) <= 1:
        raise BadInput(f"holdout is {holdout}: expected 0 to 1")
    if limit is not None and limit < 1:
        raise BadInput(f"limit is {limit}: expected at least 1")
    source = open_source(Path(data), training=False)
    with nullcontext(model) if isinstance(model, Classifier) else load(model) as classifier:
        folder = None if out is None else Path(out)
        return evaluate_source(
            source, classifier, holdout=share, limit=limit, out=folder, resume=resume, progress=progress
        )


def __dir__() -> list[str]:
    return sorted(globals().keys() | set(__all__))


if not TYPE_CHECKING:  # type checkers see the imports above, and report names that are not there

    def __getattr__(name: str) -> Any:
        if name not in HOMES:
            raise AttributeError(f"module 'tencrop' has no attribute {name!r}")
        return getattr(import_module(HOMES[name]), name)
