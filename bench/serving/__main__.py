"""`tencrop serve` beside what a user would run instead, in one run: closed and open loops of photographs, memory, and the ratios.

python -m bench.serving --images FOLDER [--seconds 6] [--rounds 2] [--rows NAME ...] [--envs FOLDER] [--json FILE] [--picture FILE]

Rounds in turns, each server alone on the machine with the load generator. Each rival has an environment of its own under --envs, made
once. Open loops are measured in the last round, of the rows as shipped, at multiples of what the row gave in that round's closed loops.
"""

import argparse
import json
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.machine import machine
from bench.serving.measure import Measurement, Result, WrongAnswer
from bench.serving.picture import draw
from bench.serving.report import report
from bench.serving.rows import BLOCKS, ROWS
from tencrop.common.errors import BadInput, WorkFailed

ENVS = Path("../bench-envs")


def main() -> None:
    """Read the command line; what is wrong with it is one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="a folder of photographs, of the sizes to measure")
    parser.add_argument("--seconds", type=float, default=6, help="of each load, after its warm-up")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="NAME", help=", ".join(ROWS))
    parser.add_argument("--envs", type=Path, default=ENVS, help="where the rivals' environments are kept")
    parser.add_argument("--json", type=Path, help="where to write every measurement")
    parser.add_argument("--picture", type=Path, help="where to draw the table, a PNG")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # the server that runs is ended too
    try:
        check(options)
        publish(run(options), options)
    except (BadInput, WorkFailed, WrongAnswer) as error:
        sys.exit(str(error))


def check(options: argparse.Namespace) -> None:
    """Raises BadInput before anything is measured."""
    if options.seconds <= 0 or options.rounds < 1:
        raise BadInput("--seconds and --rounds are to be more than 0")
    for file in (options.json, options.picture):
        if file and not file.absolute().parent.is_dir():
            raise BadInput(f"{file}: no folder {file.absolute().parent} to write it in")


def run(options: argparse.Namespace) -> Result:
    """Every row in every round."""
    shipped = next(iter(BLOCKS.values()))
    with TemporaryDirectory() as scratch:
        measurement = Measurement(options.images, options.envs.absolute(), Path(scratch), options.seconds)
        rounds = [
            measurement.round(options.rows, shipped if number == options.rounds else ())
            for number in range(1, options.rounds + 1)
        ]
        return {"machine": machine(), "photographs": measurement.about, "seconds": options.seconds, "rounds": rounds}


def publish(result: Result, options: argparse.Namespace) -> None:
    """Print the report; write what was asked for."""
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    if options.picture:
        draw(result, options.picture)
    print(report(result))


if __name__ == "__main__":
    main()
