"""PixelTransform: the arithmetic between a view's uint8 pixels and the input of a net that was trained elsewhere."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tencrop.common.errors import BadInput
from tencrop.export.importers.input_convention import ARITHMETIC, InputConvention, format_numbers
from tencrop.model.contract import Contract

WHITE = 255
TORCHVISION_PRESET = InputConvention(  # the most common one
    channels="rgb", scale=1 / WHITE, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)
CROPS_OF_256 = (224, 227)  # crops that every net cuts from images of 256 pixels
RESIZE_PER_CROP = 8 / 7  # side of the resized image over the side of any other crop, as 256 / 224


@dataclass(frozen=True)
class PixelTransform:
    """(pixel * scale - mean) / std in the net's order of channels.

    mean: float64 [3,1,1]; or [3,R,R], cropped with the image; or [3,crop,crop], subtracted from every view and never
    mirrored. std: float64 [3,1,1].
    """

    channels: str
    layout: str
    scale: float
    mean: np.ndarray
    std: np.ndarray

    @property
    def rgb_mean(self) -> np.ndarray:
        """The mean for export/tencrop_graph.py, float32, RGB, on the 0..255 scale; its shape is that of `mean`."""
        return np.ascontiguousarray(self._to_rgb(self.mean / self.scale), np.float32)

    @property
    def rgb_factor(self) -> np.ndarray:
        """The factor of (pixel - rgb_mean): scale / std, float32 [1,3,1,1], RGB."""
        return np.asarray(self._to_rgb(self.scale / self.std)[None], np.float32)

    def make_inputs(self, images: np.ndarray, contract: Contract) -> np.ndarray:
        """Compute the definition in numpy: uint8 [N,R,R,3] -> float32 [N,10,...] in the net's channels and layout."""
        planes = images.transpose(0, 3, 1, 2).astype(np.float64)
        own = planes[:, ::-1] if self.channels == "bgr" else planes
        views = cut_ten_views(own * self.scale, self.mean, contract) / self.std
        return np.ascontiguousarray(views.transpose(0, 1, 3, 4, 2) if self.layout == "nhwc" else views, np.float32)

    def describe(self) -> dict[str, object]:
        """Plain data for the metadata."""
        side = self.mean.shape[-1]
        return {
            "channels": self.channels,
            "layout": self.layout,
            "scale": self.scale,
            "mean": self.mean.ravel().tolist() if side == 1 else f"image {side}x{side}",
            "std": self.std.ravel().tolist(),
        }

    def _to_rgb(self, values: np.ndarray) -> np.ndarray:
        return values[::-1] if self.channels == "bgr" else values


def resolve_pixels(convention: InputConvention, layout: str, crop: int) -> tuple[PixelTransform, int]:
    """Fill in usual values; returns the transform and the side of the resized image.

    Raises BadInput where the sides or the numbers do not fit.
    """
    resize = _resolve_resize(convention, crop)
    channels, (scale, mean, std) = convention.channels or "rgb", _resolve_numbers(convention)
    values = np.reshape(mean, (3, 1, 1))
    if convention.mean_image is not None:
        values = convention.mean_image[:: 1 if channels == "bgr" else -1].astype(np.float64) * scale
    pixels = PixelTransform(channels, layout, scale, values, np.reshape(std, (3, 1, 1)))
    _check(pixels)
    return pixels, resize


def _resolve_resize(convention: InputConvention, crop: int) -> int:
    """The user's side, else that of a mean image larger than the crop, else the usual one. Raises BadInput."""
    mean_side = None if convention.mean_image is None else convention.mean_image.shape[-1]
    usual = 256 if crop in CROPS_OF_256 else round(crop * RESIZE_PER_CROP)
    resize = convention.resize or (mean_side if mean_side is not None and mean_side > crop else usual)
    if resize < crop:
        raise BadInput(f"--resize {resize}: is smaller than the net's crop of {crop} pixels")
    if mean_side not in (None, resize, crop):
        raise BadInput(
            f"--mean: the mean image is {mean_side} pixels wide; it has to fit --resize {resize} or the crop of {crop}"
        )
    return resize


def _resolve_numbers(convention: InputConvention) -> tuple[float, tuple[float, ...], tuple[float, ...]]:
    """Scale, mean and std. Without any of them torchvision's preset; a mean or std above 1 means pixels of 0..255."""
    if convention.lacks_arithmetic:
        convention = convention.fill_from(TORCHVISION_PRESET)
    mean, std = convention.mean or (), convention.std or ()
    is_large = convention.mean_image is not None or max((*mean, *std), default=0) > 1
    usual = 1.0 if is_large else 1 / WHITE
    return usual if convention.scale is None else convention.scale, mean or (0.0,) * 3, std or (1.0,) * 3


def _check(pixels: PixelTransform) -> None:
    """Check the numbers. Raises BadInput for a mean beyond every pixel, and where black or white is not finite."""
    numbers = ", ".join(f"{key} {value}" for key, value in pixels.describe().items() if key in ARITHMETIC)
    with np.errstate(all="ignore"):
        white = WHITE * pixels.scale
        seen = [np.asarray((pixel - pixels.mean) / pixels.std, np.float32) for pixel in (0.0, white)]
        is_finite = all(np.isfinite(values).all() for values in (*seen, pixels.rgb_mean, pixels.rgb_factor))
        is_usable = is_finite and bool((pixels.rgb_factor > 0).all())
    if not is_usable:
        raise BadInput(f"--scale --mean --std: {numbers} make pixels that are no float32 numbers")
    if pixels.mean.min() > white:
        raise BadInput(
            f"--mean: {numbers}: the mean is beyond white, which is {white:g}",
            "give mean and std on the scale of pixels times --scale",
        )


def list_pixel_assumptions(convention: InputConvention, pixels: PixelTransform, contract: Contract) -> Iterator[str]:
    """Yield a line for each value that `convention`, from the user and the file, leaves open."""
    mean, std = format_numbers(pixels.mean.ravel()[:3].tolist()), format_numbers(pixels.std.ravel().tolist())
    if convention.channels is None:
        yield "channels in the order RGB (--channels)"
    if convention.lacks_arithmetic:
        yield f"torchvision's preset: pixels / 255, minus {mean}, over {std} (--scale --mean --std)"
    else:
        if convention.scale is None:
            yield f"pixels times {pixels.scale:g}, going by the size of the other numbers (--scale)"
        if convention.mean is None and convention.mean_image is None:
            yield f"a mean of {mean} (--mean)"
        if convention.std is None:
            yield f"a std of {std} (--std)"
    if convention.filter is None:
        yield f"images resized by the {contract.filter} filter (--filter)"
    if convention.resize is None and pixels.mean.shape[-1] != contract.resize:
        yield f"crops of {contract.crop} from images resized to {contract.resize} (--resize)"


def cut_ten_views(planes: np.ndarray, mean: np.ndarray, contract: Contract) -> np.ndarray:
    """Cut [N,3,R,R] into its ten views and subtract the mean: [N,10,3,crop,crop]."""
    size, is_center_mean = contract.crop, mean.shape[-1] == contract.crop
    planes = planes if is_center_mean else planes - mean
    views = []
    for top, left, mirrored in contract.views:
        view = planes[:, :, top : top + size, left : left + size]
        views.append(view[..., ::-1] if mirrored else view)
    stacked = np.stack(views, 1)
    return stacked - mean if is_center_mean else stacked
