"""importers/hub_preprocessor.py: the files that transformers writes state what its image processors compute."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tencrop.common.errors import BadInput
from tencrop.export.importers.hub_preprocessor import read_preprocessor
from tencrop.export.importers.input_convention import InputConvention

HALF, ONE = (0.5,) * 3, (1.0,) * 3
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SCALE = 0.00392156862745098
STEPS = {"do_normalize": True, "do_rescale": True, "do_resize": True, "rescale_factor": SCALE, "resample": 2}
HALVES = {"image_mean": list(HALF), "image_std": list(HALF)}
IMAGENET = {"image_mean": list(IMAGENET_MEAN), "image_std": list(IMAGENET_STD)}
WHOLE = "the whole image is seen as {0}x{0} there, ten views of that size here (--resize)"
FILTERS = {2: "bilinear", 3: "bicubic", 9: "bilinear", None: None}  # by Pillow's numbers; 9 is none of them


def read(folder: Path, document: Any, **given: Any) -> tuple[InputConvention, tuple[str, ...]]:
    path = folder / "preprocessor_config.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return read_preprocessor(path, InputConvention(**given))


# What transformers 5.24 writes for its own classes, and older files of the hub. Its processors gave the same numbers
# for a colour, and images of these sizes.
FILES: dict[str, tuple[dict[str, Any], InputConvention, tuple[str, ...]]] = {
    "ViT": (
        {**STEPS, **HALVES, "image_processor_type": "ViTImageProcessor", "size": {"height": 224, "width": 224}},
        InputConvention("rgb", "nchw", SCALE, HALF, HALF, crop=224),
        (WHOLE.format(224),),
    ),
    "ViT before version 4.24": (
        {"do_normalize": True, "do_resize": True, **HALVES, "resample": 2, "size": 224},
        InputConvention("rgb", "nchw", 1 / 255, HALF, HALF, crop=224),
        (WHOLE.format(224),),
    ),
    "ResNet-50": (
        {
            "crop_pct": 0.875,
            "do_normalize": True,
            "do_resize": True,
            "feature_extractor_type": "ConvNextFeatureExtractor",
            **IMAGENET,
            "resample": 3,
            "size": 224,
        },
        InputConvention("rgb", "nchw", 1 / 255, IMAGENET_MEAN, IMAGENET_STD, crop=224, resize=256),
        (),
    ),
    "ConvNeXT of 384": (
        {
            **STEPS,
            **IMAGENET,
            "crop_pct": 0.875,
            "image_processor_type": "ConvNextImageProcessor",
            "size": {"shortest_edge": 384},
        },
        InputConvention("rgb", "nchw", SCALE, IMAGENET_MEAN, IMAGENET_STD, crop=384),
        (WHOLE.format(384),),
    ),
    "ConvNeXT without a share": (
        {**STEPS, **IMAGENET, "image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 224}},
        InputConvention("rgb", "nchw", SCALE, IMAGENET_MEAN, IMAGENET_STD, crop=224, resize=256),
        (),
    ),
    "MobileNetV2": (
        {
            **STEPS,
            **HALVES,
            "crop_size": {"height": 224, "width": 224},
            "do_center_crop": True,
            "do_reduce_labels": False,
            "size": {"shortest_edge": 256},
        },
        InputConvention("rgb", "nchw", SCALE, HALF, HALF, crop=224, resize=256),
        (),
    ),
    "CLIP": (
        {**STEPS, **HALVES, "crop_size": 224, "do_center_crop": True, "do_convert_rgb": True, "size": 224},
        InputConvention("rgb", "nchw", SCALE, HALF, HALF, crop=224, resize=224),
        ("crops of 224 from images of 224: the ten views are one view and its mirror image (--resize)",),
    ),
    "DeiT": (
        {
            **STEPS,
            **IMAGENET,
            "crop_size": {"height": 224, "width": 224},
            "do_center_crop": True,
            "resample": 3,
            "size": {"height": 256, "width": 256},
        },
        InputConvention("rgb", "nchw", SCALE, IMAGENET_MEAN, IMAGENET_STD, crop=224, resize=256),
        ("images are squeezed to 256x256 there; here the shorter side is resized, and the middle is seen",),
    ),
    "BEiT, which has a crop but does not use it": (
        {**STEPS, **HALVES, "crop_size": 200, "do_center_crop": False, "size": {"height": 224, "width": 224}},
        InputConvention("rgb", "nchw", SCALE, HALF, HALF, crop=224),
        (WHOLE.format(224),),
    ),
    "PoolFormer": (
        {
            **STEPS,
            **IMAGENET,
            "crop_pct": 0.9,
            "crop_size": {"height": 224, "width": 224},
            "do_center_crop": True,
            "size": {"shortest_edge": 224},
        },
        InputConvention("rgb", "nchw", SCALE, IMAGENET_MEAN, IMAGENET_STD, crop=224, resize=248),
        (),
    ),
    "LeViT": (
        {
            **STEPS,
            **IMAGENET,
            "crop_size": {"height": 224, "width": 224},
            "do_center_crop": True,
            "image_processor_type": "LevitImageProcessor",
            "size": {"shortest_edge": 224},
        },
        InputConvention("rgb", "nchw", SCALE, IMAGENET_MEAN, IMAGENET_STD, crop=224, resize=256),
        (),
    ),
    "EfficientNet, which divides twice": (
        {
            **STEPS,
            "image_mean": [0.5, 0.25, 0.125],
            "image_std": 0.5,
            "include_top": True,
            "rescale_offset": False,
            "size": {"height": 240, "width": 240},
        },
        InputConvention("rgb", "nchw", SCALE, (0.5, 0.25, 0.125), (0.25,) * 3, crop=240),
        (WHOLE.format(240),),
    ),
    "MobileViT, which flips and has no use for its mean": (
        {
            "crop_size": {"height": 256, "width": 256},
            "do_center_crop": True,
            "do_flip_channel_order": True,
            "do_rescale": True,
            "do_resize": True,
            **HALVES,
            "rescale_factor": SCALE,
            "size": {"shortest_edge": 288},
        },
        InputConvention("bgr", "nchw", SCALE, (0.0,) * 3, ONE, crop=256, resize=288),
        (),
    ),
    "pixels of 0 to 255": (
        {**STEPS, **HALVES, "do_rescale": False, "do_normalize": False, "size": 64, "crop_size": 56},
        InputConvention("rgb", "nchw", 1.0, (0.0,) * 3, ONE, crop=56, resize=64),
        (),
    ),
    "no resizing": (
        {**STEPS, **HALVES, "do_resize": False, "crop_size": 56, "size": 64},
        InputConvention("rgb", "nchw", SCALE, HALF, HALF, crop=56),
        ("images are not resized there (--resize)",),
    ),
    "no sizes": ({**STEPS, **HALVES}, InputConvention("rgb", "nchw", SCALE, HALF, HALF), ()),
    "an unknown filter": (
        {**STEPS, **HALVES, "resample": 9},
        InputConvention("rgb", "nchw", SCALE, HALF, HALF),
        ("images are resized by the 9 filter there, by the bilinear one here",),
    ),
}


@pytest.mark.parametrize("what", FILES)
def test_files_of_transformers(what: str, tmp_path: Path) -> None:
    document, known, lines = FILES[what]
    assert read(tmp_path, document) == (replace(known, filter=FILTERS[document.get("resample")]), lines)


def test_a_filter_that_the_user_states_is_not_read(tmp_path: Path) -> None:
    known, lines = read(tmp_path, {**STEPS, **HALVES, "resample": 9}, filter="bicubic")
    assert known.filter is None and lines == ()


REFUSED: dict[str, tuple[Any, str]] = {
    "half a file": ('{"size": 2', "cannot be read as JSON"),
    "deep": ("[" * 100_000, "cannot be read as JSON"),
    "a list": ([1, 2], "holds [1, 2], expected a JSON object"),
    "a step more": ({**STEPS, **HALVES, "do_pad": True}, "do_pad is a step that is not known here"),
    "an offset": ({**STEPS, **HALVES, "rescale_offset": True}, "rescale_offset is a step that is not known here"),
    "a mean in no stated order": (
        {**STEPS, **HALVES, "do_flip_channel_order": True},
        "do_flip_channel_order beside do_normalize is a step that is not known",
    ),
    "no mean": ({**STEPS, "image_std": 0.5}, "image_mean is missing, expected three numbers or one"),
    "two means": ({**STEPS, **HALVES, "image_mean": [0.5, 0.5]}, "image_mean is [0.5, 0.5], expected three"),
    "a mean that is no number": (
        '{"image_mean": NaN, "image_std": 1, "do_normalize": true}',
        "image_mean is NaN, expected three",
    ),
    "a long mean": ({**STEPS, **HALVES, "image_mean": 10**400}, "image_mean is 1000"),
    "a factor in words": ({**STEPS, **HALVES, "rescale_factor": "1/255"}, 'rescale_factor is "1/255", expected'),
    "a factor of 0": ({**STEPS, **HALVES, "rescale_factor": 0}, "--scale 0.0: expected a number above 0"),
    "a std of 0": ({**STEPS, **HALVES, "image_std": 0}, "--std 0.0,0.0,0.0: expected numbers above 0"),
    "no square": ({**STEPS, **HALVES, "size": {"height": 224, "width": 256}}, '"width": 256}, expected one side or'),
    "half a square": ({**STEPS, **HALVES, "size": {"height": 224}}, 'size is {"height": 224}, expected one side or'),
    "a list of sides": ({**STEPS, **HALVES, "size": [224, 224]}, "size is [224, 224], expected one side or equal"),
    "sides in lists": ({**STEPS, **HALVES, "size": {"height": [9], "width": [9]}}, "expected one side or equal ones"),
    "a fraction": ({**STEPS, **HALVES, "size": 224.0}, "size is 224.0, expected one side or equal ones"),
    "only a longest side": ({**STEPS, **HALVES, "size": {"longest_edge": 224}}, "expected one side or equal ones"),
    "a long side": ({**STEPS, **HALVES, "size": 10**400}, "equal ones of 16 to 2048"),
    "a short side": ({**STEPS, **HALVES, "size": 64, "crop_size": 8}, "crop_size is 8, expected one side or"),
    "a share of nothing": (
        {**STEPS, **HALVES, "size": 64, "crop_pct": 1e-300},
        "crop_pct is 1e-300, expected 0.1 to 1",
    ),
    "a share that makes a giant": ({**STEPS, **HALVES, "size": 2000, "crop_pct": 0.5}, "--resize 4000: expected 16"),
    "a crop beyond the image": (
        {**STEPS, **HALVES, "size": 224, "crop_size": 256},
        "cuts 256x256 from images resized to 224; give --crop and --resize",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_ten_views_cannot_do_is_one_line(what: str, tmp_path: Path) -> None:
    document, message = REFUSED[what]
    with pytest.raises(BadInput) as refused:
        read(tmp_path, document)
    assert message in str(refused.value) and str(refused.value).startswith(f"{tmp_path}/preprocessor_config.json: ")
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 500


def test_what_the_user_states_is_not_read(tmp_path: Path) -> None:
    broken = {"size": "x", "crop_size": "x", "image_mean": "x", "image_std": "x", "rescale_factor": "x"}
    known, lines = read(tmp_path, broken, crop=32, resize=37, mean=HALF, std=HALF, scale=1.0)
    assert known == InputConvention("rgb", "nchw") and lines == ()


def test_a_size_of_the_user_decides_whether_the_crop_fits(tmp_path: Path) -> None:
    known, lines = read(tmp_path, {**STEPS, **HALVES, "size": 224, "crop_size": 256}, resize=292)
    assert (known.crop, known.resize, lines) == (256, 292, ())
