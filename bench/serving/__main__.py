"""Compares `tencrop serve` with other servers of the same net: closed and open loops of photographs, memory, ratios.

python -m bench.serving (--images FOLDER | --telephones) [--seconds 6] [--longest 60] [--rounds 2] [--rows NAME ...]
    [--envs FOLDER] [--json FILE] [--picture FILE]

Each round measures every row once. Each server has the machine to itself, beside the load generator. Each rival has a
virtual environment of its own under --envs, which is made once. The last round also measures open loops of the rows as
shipped. Their rates are multiples of the images/s that the row reached in the closed loops of that round. A load whose
p99 is printed lasts longer than --seconds where its answers need that, but at most --longest.

--telephones measures photographs of 12 megapixels, which are made from scikit-learn's two, in closed loops.
"""

import argparse
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.machine import describe_machine
from bench.serving.measure import Measurement, Result, WrongAnswer
from bench.serving.picture import draw
from bench.serving.process import exit_at_sigterm
from bench.serving.report import render_report
from bench.serving.rows import BLOCKS, FORMS, ROWS
from bench.serving.telephone import write_telephone_photographs
from tencrop.common.errors import BadInput, WorkFailed

ENVS = Path("../bench-envs")


def main() -> None:
    """Read the command line and measure; an error is one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    photographs = parser.add_mutually_exclusive_group(required=True)
    photographs.add_argument("--images", type=Path, help="a folder of photographs of typical sizes")
    photographs.add_argument("--telephones", action="store_true", help="photographs of 12 megapixels")
    parser.add_argument("--seconds", type=float, default=6, help="for each load, after its warm-up")
    parser.add_argument("--longest", type=float, default=60, help="seconds that a load may take to have a p99")
    parser.add_argument("--rounds", type=int, default=2, help="how often to measure")
    parser.add_argument("--rows", nargs="+", choices=ROWS, metavar="NAME", help=", ".join(ROWS))
    parser.add_argument("--envs", type=Path, default=ENVS, help="the folder of the rivals' environments")
    parser.add_argument("--json", type=Path, help="where to write every measurement")
    parser.add_argument("--picture", type=Path, help="where to draw the figures, as PNG")
    options = parser.parse_args()
    exit_at_sigterm()
    try:
        check(options)
        publish(run(options), options)
    except (BadInput, WorkFailed, WrongAnswer) as error:
        sys.exit(str(error))


def check(options: argparse.Namespace) -> None:
    """Check the options before anything is measured. Raises BadInput."""
    if options.seconds <= 0 or options.rounds < 1:
        raise BadInput("--seconds and --rounds must be more than 0")
    for file in (options.json, options.picture):
        if file and not file.absolute().parent.is_dir():
            raise BadInput(f"{file}: no folder {file.absolute().parent} to write it in")


def run(options: argparse.Namespace) -> Result:
    """Measure every row in every round."""
    form = "telephones" if options.telephones else "photographs"
    names = options.rows or list(dict.fromkeys(name for block in FORMS[form].values() for name in block.names))
    with_rates = () if options.telephones else BLOCKS["As shipped"].names
    with TemporaryDirectory() as folder:
        scratch = Path(folder)
        images = write_telephone_photographs(scratch / "telephones") if options.telephones else options.images
        measurement = Measurement(images, options.envs.absolute(), scratch, options.seconds, options.longest)
        rounds = [
            measurement.round(names, with_rates if number == options.rounds else ())
            for number in range(1, options.rounds + 1)
        ]
        return {
            "machine": describe_machine(),
            "form": form,
            "photographs": measurement.about,
            "seconds": options.seconds,
            "rounds": rounds,
        }


def publish(result: Result, options: argparse.Namespace) -> None:
    """Print the report; write the JSON file and the picture where they are asked for."""
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    if options.picture:
        draw(result, options.picture)
    print(render_report(result))


if __name__ == "__main__":
    main()
