"""The tiny model of version 0.1, with a calibration that is made up, and pictures of its classes."""

from pathlib import Path

from conftest import stripes
from PIL import Image

from tencrop.model.calibration import Calibration, ConfidenceMap, Threshold, TriedMap
from tencrop.model.tencropfile import add_calibration

TINY = Path(__file__).parents[1] / "fixtures" / "0.1" / "tiny"
CLASSES = ("ant", "bee_hive", "cat")  # of the tiny model
CALIBRATION = Calibration(
    map=ConfidenceMap("temperature of each view", temperature=2.0, of_views=True),
    thresholds=(Threshold(0.8, 0.34), Threshold(0.9, 0.1)),
    tried=(TriedMap("none", 1.0, 0.1), TriedMap("temperature of each view", 0.9, 0.05)),
    dataset="photos",
    dataset_sha256="0" * 64,
    n=120,
    engine="openvino",
    precision="fp32",
)


def write_calibrated(folder: Path, calibration: Calibration = CALIBRATION) -> Path:
    """Write the calibrated model into a new folder, and return the folder."""
    folder.mkdir(parents=True)
    (folder / "tencrop.onnx").write_bytes(add_calibration((TINY / "tencrop.onnx").read_bytes(), calibration))
    return folder


def write_pictures(root: Path, each: int, first: int = 0) -> None:
    """Write so many pictures of each class, from number `first` on, into its folder."""
    for label, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for number in range(each):
            Image.fromarray(stripes(label, first + number)).save(root / name / f"{number:02}.png")
