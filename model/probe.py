"""Probe: an image of a formula, and the answer to it that an engine must reproduce before it serves a model.

Formula images have the 1/f spectrum of photographs. Export's parity gate uses them where no photographs are given.
"""

import io
from collections.abc import Callable
from typing import Annotated

import numpy as np
from PIL import Image
from pydantic import Field
from pydantic.dataclasses import dataclass

from tencrop.common.errors import WorkFailed
from tencrop.common.strict_config import STRICT
from tencrop.model.metrics import top_k

WIDTH, HEIGHT = 320, 288  # not square, larger than 256: the image is resized and cropped like any photograph
CONTRAST = 55.0  # standard deviation of a channel's grey levels
SEEDS = range(16)  # of the images that a probe is chosen from
TOLERANCE = {"fp32": 1e-3, "tf32": 5e-3, "fp16": 5e-3, "bf16": 2e-2}  # of a probability, by the engine's precision


def formula_image(seed: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """uint8 [height,width,3]: noise whose amplitude falls as 1/frequency, its channels alike as in photographs."""
    random = np.random.Generator(np.random.Philox(key=seed))
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    amplitude = 1 / np.maximum(np.hypot(fy, fx), 1 / max(width, height))
    planes = [
        np.fft.irfft2(np.fft.rfft2(random.standard_normal((height, width))) * amplitude, (height, width))
        for _ in range(3)
    ]
    common, *own = [plane / plane.std() for plane in planes]
    channels = [common, common + 0.4 * own[0], common + 0.4 * own[1]]
    pixels = np.stack([128 + CONTRAST * channel / channel.std() for channel in channels], axis=-1)
    return np.asarray(np.rint(pixels.clip(0, 255)), np.uint8)


def formula_png(seed: int) -> bytes:
    """The formula image as a PNG file, to be decoded like a client's image."""
    packed = io.BytesIO()
    Image.fromarray(formula_image(seed)).save(packed, "PNG")
    return packed.getvalue()


@dataclass(frozen=True, config=STRICT)
class Probe:
    """The top five classes of the formula image of `seed` and their probabilities, by torch in fp32.

    The probe of an int8 file is by onnxruntime, and `slack` adds to an engine's tolerance: engines round 8 bits
    differently.
    """

    seed: Annotated[int, Field(ge=0)]
    classes: Annotated[tuple[int, ...], Field(min_length=1)]
    probabilities: tuple[float, ...]
    slack: Annotated[float, Field(ge=0)] = 0.0

    def describe_mismatch(self, probabilities: np.ndarray, precision: str) -> str | None:
        """Say how an engine's answer [C] differs from the probe; None where the answer reproduces the probe."""
        if not np.isfinite(probabilities).all():
            return "its probabilities are not numbers"
        if int(probabilities.argmax()) != self.classes[0]:
            return f"its top class is {int(probabilities.argmax())} instead of {self.classes[0]}"
        difference = float(np.abs(probabilities[list(self.classes)] - self.probabilities).max())
        allowed = TOLERANCE[precision] + self.slack
        if difference > allowed:
            return f"a probability is off by {difference:.1e} (allowed {allowed:.0e} in {precision})"
        return None

    @classmethod
    def choose(cls, predict: Callable[[bytes], np.ndarray], slack: float = 0.0) -> "Probe":
        """Choose the formula image whose top two differ most, so that rounding cannot swap them.

        predict: PNG bytes -> probabilities [C]. Raises WorkFailed where no answer is made of finite numbers.
        """
        answers = {seed: predict(formula_png(seed)) for seed in SEEDS}
        finite = [seed for seed in SEEDS if np.isfinite(answers[seed]).all()]
        if not finite:
            raise WorkFailed("the net's answers to the formula images are not numbers")

        def margin(seed: int) -> float:
            return float(np.diff(np.sort(answers[seed])[-2:]).sum())

        clearest = max(finite, key=margin)
        top = top_k(answers[clearest])
        return cls(clearest, tuple(map(int, top)), tuple(float(p) for p in answers[clearest][top]), slack)
