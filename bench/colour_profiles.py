"""Measures how far answers move when a photograph's colour profile is applied in place of ignored.

python -m bench.colour_profiles PHOTOS [--holdout 0.15] [--model M] [--precision fp32]

PHOTOS has a folder for each class; the photographs are those that `tencrop evaluate --holdout` would take. First come
those that have a profile other than sRGB. Then all of them, as a camera of another colour space would have stored them:
taken for sRGB and converted to that space. To apply a profile is to convert to sRGB, as browsers do.
"""

import argparse
import io
import struct
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

from bench.machine import describe_machine
from tencrop.dataset.holdout import choose_holdout
from tencrop.dataset.layouts import open_source
from tencrop.images.decode import fit_square
from tencrop.model.contract import FULL_DECODING
from tencrop.model.embedded import EMBEDDED
from tencrop.runtime.classifier import Classifier, open_classifier
from tencrop.runtime.engine_choice import EngineOptions

FORWARD = 4  # images a forward pass
D50 = (0.9642, 1.0, 0.8249)  # white of the profile connection space
ONE = 1 << 16  # s15Fixed16
# Columns of red, green and blue in XYZ, adapted to D50, as Apple's and Adobe's own profiles have them
SPACES = {
    "Display P3": ((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407)),
    "Adobe RGB (1998)": ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)),
}
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
CURVES = {"Display P3": SRGB_CURVE, "Adobe RGB (1998)": (563 / 256, 1, 0, 0, 0)}
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


class Pair(NamedTuple):
    """The squares of one photograph, uint8 [R,R,3], and the id of its class: the name of its folder."""

    ignored: np.ndarray
    applied: np.ndarray
    label: str


def make_profile(space: str) -> ImageCms.ImageCmsProfile:
    """The ICC profile of a space with three primaries and one curve (ICC.1:2010, sections 7.2 and 10)."""
    curve = b"para" + bytes(4) + struct.pack(">HH", 3, 0) + _fixed(*CURVES[space])
    columns = [b"XYZ " + bytes(4) + _fixed(*column) for column in (*SPACES[space], D50)]
    names = (b"rXYZ", b"gXYZ", b"bXYZ", b"wtpt", b"rTRC", b"gTRC", b"bTRC")
    bodies = [*columns, *[curve] * 3]
    start = 128 + 4 + 12 * len(names)
    places = [start + sum(map(len, bodies[:i])) for i in range(len(bodies))]
    table = b"".join(
        struct.pack(">4sII", name, place, len(body)) for name, place, body in zip(names, places, bodies, strict=True)
    )
    header = bytearray(128)
    struct.pack_into(">I4sI4s4s4s", header, 0, places[-1] + len(bodies[-1]), b"", 4 << 24, b"mntr", b"RGB ", b"XYZ ")
    header[36:40], header[68:80] = b"acsp", _fixed(*D50)
    packed = bytes(header) + struct.pack(">I", len(names)) + table + b"".join(bodies)
    return ImageCms.ImageCmsProfile(io.BytesIO(packed))


def _fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * ONE) for value in values))


def convert(image: Image.Image, source: ImageCms.ImageCmsProfile, target: ImageCms.ImageCmsProfile) -> Image.Image:
    """An RGB image of one colour space in another one."""
    converted = ImageCms.profileToProfile(image, source, target, ImageCms.Intent.RELATIVE_COLORIMETRIC)
    assert converted is not None
    return converted


def make_pair(ignored: Image.Image, applied: Image.Image, path: Path, classifier: Classifier) -> Pair:
    """Cut out the squares of both pictures."""
    contract = replace(classifier.contract, decode=FULL_DECODING)  # which applies no profile by itself
    return Pair(fit_square(ignored, contract), fit_square(applied, contract), path.parent.name)


def find_profiled(photos: Iterable[Path], classifier: Classifier) -> Iterable[Pair]:
    """The photographs with a profile of RGB that is not sRGB, as they are and with their profile applied."""
    for path in photos:
        with Image.open(path) as image:
            if image.mode != "RGB" or not image.info.get("icc_profile"):
                continue
            profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
            if "sRGB" not in ImageCms.getProfileDescription(profile):
                applied = convert(image, profile, SRGB)
                yield make_pair(image, applied, path, classifier)


def give_profile(photos: Iterable[Path], space: str, classifier: Classifier) -> Iterable[Pair]:
    """Photographs as a camera of this space would have stored them, as they are and with the profile applied."""
    profile = make_profile(space)
    for path in photos:
        with Image.open(path) as opened:
            stored = convert(opened.convert("RGB"), SRGB, profile)
        yield make_pair(stored, convert(stored, profile, SRGB), path, classifier)


def describe(name: str, pairs: list[Pair], classifier: Classifier) -> str:
    """The line of one colour space."""
    if not pairs:
        return f"{name}: no photograph"
    ignored, applied = (
        np.concatenate([classifier.forward(part)[0] for part in np.split(squares, range(FORWARD, len(pairs), FORWARD))])
        for squares in (np.stack([pair.ignored for pair in pairs]), np.stack([pair.applied for pair in pairs]))
    )
    ids = np.array([label.id for label in classifier.contract.labels])
    labels = np.array([pair.label for pair in pairs])
    known = np.isin(labels, ids)
    first, second = ids[ignored.argmax(1)], ids[applied.argmax(1)]
    moved = np.abs(ignored - applied).max(1)
    far = np.mean([np.abs(pair.ignored.astype(int) - pair.applied).mean() for pair in pairs])
    wrong = [
        100 * float((answers != labels)[known].mean()) if known.any() else float("nan") for answers in (first, second)
    ]
    return (
        f"{name}: {len(pairs)} photographs; pixels differ by {far:.2f} of 255 in the mean; largest difference of a "
        f"probability {np.median(moved):.4f} (median), {np.quantile(moved, 0.99):.4f} (99 %); "
        f"first answers that changed: {int((first != second).sum())}; "
        f"top-1 error {wrong[0]:.2f} % ignored, {wrong[1]:.2f} % applied"
    )


def main() -> None:
    """Print a line for each colour space."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--holdout", type=float, default=0.15, help="share of each class; 1: all photographs")
    parser.add_argument("--model", type=Path, default=EMBEDDED)
    parser.add_argument("--precision", default="fp32")
    options = parser.parse_args()
    with open_classifier(options.model, EngineOptions("cpu", "auto", options.precision)) as classifier:
        entries = open_source(options.photos).entries
        photographs = [
            options.photos / entries[i].id for i in choose_holdout(entries, options.holdout).nonzero()[0].tolist()
        ]
        print(describe_machine())
        print(describe("their own profiles", list(find_profiled(photographs, classifier)), classifier))
        for space in SPACES:
            print(describe(space, list(give_profile(photographs, space, classifier)), classifier))


if __name__ == "__main__":
    main()
