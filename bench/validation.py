"""Compares the speed of `tencrop evaluate` with L, the limit that engine and decoders set on this machine.

python -m bench.validation --images FOLDER [--model M] [--count 2000] [--rounds 3] [--workers 0 auto]
    [--memory 20000] [EVALUATE OPTIONS]

E is the speed of the engine alone on decoded images, in images/s; d is the core-seconds to decode and resize one image.
On a CPU L = 1 / (1/E + d/cores); with a GPU L is the smaller of E and cores/d. Each round measures E and d on the
images of FOLDER, then `tencrop evaluate` on COUNT of them, once for each number of decoding processes in --workers.
--memory also compares resident memory at that many images and at 1,000. Options that are not named here go to
`tencrop evaluate`.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bench.machine import describe_machine
from tencrop.images.decode import decode
from tencrop.images.file_name import is_image
from tencrop.model.embedded import EMBEDDED
from tencrop.runtime.classifier import Classifier, open_classifier
from tencrop.runtime.cores import cores
from tencrop.runtime.engine import batch_size
from tencrop.runtime.engine_choice import EngineOptions, device_kind

CLASSES = 10  # classes of the model among which the images are distributed
DECODED = 200  # images on which E and d are measured
ALONE = 2.0  # least seconds to measure E
FEW = 1000  # images of the run whose memory is compared with that of --memory
AUTO = "auto"
MIB = 1024  # KiB, the unit of ru_maxrss


def link_dataset(photos: list[Path], classifier: Classifier, count: int, root: Path) -> Path:
    """Make a data set of `count` links to photographs, in folders of CLASSES classes of the model."""
    for number in range(count):
        folder = root / classifier.contract.labels[number % CLASSES].id
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:06}.jpg").symlink_to(photos[number % len(photos)].resolve())
    return root


def measure_engine(classifier: Classifier, images: np.ndarray) -> float:
    """E, images/s, with the batch size of a validation."""
    forward = batch_size(classifier.engine)
    classifier.forward(images[:forward])
    started, done = time.perf_counter(), 0
    while (took := time.perf_counter() - started) < ALONE:
        for start in range(0, len(images) - forward + 1, forward):
            classifier.forward(images[start : start + forward])
            done += forward
    return done / took


def limit(classifier: Classifier, e: float, d: float) -> float:
    """L, images/s. An engine on the CPU shares the cores with the decoders; a GPU does not."""
    decoded = cores() / d
    return 1 / (1 / e + 1 / decoded) if device_kind(classifier.engine.device) == "cpu" else min(e, decoded)


def measure_decoding(classifier: Classifier, photos: list[Path]) -> tuple[float, np.ndarray]:
    """d, core-seconds per image; and the decoded images, uint8 [n,R,R,3]."""
    encoded = [photos[number % len(photos)].read_bytes() for number in range(DECODED)]
    started = time.process_time()
    images = np.stack([decode(data, classifier.contract)[0] for data in encoded])
    return (time.process_time() - started) / DECODED, images


def run_evaluate(data: Path, model: Path, out: Path, workers: str = AUTO, more: Sequence[str] = ()) -> float:
    """Run `tencrop evaluate` with more options; return the images/s of its run.json."""
    command = [sys.executable, "-m", "tencrop", "evaluate", str(data), "--model", str(model), "--out", str(out)]
    command += [*([] if workers == AUTO else ["--workers", workers]), *more]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    speed: float = json.loads((out / "run.json").read_text())["images_per_s"]
    return speed


def peak_child_mib() -> float:
    """Peak resident memory, in MiB, of the largest child process so far."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / MIB


def main() -> None:
    """Measure in rounds; print each round, and the median ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="a folder of photographs of typical sizes")
    parser.add_argument("--model", type=Path, default=EMBEDDED, help="default: the embedded one")
    parser.add_argument("--count", type=int, default=2000, help="images of a timed validation")
    parser.add_argument("--rounds", type=int, default=3, help="how often to measure")
    parser.add_argument("--workers", nargs="+", default=[AUTO], help="numbers, or auto: as `evaluate` chooses")
    parser.add_argument("--memory", type=int, default=0, help=f"also compare memory at this many images with {FEW}")
    options, more = parser.parse_known_args()
    photos = sorted(path for path in options.images.rglob("*") if is_image(path.name))
    classifier = open_classifier(options.model, EngineOptions())
    engine = classifier.engine
    print(f"{describe_machine()}; {engine.name} in {engine.precision}, batches of {batch_size(engine)}")
    with TemporaryDirectory() as scratch:
        root = Path(scratch)
        if options.memory:  # first, because the peak over all children never falls
            compare_memory(classifier, photos, options, root)
        data = link_dataset(photos, classifier, options.count, root / "data")
        ratios: dict[str, list[float]] = {workers: [] for workers in options.workers}
        for number in range(options.rounds):
            d, images = measure_decoding(classifier, photos)
            e = measure_engine(classifier, images)
            at_most = limit(classifier, e, d)
            print(f"E {e:.1f} images/s, d {1000 * d:.2f} ms, L {at_most:.1f} images/s")
            for workers in ratios:
                speed = run_evaluate(data, options.model, root / f"run{number}-{workers}", workers, more)
                ratios[workers].append(speed / at_most)
                print(f"evaluate --workers {workers} {speed:.1f} images/s: {speed / at_most:.3f} of L")
    for workers, each in ratios.items():
        rounds = ", ".join(f"{ratio:.3f}" for ratio in each)
        print(f"--workers {workers}, evaluate / L: {statistics.median(each):.3f} (each round: {rounds}); goal: 0.90")


def compare_memory(classifier: Classifier, photos: list[Path], options: argparse.Namespace, root: Path) -> None:
    """Print the peak resident memory of a validation of FEW images and of one of --memory images."""
    memory = []
    for count in (FEW, options.memory):
        data = link_dataset(photos, classifier, count, root / f"memory{count}")
        run_evaluate(data, options.model, root / f"memory{count}-run")
        memory.append(peak_child_mib())
    few, many = memory
    figures = f"{few:.0f} MiB at {FEW:,} images, {many:.0f} MiB at {options.memory:,}: {many - few:+.0f} MiB"
    print(f"resident memory: {figures}")


if __name__ == "__main__":
    main()
