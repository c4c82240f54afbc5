"""Pixels: the arithmetic between a view's uint8 pixels and what a net that was trained elsewhere sees."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tencrop.common.errors import BadInput
from tencrop.export.importers.input_convention import NUMBERS, InputConvention, format_numbers
from tencrop.model.contract import Contract

WHITE = 255
TORCHVISION_PRESET = InputConvention(
    channels="rgb", scale=1 / WHITE, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)  # torchvision's, the most common one
CROPS_OF_256 = (224, 227)  # crops that everybody cuts from 256 pixels
RESIZE_PER_CROP = 8 / 7  # of the resized image to any other crop, as 256 to 224


@dataclass(frozen=True)
class PixelTransform:
    """(pixel * scale - mean) / std in the net's order of channels.

    mean: float64 [3,1,1]; [3,R,R], cropped with the image; or [3,crop,crop], subtracted from every view and never mirrored.
    std: float64 [3,1,1].
    """

    channels: str
    layout: str
    scale: float
    mean: np.ndarray
    std: np.ndarray

    @property
    def rgb_mean(self) -> np.ndarray:
        """The mean as export/tencrop_graph.py takes it: RGB on the 0..255 scale; [3,1,1] where it is the same for all pixels."""
        return np.ascontiguousarray(self._rgb(self.mean / self.scale), np.float32)

    @property
    def rgb_factor(self) -> np.ndarray:
        """What is left to do behind the subtraction, float32 [1,3,1,1], RGB."""
        return np.asarray(self._rgb(self.scale / self.std)[None], np.float32)

    def inputs(self, images: np.ndarray, contract: Contract) -> np.ndarray:
        """The definition, in numpy: uint8 [N,R,R,3] -> float32 [N,10,...] in the net's order of channels and layout."""
        planes = images.transpose(0, 3, 1, 2).astype(np.float64)
        own = planes[:, ::-1] if self.channels == "bgr" else planes
        views = cut_ten_views(own * self.scale, self.mean, contract) / self.std
        return np.ascontiguousarray(views.transpose(0, 1, 3, 4, 2) if self.layout == "nhwc" else views, np.float32)

    def _rgb(self, values: np.ndarray) -> np.ndarray:
        return values[::-1] if self.channels == "bgr" else values

    def describe(self) -> dict[str, object]:
        """Plain data for the metadata."""
        constant = self.mean.shape[-1] == 1
        mean: object = self.mean.ravel().tolist() if constant else f"image {self.mean.shape[-1]}x{self.mean.shape[-1]}"
        return {
            "channels": self.channels,
            "layout": self.layout,
            "scale": self.scale,
            "mean": mean,
            "std": self.std.ravel().tolist(),
        }


def resolve_pixels(options: InputConvention, layout: str, crop: int) -> tuple[PixelTransform, int]:
    """What is done with pixels, and the side of the resized image. Raises BadInput where sides or numbers do not fit."""
    image = options.mean_image
    guessed = 256 if crop in CROPS_OF_256 else round(crop * RESIZE_PER_CROP)
    resize = options.resize or (image.shape[-1] if image is not None and image.shape[-1] > crop else guessed)
    if resize < crop:
        raise BadInput(f"--resize {resize}: is smaller than the net's crop of {crop} pixels")
    if image is not None and image.shape[-1] not in (resize, crop):
        raise BadInput(
            f"--mean: the mean image is {image.shape[-1]} pixels wide; it has to fit --resize {resize} or the crop of {crop}"
        )
    channels, (scale, mean, std) = options.channels or "rgb", _numbers(options)
    values = np.reshape(mean, (3, 1, 1))
    if image is not None:
        values = image[:: 1 if channels == "bgr" else -1].astype(np.float64) * scale
    pixels = PixelTransform(channels, layout, scale, values, np.reshape(std, (3, 1, 1)))
    _check(pixels)
    return pixels, resize


def _numbers(options: InputConvention) -> tuple[float, tuple[float, ...], tuple[float, ...]]:
    """Scale, mean and std; nothing said at all is torchvision's preset, numbers above 1 speak of pixels 0..255."""
    if options.is_arithmetic_unknown:
        options = options.fill_from(TORCHVISION_PRESET)
    large = options.mean_image is not None or max((*(options.mean or ()), *(options.std or ())), default=0) > 1
    guessed = 1.0 if large else 1 / WHITE
    return guessed if options.scale is None else options.scale, options.mean or (0.0,) * 3, options.std or (1.0,) * 3


def _check(pixels: PixelTransform) -> None:
    """Raises BadInput for a mean beyond every pixel, and where black or white becomes no float32 number."""
    said = ", ".join(f"{key} {value}" for key, value in pixels.describe().items() if key in NUMBERS)
    with np.errstate(all="ignore"):
        white = WHITE * pixels.scale
        seen = [np.asarray((pixel - pixels.mean) / pixels.std, np.float32) for pixel in (0.0, white)]
        fine = all(np.isfinite(values).all() for values in (*seen, pixels.rgb_mean, pixels.rgb_factor))
        fine = fine and bool((pixels.rgb_factor > 0).all())
    if not fine:
        raise BadInput(f"--scale --mean --std: {said} make pixels that are no float32 numbers")
    if pixels.mean.min() > white:
        raise BadInput(
            f"--mean: {said}: the mean is beyond white, which is {white:g}; mean and std are of pixels times --scale"
        )


def list_pixel_assumptions(options: InputConvention, pixels: PixelTransform, contract: Contract) -> Iterator[str]:
    """A line for each thing that `options`, what the user and the file said, leaves open."""
    mean, std = format_numbers(pixels.mean.ravel()[:3].tolist()), format_numbers(pixels.std.ravel().tolist())
    if options.channels is None:
        yield "channels in the order RGB (--channels)"
    if options.is_arithmetic_unknown:
        yield f"torchvision's preset: pixels / 255, minus {mean}, over {std} (--scale --mean --std)"
    else:
        if options.scale is None:
            yield f"pixels times {pixels.scale:g}, going by the size of the other numbers (--scale)"
        if options.mean is None and options.mean_image is None:
            yield f"a mean of {mean} (--mean)"
        if options.std is None:
            yield f"a std of {std} (--std)"
    if options.resize is None and pixels.mean.shape[-1] != contract.resize:
        yield f"crops of {contract.crop} from images resized to {contract.resize} (--resize)"


def cut_ten_views(planes: np.ndarray, mean: np.ndarray, contract: Contract) -> np.ndarray:
    """The ten views of [N,3,R,R], the mean subtracted: [N,10,3,crop,crop]."""
    size, centered = contract.crop, mean.shape[-1] == contract.crop
    planes = planes if centered else planes - mean
    views = []
    for top, left, mirrored in contract.views:
        view = planes[:, :, top : top + size, left : left + size]
        views.append(view[..., ::-1] if mirrored else view)
    stacked = np.stack(views, 1)
    return stacked - mean if centered else stacked
