"""No damaged image breaks the server: 2,000 of the images that `python tests/mutants.py` posts by the ten thousand."""

from itertools import islice
from pathlib import Path

import pytest
from mutants import MIB, mutants, originals, post_all, resident_bytes
from serving import run_server

COUNT = 2000
GROWTH = 50 * MIB


@pytest.mark.slow
def test_damaged_images_are_answered_and_leave_no_memory_behind(null_model: Path) -> None:
    with run_server(str(null_model)) as (process, url):
        where, sound = url.removeprefix("http://"), originals()
        assert post_all(where, iter(sound)) == {200: len(sound)}  # every format in every mode it can write
        images = mutants(COUNT, seed=1)
        early = post_all(where, islice(images, COUNT // 4))
        before = resident_bytes(process)
        statuses = early + post_all(where, images)
        assert statuses.total() == COUNT
        assert statuses[200] > COUNT / 10 and statuses[400] > COUNT / 10  # some are still sound and some are broken
        assert resident_bytes(process) - before < GROWTH
        assert process.poll() is None
