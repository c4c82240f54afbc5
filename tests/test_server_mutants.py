"""No damaged image breaks the server: 2,000 of those that `python tests/mutants.py` sends by the ten thousand."""

import subprocess
import sys
from collections.abc import Iterator
from itertools import islice

import pytest
from mutants import MIB, mutants, originals, resident, sent
from serving import address

COUNT = 2000
GROWTH = 50 * MIB


@pytest.fixture(scope="module")
def process() -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "tencrop", "serve", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        yield process
        process.kill()


@pytest.mark.slow
def test_mutants(process: "subprocess.Popen[str]") -> None:
    where = address(process).removeprefix("http://")
    whole = originals()
    assert sent(where, iter(whole)) == {200: len(whole)}  # every format in every mode it can write
    images = mutants(COUNT, seed=1)
    early = sent(where, islice(images, COUNT // 4))
    before = resident(process)
    statuses = early + sent(where, images)
    assert statuses.total() == COUNT
    assert statuses[200] > COUNT / 10 and statuses[400] > COUNT / 10  # they are neither all whole nor all dead
    assert resident(process) - before < GROWTH
    assert process.poll() is None
