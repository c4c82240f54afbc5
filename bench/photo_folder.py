"""Writes a data set where none is at hand: photographs of ImageNet's usual size, drawn by a formula, in class folders.

python -m bench.photo_folder FOLDER [--count 4000] [--different 200]

The classes are the embedded model's first ten. All images but the different ones are links to them.
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.doors.photographs import PHOTOGRAPHS
from tencrop.model.embedded import EMBEDDED
from tencrop.model.tencropfile import TenCropFile
from tencrop.runtime.cores import cores

CLASSES = 10
PHOTOGRAPH = PHOTOGRAPHS["500x375, as ImageNet's"]


def write_photo_folder(folder: Path, count: int, different: int) -> None:
    """Write `count` images below a folder, of which `different` are different."""
    classes = [label.id for label in TenCropFile.read(EMBEDDED).metadata.contract.labels[:CLASSES]]
    for name in classes:
        (folder / name).mkdir(parents=True)
    files = [folder / classes[number % CLASSES] / f"{number:06}.jpg" for number in range(count)]
    with ThreadPoolExecutor(cores()) as pool:
        for file, photograph in zip(files, pool.map(PHOTOGRAPH.encode, range(different)), strict=False):
            file.write_bytes(photograph)
    for number, file in enumerate(files[different:]):
        file.symlink_to(files[number % different].resolve())


def main() -> None:
    """Read the command line and write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--different", type=int, default=200)
    options = parser.parse_args()
    write_photo_folder(options.folder, options.count, options.different)


if __name__ == "__main__":
    main()
