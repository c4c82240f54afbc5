"""`tencrop evaluate` beside the most that this machine can give: L = 1 / (1/E + d/cores), with a GPU the smaller of E and cores/d.

python -m bench.validation --images FOLDER [--model M] [--count 2000] [--rounds 3] [--memory 20000]

E: images/s of the engine alone on decoded images; d: core-seconds to decode and resize one image; both in this run, on the
images of FOLDER, in turns with `tencrop evaluate` over COUNT of them. --memory also compares resident memory at so many images
with that at 1,000.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bench.machine import machine
from tencrop.dataset.source import is_image
from tencrop.images.decode import decode
from tencrop.model.embedded import EMBEDDED
from tencrop.runtime.classifier import Classifier, open_classifier
from tencrop.runtime.cores import cores
from tencrop.runtime.engine import batch_size
from tencrop.runtime.engine_choice import EngineOptions, device_kind

CLASSES = 10  # of the model's, that the images are dealt to
DECODED = 200  # images that E and d are measured on
ALONE = 2.0  # seconds at least that E is measured for
FEW = 1000  # images that the memory of many is compared with
MIB = 1024  # in the kernel's kibibytes


def dealt(photos: list[Path], classifier: Classifier, count: int, root: Path) -> Path:
    """A data set of `count` links to photographs, under classes of the model's."""
    for number in range(count):
        folder = root / classifier.contract.labels[number % CLASSES].id
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:06}.jpg").symlink_to(photos[number % len(photos)].resolve())
    return root


def engine_alone(classifier: Classifier, images: np.ndarray) -> float:
    """E, images/s, in the forwards of a validation."""
    forward = batch_size(classifier.engine)
    classifier.forward(images[:forward])
    started, done = time.perf_counter(), 0
    while (took := time.perf_counter() - started) < ALONE:
        for start in range(0, len(images) - forward + 1, forward):
            classifier.forward(images[start : start + forward])
            done += forward
    return done / took


def most(classifier: Classifier, e: float, d: float) -> float:
    """L, images/s: an engine on the CPU computes on the cores that decode."""
    decoded = cores() / d
    return 1 / (1 / e + 1 / decoded) if device_kind(classifier.engine.device) == "cpu" else min(e, decoded)


def decoding(classifier: Classifier, photos: list[Path]) -> tuple[float, np.ndarray]:
    """d, seconds of one core an image; and the images, uint8 [n,R,R,3]."""
    encoded = [photos[number % len(photos)].read_bytes() for number in range(DECODED)]
    started = time.process_time()
    images = np.stack([decode(data, classifier.contract)[0] for data in encoded])
    return (time.process_time() - started) / DECODED, images


def evaluated(data: Path, model: Path, out: Path) -> float:
    """images/s of the command, as its run.json has it."""
    command = [sys.executable, "-m", "tencrop", "evaluate", str(data), "--model", str(model), "--out", str(out)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    speed: float = json.loads((out / "run.json").read_text())["images_per_s"]
    return speed


def resident_mib() -> float:
    """The most that any child has had so far."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / MIB


def main() -> None:
    """Measure in turns; print medians and the ratio of each round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="a folder of photographs, of the sizes to measure")
    parser.add_argument("--model", type=Path, default=EMBEDDED, help="the embedded one where none is named")
    parser.add_argument("--count", type=int, default=2000, help="images of a timed validation")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--memory", type=int, default=0, help=f"images of the validation whose memory is measured, over {FEW}"
    )
    options = parser.parse_args()
    photos = sorted(path for path in options.images.rglob("*") if is_image(path.name))
    classifier = open_classifier(options.model, EngineOptions())
    print(
        f"{machine()}; {classifier.engine.name} in {classifier.engine.precision}, forwards of {batch_size(classifier.engine)}"
    )
    with TemporaryDirectory() as scratch:
        root = Path(scratch)
        if options.memory:  # first: a process's largest child only grows
            memory = []
            for count in (FEW, options.memory):
                evaluated(
                    dealt(photos, classifier, count, root / f"memory{count}"),
                    options.model,
                    root / f"memory{count}-run",
                )
                memory.append(resident_mib())
            few, many = memory
            print(
                f"resident memory: {few:.0f} MiB at {FEW:,} images, {many:.0f} MiB at {options.memory:,}: {many - few:+.0f} MiB"
            )
        data, ratios = dealt(photos, classifier, options.count, root / "data"), []
        for number in range(options.rounds):
            d, images = decoding(classifier, photos)
            e = engine_alone(classifier, images)
            at_most = most(classifier, e, d)
            speed = evaluated(data, options.model, root / f"run{number}")
            ratios.append(speed / at_most)
            print(
                f"E {e:.1f} images/s, d {1000 * d:.2f} ms, L {at_most:.1f} images/s, evaluate {speed:.1f} images/s: {ratios[-1]:.3f} of L"
            )
    print(
        f"evaluate / L: {statistics.median(ratios):.3f} (each round: {', '.join(f'{ratio:.3f}' for ratio in ratios)}); to reach: 0.90"
    )


if __name__ == "__main__":
    main()
