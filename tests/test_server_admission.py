"""Admission: places are bounded, refused with 429 beyond the bound, and come back."""

import mmap
from contextlib import ExitStack
from pathlib import Path

import pytest

from tencrop.common.lock import FileLock
from tencrop.server import admission as admission_file
from tencrop.server.admission import Admission
from tencrop.server.errors import ApiError
from tencrop.server.shared_counts import SharedCounts


@pytest.fixture(autouse=True)
def _no_two_clients_in_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes of names differ from run to run, so that two clients of a test would now and then count as one."""
    numbers: dict[str, int] = {}
    monkeypatch.setattr(admission_file, "hash", lambda name: numbers.setdefault(name, len(numbers)), raising=False)


def test_full_house_is_refused_with_retry_after_and_places_come_back() -> None:
    admission = Admission(2)
    with admission.admit("one"):
        with admission.admit("one"), pytest.raises(ApiError) as refused, admission.admit("one"):
            pass
        with admission.admit("one"):
            pass
    assert refused.value.status_code == 429 and refused.value.headers == {"Retry-After": "1"}


def test_images_of_one_request_are_admitted_together_or_not_at_all() -> None:
    admission = Admission(3)
    with admission.admit("one", 2):
        with pytest.raises(ApiError), admission.admit("one", 2):
            pass
        assert admission.count_admitted() == 2
        admission.check_room("one", 1)
        admission.check_room("one", 0)
    assert admission.count_admitted() == 0


def test_a_client_that_fills_the_places_leaves_some_to_modest_clients() -> None:
    admission = Admission(16)
    with admission.admit("crowd", 16):
        for client in ("crowd", "late crowd"):
            with pytest.raises(ApiError), admission.admit(client, 3):
                pass
        with admission.admit("modest", 2):
            admission.check_room("other", 2)
            with pytest.raises(ApiError):
                admission.check_room("modest")
        admission.check_room("modest", 2)


def test_modest_clients_fill_twice_the_places_at_most() -> None:
    admission = Admission(16)
    with ExitStack() as held:
        for number in range(16):
            held.enter_context(admission.admit(f"client {number}", 2))
        assert admission.count_admitted() == 32
        with pytest.raises(ApiError):
            admission.check_room("late")
    assert admission.count_admitted() == 0


def test_a_client_that_fills_the_places_with_expensive_images_has_some_for_cheap_ones() -> None:
    """Clients behind one address look like one client."""
    admission = Admission(16)
    with admission.admit("address", 16, is_expensive=True):
        with pytest.raises(ApiError):
            admission.check_room("address", is_expensive=True)
        with admission.admit("address", 2), pytest.raises(ApiError):
            admission.check_room("address")


def test_places_come_back_after_an_error() -> None:
    admission = Admission(1)
    with pytest.raises(ZeroDivisionError), admission.admit("one"):
        _ = 1 / 0
    admission.check_room("one", 1)


def test_processes_admit_together_and_what_an_ended_one_held_comes_back(tmp_path: Path) -> None:
    """Two rows of one table, as two processes add to them."""
    memory = mmap.mmap(-1, 2 * SharedCounts.size(Admission.COLUMNS))
    tables = [SharedCounts(Admission.COLUMNS, 2, memory) for _ in range(2)]
    with ExitStack() as held:
        for row, table in enumerate(tables):
            table.take_row(row, FileLock(tmp_path / "lock"))
        here, there = (Admission(16, table) for table in tables)
        held.enter_context(here.admit("one", 10))
        with pytest.raises(ApiError), there.admit("two", 7):
            pass
        with there.admit("two", 6), pytest.raises(ApiError):
            here.check_room("one")
        with there.admit("two", 2):
            with pytest.raises(ApiError):
                there.check_room("one", 5)  # one client in both processes
            tables[1].clear_row(0)
            there.check_room("one", 14)
            assert here.count_admitted() == 2
        tables[0].add(0, 10)  # for the block that ends here
