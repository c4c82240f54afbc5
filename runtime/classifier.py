"""Classifier: a tencrop.onnx on an engine that has reproduced the probe. Server, evaluation and API predict with it."""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import islice
from operator import index
from pathlib import Path
from threading import Lock, Semaphore
from types import TracebackType
from typing import Self, TypeVar, overload

import numpy as np

from tencrop.common.errors import BadInput, WorkFailed, one_line
from tencrop.images.decode import decode
from tencrop.images.image_input import ImageInput, decode_input
from tencrop.model.calibration import Calibration, find_threshold
from tencrop.model.contract import Contract, Label
from tencrop.model.feature_output import with_features
from tencrop.model.metrics import TOP
from tencrop.model.probe import formula_png
from tencrop.model.tencropfile import OUTPUTS, TenCropFile
from tencrop.runtime.cores import cores
from tencrop.runtime.engine import Engine, batch_size, engine_signature, open_engine
from tencrop.runtime.engine_choice import EngineChoice, EngineOptions, engine_choices
from tencrop.runtime.nvidia_driver import NoGpu
from tencrop.runtime.prediction import Prediction

AnyInput = TypeVar("AnyInput", bound=ImageInput)

log = logging.getLogger(__name__)


@dataclass(eq=False, repr=False)
class Classifier:
    """A model (`file`) and the engine that computes it. Safe to use from several threads.

    At most `streams` forward passes run at once; others wait. A `with` block closes the classifier at its end.
    """

    file: TenCropFile
    engine: Engine
    _turns: Semaphore = field(init=False)  # of the engine's callers
    _closing: Lock = field(init=False, default_factory=Lock)
    _closed: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._turns = Semaphore(self.streams)

    def __repr__(self) -> str:
        state = "closed" if self._closed else engine_signature(self.engine)
        return f"<Classifier {self.name}: {len(self.labels)} classes, {state}>"

    @property
    def name(self) -> str:
        """The model's name in requests and reports."""
        return self.file.name

    @property
    def contract(self) -> Contract:
        """Preprocessing, views and labels."""
        return self.file.metadata.contract

    @property
    def labels(self) -> tuple[Label, ...]:
        """The classes in the order of the probabilities."""
        return self.contract.labels

    @property
    def sha256(self) -> str:
        """The hash of the file."""
        return self.file.sha256

    @property
    def calibration(self) -> Calibration | None:
        """The confidences and sets of labels; None where the file is not calibrated."""
        return self.file.metadata.calibration

    @property
    def streams(self) -> int:
        """The number of forward passes that run at once."""
        return self.engine.streams

    @property
    def members(self) -> tuple["Classifier", ...]:
        """The classifier alone; an Ensemble has several."""
        return (self,)

    @overload
    def predict(self, image: list[AnyInput], top: int = TOP, coverage: float | None = None) -> list[Prediction]: ...
    @overload
    def predict(self, image: ImageInput, top: int = TOP, coverage: float | None = None) -> Prediction: ...
    def predict(
        self, image: ImageInput | list[AnyInput], top: int = TOP, coverage: float | None = None
    ) -> Prediction | list[Prediction]:
        """Name what an image shows, by its `top` most probable classes; a list of images gives a list.

        An image is a path, the bytes of an encoded image, a binary file object, a PIL image, or a uint8 array
        [H,W,3] in RGB. With a `coverage` such as 0.9 a prediction also has a `set`.
        Raises ImageError where an image cannot be decoded or the answer is no number, BadInput where `top` is below 1
        or the model is not calibrated for the coverage.
        """
        if not isinstance(image, list):
            _check_top(top)
            (found,) = self._predict_squares([self._try_decode(image)], top, self._find_threshold(coverage))
            return _unwrap(found)
        each = self.predict_each(image, top, coverage)
        return [_unwrap(found, f"image {number}: ") for number, found in enumerate(each)]

    def predict_each(
        self, images: Iterable[AnyInput], top: int = TOP, coverage: float | None = None
    ) -> Iterator[Prediction | BadInput]:
        """Name what each of many images shows, in their order; an image that fails gives its error in its place.

        Reads `images` as it goes, a forward pass ahead, so that memory does not grow with their number. Images and
        errors are those of `predict`. Raises BadInput where `top` is below 1 or the model is not calibrated for the
        coverage.
        """
        _check_top(top)
        return self._predict_batches(iter(images), top, self._find_threshold(coverage))

    def _predict_batches(
        self, images: Iterator[ImageInput], top: int, threshold: float | None
    ) -> Iterator[Prediction | BadInput]:
        size = batch_size(self.engine)
        with ThreadPoolExecutor(min(size, cores()), "decode") as pool:
            while batch := list(islice(images, size)):
                yield from self._predict_squares(list(pool.map(self._try_decode, batch)), top, threshold)

    def _find_threshold(self, coverage: float | None) -> float | None:
        return None if coverage is None else find_threshold(self.calibration, coverage, self.name)

    def _try_decode(self, image: ImageInput) -> np.ndarray | BadInput:
        try:
            return decode_input(image, self.contract)
        except BadInput as error:
            return error

    def _predict_squares(
        self, squares: Sequence[np.ndarray | BadInput], top: int, threshold: float | None
    ) -> Iterator[Prediction | BadInput]:
        """Predict the squares among decoded images and errors; the errors keep their places."""
        decoded = [square for square in squares if not isinstance(square, BadInput)]
        answers = iter(zip(*self.forward(np.stack(decoded)), strict=True) if decoded else ())
        for square in squares:
            yield square if isinstance(square, BadInput) else self._name_classes(*next(answers), top, threshold)

    def _name_classes(
        self, mean: np.ndarray, views: np.ndarray, top: int, threshold: float | None
    ) -> Prediction | BadInput:
        try:
            return Prediction.from_probabilities(mean, views, self.labels, top, self.calibration, threshold)
        except BadInput as error:
            return error

    def forward(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute a batch: uint8 [N,R,R,3] -> (probabilities [N,C], view_probabilities [N,10,C]), float32.

        Raises BadInput for an array of another type or shape.
        """
        mean, views = self.compute(images, OUTPUTS)
        return mean, views

    def forward_features(self, images: np.ndarray, layer: str) -> np.ndarray:
        """Compute a batch: uint8 [N,R,R,3] -> the features of a layer that the file gives, float32 [N,10,K].

        Raises BadInput as `forward` does.
        """
        return self.compute(images, [layer])[0]

    def compute(self, images: np.ndarray, outputs: Sequence[str]) -> list[np.ndarray]:
        """Compute a batch: uint8 [N,R,R,3] -> the outputs of these names, each [N,...]. Raises BadInput as `forward`.

        They are OUTPUTS of every file, and the layers whose features this file gives.
        """
        side = self.contract.resize
        if images.dtype != np.uint8 or images.shape[1:] != (side, side, 3) or not len(images):
            found = f"{images.dtype} {list(images.shape)}"
            raise BadInput(f"{self.name}: a batch of {found}: expected uint8 [N,{side},{side},3]")
        with self._turns:
            if self._closed:
                raise BadInput(f"{self.name}: this classifier is closed")
            values = self.engine.run(images, outputs)
        return [values[name] for name in outputs]

    def check_probe(self) -> None:
        """Answer the probe through preprocessing and engine. Raises WorkFailed where the answer is wrong."""
        probe = self.file.metadata.probe
        pixels, _ = decode(formula_png(probe.seed), self.contract)
        missed = probe.describe_mismatch(self.forward(pixels[None])[0][0], self.engine.precision)
        if missed:
            raise WorkFailed(
                f"{self.name}: {self.engine.name} on {self.engine.device} fails the model's probe: {missed}"
            )

    def close(self) -> None:
        """Free the engine's memory, after the forward passes that are under way. Closing twice does nothing."""
        with self._closing, ExitStack() as turns:
            for _ in range(self.streams):
                turns.enter_context(self._turns)
            if not self._closed:
                self._closed = True
                self.engine.close()
                self.file = replace(self.file, graph=b"")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check_top(top: int) -> None:
    if index(top) < 1:
        raise BadInput(f"top is {top}: expected at least 1")


def _unwrap(found: Prediction | BadInput, where: str = "") -> Prediction:
    """Return a prediction. Raises an error in its place, with `where` before it."""
    if isinstance(found, BadInput):
        raise type(found)(f"{where}{found.what}", found.advice) from None
    return found


def open_classifier(
    path: Path, options: EngineOptions, layer: str | None = None, name: str | None = None
) -> Classifier:
    """Open a tencrop.onnx or its folder on the first of `engine_choices` that reproduces the file's probe.

    An engine, device or precision that the options name has no second choice. A choice that fails before another one
    works is logged, except a GPU on a machine that has none. The precision "auto" is the one that the file prefers, if
    any. `layer`: every forward pass also gives its features. `name` stands in place of the file's own.

    Raises BadInput for a bad file or bad options, WorkFailed with the failure of every choice.
    """
    possible = engine_choices(options)
    file = TenCropFile.read(path)
    file = replace(file, name=name or file.name)
    if options.precision == "auto" and file.metadata.precision:
        possible = engine_choices(replace(options, precision=file.metadata.precision))
    file = with_features(file, layer) if layer else file
    failures: list[WorkFailed] = []
    started = time.perf_counter()
    for choice in possible:
        try:
            classifier = _open_checked(file, choice)
        except WorkFailed as failure:
            failures.append(failure)
            continue
        if why := dict.fromkeys(str(failure) for failure in failures if not isinstance(failure, NoGpu)):
            log.warning("%s: %s on %s runs it, because %s", file.name, choice.engine, choice.device, "; ".join(why))
        seconds = time.perf_counter() - started
        log.debug("%s: %s, opened in %.1f s", file.name, engine_signature(classifier.engine), seconds)
        return classifier
    raise WorkFailed("; ".join(dict.fromkeys(map(str, failures))))


def _open_checked(file: TenCropFile, choice: EngineChoice) -> Classifier:
    classifier = Classifier(file, open_engine(file.graph, choice))
    try:
        classifier.check_probe()
    except WorkFailed:
        raise
    except Exception as error:  # both runtimes raise types of their own
        raise WorkFailed(f"{file.name}: {choice.engine} on {choice.device} cannot run it: {one_line(error)}") from None
    return classifier
