"""importers/pixels.py: numbers come from the flags, else from the kind of file, else they are assumed and listed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from support.tiny_source import TinySource

from tencrop.common.errors import BadInput
from tencrop.export.importers.input_convention import InputConvention, parse_input_convention
from tencrop.export.importers.onnxzoo_alexnet import BVLC_INPUT
from tencrop.export.importers.pixels import TORCHVISION_PRESET, PixelTransform, list_pixel_assumptions, resolve_pixels
from tencrop.export.importers.source_input import read_source_input
from tencrop.export.importers.source_net import SourceNet
from tencrop.export.importers.torchvision_alexnet import TORCHVISION_INPUT
from tencrop.model.contract import Contract

KINDS = {"bvlc": BVLC_INPUT, "torchvision": TORCHVISION_INPUT, "any": InputConvention()}


def resolve(options: InputConvention) -> PixelTransform:
    return resolve_pixels(options, "nchw", 224)[0]


def test_numbers_of_the_command_line() -> None:
    assert parse_input_convention("104,117,123", "1").mean == (104.0, 117.0, 123.0)
    assert parse_input_convention(None, "0.5").std == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("one", "known"),
    [
        (InputConvention(scale=0.5), replace(BVLC_INPUT, scale=0.5)),
        (InputConvention(mean=(1.0, 2.0, 3.0)), replace(BVLC_INPUT, mean=(1.0, 2.0, 3.0))),
        (InputConvention(std=(1.0, 2.0, 3.0)), replace(BVLC_INPUT, std=(1.0, 2.0, 3.0))),
    ],
    ids=["scale", "mean", "std"],
)
def test_one_given_number_keeps_the_known_others(one: InputConvention, known: InputConvention) -> None:
    assert one.fill_from(BVLC_INPUT) == known
    assert list(list_pixel_assumptions(one.fill_from(BVLC_INPUT), resolve(one.fill_from(BVLC_INPUT)), Contract())) == []


@pytest.mark.parametrize("kind", KINDS)
def test_given_channels_turn_the_known_numbers(kind: str) -> None:
    rgb, bgr = (resolve(InputConvention(channels=channels).fill_from(KINDS[kind])) for channels in ("rgb", "bgr"))
    assert (rgb.channels, bgr.channels) == ("rgb", "bgr") and rgb.mean.ravel().tolist() == bgr.mean.ravel().tolist()[
        ::-1
    ]
    np.testing.assert_array_equal(rgb.rgb_mean, bgr.rgb_mean)  # in RGB both are equal
    np.testing.assert_array_equal(rgb.rgb_factor, bgr.rgb_factor)
    assert np.ptp(rgb.rgb_mean) > 1


@pytest.mark.parametrize("kind", KINDS)
def test_given_numbers_keep_their_order(kind: str) -> None:
    for channels in ("rgb", "bgr"):
        seen = resolve(parse_input_convention("10,20,30", "1,2,3", scale=1.0, channels=channels).fill_from(KINDS[kind]))
        assert seen.mean.ravel().tolist() == [10, 20, 30] and seen.std.ravel().tolist() == [1, 2, 3]


def test_mean_image_is_bgr_for_every_order_of_channels() -> None:
    image = np.random.default_rng(0).uniform(80, 140, (3, 256, 256)).astype(np.float32)
    rgb, bgr = (resolve(InputConvention(channels=channels, mean_image=image)) for channels in ("rgb", "bgr"))
    np.testing.assert_array_equal(bgr.mean, image)
    np.testing.assert_array_equal(rgb.rgb_mean, bgr.rgb_mean)


LINES = {
    (): [
        "torchvision's preset: pixels / 255, minus 0.485, 0.456, 0.406, over 0.229, 0.224, 0.225 (--scale --mean --std)"
    ],
    ("scale",): ["a mean of 0, 0, 0 (--mean)", "a std of 1, 1, 1 (--std)"],
    ("mean",): [
        "pixels times 0.00392157, going by the size of the other numbers (--scale)",
        "a std of 1, 1, 1 (--std)",
    ],
    ("scale", "std"): ["a mean of 0, 0, 0 (--mean)"],
    ("scale", "mean", "std"): [],
}


@pytest.mark.parametrize("names", LINES)
def test_each_assumed_number_is_a_line(names: tuple[str, ...]) -> None:
    numbers = {"scale": 1 / 255, "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
    given = {name: numbers[name] for name in names}
    options = InputConvention(channels="bgr" if len(names) > 1 else "rgb", resize=256, filter="bilinear", **given)  # type: ignore[arg-type]
    assert list(list_pixel_assumptions(options, resolve(options), Contract())) == LINES[names]


def test_preset_of_a_bgr_net_is_listed_in_bgr() -> None:
    options = InputConvention(channels="bgr", resize=256)
    assert "minus 0.406, 0.456, 0.485, over 0.225, 0.224, 0.229" in next(
        list_pixel_assumptions(options, resolve(options), Contract())
    )
    assert resolve(options).mean.ravel().tolist() == list(TORCHVISION_PRESET.mean or ())[::-1]


@pytest.mark.parametrize(
    ("sides", "options", "lines"),
    [
        (
            ["N", "C", "H", "W"],
            InputConvention(),
            ["images as [N,3,224,224] (--layout)", "views of 224 pixels (--crop)"],
        ),
        (["N", 3, "H", "W"], InputConvention(), ["views of 224 pixels (--crop)"]),
        (["N", "H", "W", 3], InputConvention(crop=64), []),
        (["N", "C", "H", "W"], InputConvention(crop=64, layout="nhwc"), []),
        (["N", "C", 64, 64], InputConvention(), ["images as [N,3,64,64] (--layout)"]),
    ],
)
def test_each_side_that_the_file_leaves_open_is_a_line(
    sides: list[str | int], options: InputConvention, lines: list[str]
) -> None:
    model = TinySource().model()
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("picture", TensorProto.FLOAT, sides))
    assert list(read_source_input(SourceNet(Path("net.onnx"), "ONNX", model), options).assumed) == lines


@pytest.mark.parametrize(
    "options",
    [
        InputConvention(scale=1e38),
        InputConvention(std=(1e-46,) * 3),
        InputConvention(mean=(1e300,) * 3),
        InputConvention(scale=1e308, std=(1e-308,) * 3),
    ],
    ids=["scale", "std", "mean", "together"],
)
def test_numbers_beyond_float32_are_refused(options: InputConvention) -> None:
    with pytest.raises(BadInput, match="no float32 numbers"):
        resolve(options)


def test_mean_on_another_scale_than_the_pixels_is_refused() -> None:
    with pytest.raises(BadInput, match="beyond white, which is 1;"):
        resolve(InputConvention(scale=1 / 255).fill_from(BVLC_INPUT))
