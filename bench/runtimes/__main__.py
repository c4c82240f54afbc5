"""Runs tencrop.onnx and net.onnx in other runtimes, each in an environment of its own, and compares the answers.

python -m bench.runtimes [--rows NAME ...] [--envs FOLDER]

The files are the embedded checkpoint, exported again. Each runtime answers scikit-learn's two photographs and two
images of a formula, in batches of 1 and 4. The table has its largest difference of a probability from the onnxruntime
of this environment, or why it has no answer. An environment is made once, below --envs, from PyPI and npm.
"""

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import onnxruntime

from bench.machine import describe_machine
from bench.runtimes.files import write_tasks
from bench.runtimes.measure import Found, measure_row
from bench.runtimes.rows import ROWS
from bench.runtimes.table import render_table
from bench.serving.__main__ import ENVS
from tencrop.common.errors import BadInput, WorkFailed


def main() -> None:
    """Measure and print the table; an error is one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="NAME", help=", ".join(ROWS))
    parser.add_argument("--envs", type=Path, default=ENVS, help="the folder of the environments")
    options = parser.parse_args()
    try:
        with TemporaryDirectory() as scratch:
            found = measure(options.rows, options.envs.absolute(), Path(scratch))
    except (BadInput, WorkFailed) as error:
        sys.exit(str(error))
    print(f"{describe_machine()}; compared with onnxruntime {onnxruntime.__version__}\n\n{render_table(found)}")


def measure(names: list[str], envs: Path, scratch: Path) -> dict[str, Found]:
    """Measure each row; stderr says which one runs."""
    tasks, found = write_tasks(scratch), {}
    for name in names:
        print(name, file=sys.stderr)
        found[name] = measure_row(ROWS[name], envs / name, tasks)
        print(found[name], file=sys.stderr)
    return found


if __name__ == "__main__":
    main()
