"""No damaged image breaks the server: 2,000 of those that `python tests/mutants.py` sends by the ten thousand."""

from itertools import islice

import pytest
from mutants import MIB, mutants, originals, resident, sent
from serving import served

COUNT = 2000
GROWTH = 50 * MIB


@pytest.mark.slow
def test_mutants() -> None:
    with served() as (process, url):
        where, whole = url.removeprefix("http://"), originals()
        assert sent(where, iter(whole)) == {200: len(whole)}  # every format in every mode it can write
        images = mutants(COUNT, seed=1)
        early = sent(where, islice(images, COUNT // 4))
        before = resident(process)
        statuses = early + sent(where, images)
        assert statuses.total() == COUNT
        assert statuses[200] > COUNT / 10 and statuses[400] > COUNT / 10  # they are neither all whole nor all dead
        assert resident(process) - before < GROWTH
        assert process.poll() is None
