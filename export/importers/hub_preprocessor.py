"""Reads preprocessor_config.json, where Hugging Face's transformers keeps how a net expects its images.

The keys are those of the image processors in transformers/models/*/image_processing_*.py, versions 4 and 5: images are
resized to `size`, cut to `crop_size`, multiplied by `rescale_factor`, and normalized by `image_mean` and `image_std`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tencrop.common.errors import BadInput, one_line
from tencrop.export.importers.input_convention import SIDES, InputConvention
from tencrop.export.importers.pixels import WHITE
from tencrop.model.contract import FILTERS

PILLOW_FILTERS = ("nearest", "Lanczos", "bilinear", "bicubic", "box", "Hamming")  # Pillow's, by their numbers
STEPS = ("do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_flip_channel_order")
NO_STEPS = ("do_convert_rgb", "do_reduce_labels")  # every image is RGB here; the other one is about maps of labels
CROP_SHARE = 224 / 256  # side of the crop over that of the resized image, where a processor has it in its code
WHOLE_FROM = 384  # side from which ConvNeXT's processor cuts nothing off
MIN_CROP_SHARE = 0.1
LARGEST = 1e30  # beyond every number of an image, and false of NaN
NAME_THE_NET = "name the .onnx file itself, and give --scale, --mean, --std, --channels, --crop and --resize"


def read_preprocessor(path: Path, given: InputConvention) -> tuple[InputConvention, tuple[str, ...]]:
    """Returns the convention of the file and a line for each of its steps that ten views take otherwise.

    What `given` states is not read. Raises BadInput for a damaged file, and for a step that cannot be taken.
    """
    document = read_json_object(path)
    flips = _has(document, "do_flip_channel_order", default=False)
    normalizes = _has(document, "do_normalize", default=not flips)  # MobileViT's processor only flips
    _check_steps(path, document, flips and normalizes)
    mean, std = _read_mean_and_std(path, document, given) if normalizes else ((0.0,) * 3, (1.0,) * 3)
    crop, resize, lines = _read_sizes(path, document, given)
    scale = _read_scale(path, document) if given.scale is None else None
    filter, unlike = _read_filter(document, given)
    channels = "bgr" if flips else "rgb"
    known = InputConvention(channels, "nchw", scale, mean, std, crop=crop, resize=resize, filter=filter)
    try:
        known.check()
    except BadInput as error:
        raise BadInput(f"{path}: {error.what}", NAME_THE_NET) from None
    return known, (*lines, *unlike)


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object. Raises BadInput."""
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{path}: cannot be read as JSON ({one_line(error)})") from None
    if not isinstance(document, dict):
        raise BadInput(f"{path}: holds {one_line(json.dumps(document))[:40]}, expected a JSON object")
    return document


def _has(document: Mapping[str, Any], step: str, default: bool = True) -> bool:
    return bool(document.get(step, default))


def _check_steps(path: Path, document: Mapping[str, Any], is_mixed: bool) -> None:
    """Check for steps that are not known here. Raises BadInput."""
    known = (*STEPS, *NO_STEPS)
    odd = [key for key, value in document.items() if key.startswith("do_") and value and key not in known]
    odd += ["rescale_offset"] if document.get("rescale_offset") else []  # subtracts 1 or 127.5, by the version
    odd += ["do_flip_channel_order beside do_normalize"] if is_mixed else []
    if odd:
        raise BadInput(f"{path}: {one_line(odd[0])} is a step that is not known here", NAME_THE_NET)


def _read_scale(path: Path, document: Mapping[str, Any]) -> float:
    return _read_numbers(path, document, "rescale_factor", 1 / WHITE)[0] if _has(document, "do_rescale") else 1.0


def _read_mean_and_std(
    path: Path, document: Mapping[str, Any], given: InputConvention
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Mean and std, None where `given` states them. EfficientNet's `include_top` divides by the std twice."""
    is_mean_given = given.mean is not None or given.mean_image is not None
    mean = None if is_mean_given else _read_numbers(path, document, "image_mean")
    std = None if given.std is not None else _read_numbers(path, document, "image_std")
    is_twice = std is not None and _has(document, "include_top", default=False)
    return mean, tuple(number**2 for number in std or ()) if is_twice else std


def _read_numbers(path: Path, document: Mapping[str, Any], key: str, default: float | None = None) -> tuple[float, ...]:
    """One number for each channel. Raises BadInput where the key holds anything else."""
    value = document.get(key, default)
    numbers = value if isinstance(value, list) else [value] * 3
    if len(numbers) != 3 or not all(isinstance(n, int | float) and abs(n) < LARGEST for n in numbers):
        seen = one_line(json.dumps(value)) if key in document else "missing"
        raise BadInput(f"{path}: {key} is {seen}, expected three numbers or one", "give --scale, --mean and --std")
    return tuple(map(float, numbers))


def _read_sizes(
    path: Path, document: Mapping[str, Any], given: InputConvention
) -> tuple[int | None, int | None, tuple[str, ...]]:
    """Side of the crop and of the resized image, None where the file leaves them open, and lines about differences."""
    if given.crop is not None and given.resize is not None:
        return None, None, ()
    side, is_squeezed = _read_side(path, document, "size") if _has(document, "do_resize") else (None, False)
    crops = _has(document, "do_center_crop", default="crop_size" in document)
    crop, _ = _read_side(path, document, "crop_size") if crops else (None, False)
    share = _find_crop_share(path, document, side)
    if side is None:
        return crop, None, () if _has(document, "do_resize") else ("images are not resized there (--resize)",)
    if share is not None:
        crop, resize = crop or side, int(side / share)
    elif crop is not None:
        resize = side
    else:
        return side, None, (f"the whole image is seen as {side}x{side} there, ten views of that size here (--resize)",)
    crop, resize = given.crop or crop, given.resize or resize
    if crop > resize:
        raise BadInput(f"{path}: cuts {crop}x{crop} from images resized to {resize}", "give --crop and --resize")
    squeezed = f"images are squeezed to {side}x{side} there; here the shorter side is resized, and the middle is seen"
    same = f"crops of {crop} from images of {resize}: the ten views are one view and its mirror image (--resize)"
    return crop, resize, tuple(line for line, holds in ((squeezed, is_squeezed), (same, crop == resize)) if holds)


def _read_side(path: Path, document: Mapping[str, Any], key: str) -> tuple[int | None, bool]:
    """The side of a square or the shorter side, None where the key is missing, and whether both sides are stated."""
    value = document.get(key)
    stated = value if isinstance(value, dict) else {"shortest_edge": value}
    is_square = "shortest_edge" not in stated
    side = stated.get("height") if is_square else stated["shortest_edge"]
    is_equal = not is_square or side == stated.get("width")
    if value is not None and not (is_equal and isinstance(side, int) and side in SIDES):
        seen = one_line(json.dumps(value))
        raise BadInput(
            f"{path}: {key} is {seen}, expected one side or equal ones of {SIDES[0]} to {SIDES[-1]}",
            "give --crop and --resize",
        )
    return side, is_square


def _find_crop_share(path: Path, document: Mapping[str, Any], side: int | None) -> float | None:
    """Side of the crop over that of the resized image, where the processor resizes to more than `size`."""
    kind = str(document.get("image_processor_type") or document.get("feature_extractor_type"))
    if kind.startswith("ConvNext") and side is not None and side >= WHOLE_FROM:
        return None
    usual = CROP_SHARE if kind.startswith(("ConvNext", "Levit")) else None
    share = document.get("crop_pct") or usual
    if share is not None and not (isinstance(share, int | float) and MIN_CROP_SHARE <= share <= 1):
        raise BadInput(
            f"{path}: crop_pct is {one_line(json.dumps(share))}, expected {MIN_CROP_SHARE} to 1",
            "give --crop and --resize",
        )
    return share


def _read_filter(document: Mapping[str, Any], given: InputConvention) -> tuple[str | None, tuple[str, ...]]:
    """The filter, None where the file or the user leaves it open, and a line where the file asks for an unknown one."""
    number = document.get("resample")
    if number is None or given.filter is not None:
        return None, ()
    name = PILLOW_FILTERS[number] if isinstance(number, int) and 0 <= number < len(PILLOW_FILTERS) else one_line(number)
    if name in FILTERS:
        return name, ()
    return FILTERS[0], (f"images are resized by the {name} filter there, by the {FILTERS[0]} one here",)
