"""The corruptions: as the package `imagecorruptions` has them, the same bytes everywhere, and of any square."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features
from support.corrupted_picture import PLACES, SIDE, draw_frost, draw_picture
from support.corruption_golden import FILE, LIBJPEG, hash_all, hash_picture, write_frost

from tencrop.common.errors import BadInput
from tencrop.images.corruptions.frost_photographs import NAMES, check_photographs
from tencrop.images.corruptions.table import CORRUPTIONS, FROST, MADE_FROST, SEVERITIES, corrupt

ORACLE = FILE.with_name("oracle.npz")
GOLDEN = json.loads(FILE.read_text())
SEED = 7  # of the oracle
PICTURE = draw_picture()
EDGES = {  # pictures without a color, without light, and with sides that are no power of two
    "black": np.zeros((40, 40, 3), np.uint8),
    "white": np.full((40, 40, 3), 255, np.uint8),
    "of 37 pixels": draw_picture(37),
    "of 224 pixels": draw_picture(224),
}
DISTANCES = {  # from the oracle's bytes: at most on average, and at most
    "gaussian_noise": (0, 0),
    "shot_noise": (0, 0),
    "impulse_noise": (0, 0),
    "defocus_blur": (0.4, 1),  # its kernel has float32
    "glass_blur": (0.15, 1),
    "motion_blur": (0.6, 1),  # it rounds down; ImageMagick, which the authors use, rounds to the nearest
    "zoom_blur": (0, 0),
    "snow": (0.1, 2),
    "frost": (0.02, 1),
    "fog": (0, 0),
    "brightness": (0.05, 1),
    "contrast": (0, 0),
    "elastic_transform": (0.12, 3),  # OpenCV moves points to multiples of 1/32 pixel
    "pixelate": (0, 0),
    "jpeg_compression": (1, 16),  # 0 by the same build of libjpeg
}


@pytest.fixture(scope="module")
def frost_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_frost(tmp_path_factory.mktemp("frost"))


def apply(name: str, severity: int, picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Corrupt with the oracle's random numbers, and with its photographs of frost."""
    function, parameters = CORRUPTIONS[name]
    more = {"photographs": [draw_frost(number) for number in range(5)]} if name == FROST else {}
    return function(picture, random, *parameters[severity - 1], **more)


@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if name != MADE_FROST])
def test_a_corruption_is_that_of_imagecorruptions(name: str) -> None:
    oracle = np.load(ORACLE)
    mean, most = DISTANCES[name]
    for severity in SEVERITIES:
        ours = apply(name, severity, PICTURE, np.random.default_rng(SEED)).reshape(-1, 3)[PLACES]
        distance = np.abs(ours.astype(int) - oracle[f"{name}-{severity}"])
        assert distance.mean() <= mean and distance.max() <= most, (severity, distance.mean(), distance.max())


def test_the_same_bytes_on_every_machine(frost_folder: Path) -> None:
    """But for jpeg_compression, whose bytes depend on the build of libjpeg."""
    found = hash_all(frost_folder)
    if features.version(LIBJPEG) != GOLDEN[LIBJPEG]:
        found["jpeg_compression"] = GOLDEN["corruptions"]["jpeg_compression"]
    assert found == GOLDEN["corruptions"]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_any_square_becomes_another_one_of_its_size(name: str, frost_folder: Path) -> None:
    for what, picture in EDGES.items():
        corrupted = corrupt(picture, name, 5, "id", frost_folder)
        assert corrupted.shape == picture.shape and corrupted.dtype == np.uint8, what


def test_random_numbers_depend_on_corruption_severity_and_id_alone() -> None:
    draws = {
        (severity, id): hash_picture(corrupt(PICTURE, "gaussian_noise", severity, id))
        for id in ("a.jpg", "b.jpg")
        for severity in (1, 2)
    }
    assert len(set(draws.values())) == 4
    again = {key: hash_picture(corrupt(PICTURE, "gaussian_noise", *key)) for key in reversed(draws)}
    assert again == draws
    noises = [corrupt(PICTURE, "gaussian_noise", severity, "a.jpg").astype(int) - PICTURE for severity in (1, 2)]
    inner = (PICTURE > 100) & (PICTURE < 150)
    assert abs(np.corrcoef(noises[0][inner], noises[1][inner])[0, 1]) < 0.1


def test_severity_grows(frost_folder: Path) -> None:
    """The distance from the picture, but for elastic_transform, whose severities are not in this order."""
    for name in set(CORRUPTIONS) - {"elastic_transform"}:
        pictures = [corrupt(PICTURE, name, severity, "id", frost_folder) for severity in (1, 5)]
        mild, severe = (np.abs(each.astype(int) - PICTURE).mean() for each in pictures)
        assert 0.5 < mild < severe, name


@pytest.mark.parametrize(
    ("file", "sides", "message"),
    [
        ("frost2.png", (SIDE + 1, SIDE), f"frost2.png: has {SIDE + 1}x{SIDE} pixels, no more than the net's"),
        ("frost5.jpg", None, r"frost5.jpg: cannot be read \(No such file or directory\)"),
        ("frost1.png", (), r"frost1.png: cannot be read \(it is no image\)"),
    ],
    ids=("small", "missing", "damaged"),
)
def test_photographs_that_cannot_be_used_are_one_line(
    file: str, sides: Sequence[int] | None, message: str, tmp_path: Path
) -> None:
    for number, name in enumerate(NAMES):
        Image.fromarray(draw_frost(number)).save(tmp_path / name)
    if sides:
        Image.new("RGB", (sides[0], sides[1])).save(tmp_path / file)
    elif sides is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_bytes(b"no image")
    with pytest.raises(BadInput, match=message):
        check_photographs(tmp_path, SIDE)
