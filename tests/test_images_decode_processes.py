"""images/decode_processes.py: processes that decode, what they leave behind, and what happens where they die."""

import fcntl
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import partial

import numpy as np
import pytest

from tencrop.common.errors import BadInput, WorkFailed
from tencrop.images.decode_processes import FEW, DecodeProcesses, choose_count
from tencrop.images.errors import ImageTooLarge
from tencrop.images.shared_array import SharedArray

PID = "__import__('os').getpid()"
KILL = f"__import__('os').kill({PID}, 9)"
ONE_LARGE = "__import__('tencrop.images.large_image_lock').images.large_image_lock.one_large"

# Prints the id of its decoding process, and waits.
PARENT = f"""
from tencrop.images.decode_processes import DecodeProcesses
processes = DecodeProcesses(eval, 1)
print(processes({PID!r}), flush=True)
input()
"""


def fill(shared: SharedArray, row: int, value: int) -> None:
    """Fill a row, in a process that imports this module."""
    shared.array[row] = value


@pytest.fixture(scope="module")
def processes() -> Iterator[DecodeProcesses]:
    """One process that runs Python's expressions."""
    with closing(DecodeProcesses(eval, 1)) as opened:
        yield opened


def test_results_and_errors_come_back(processes: DecodeProcesses) -> None:
    assert processes("6 * 7") == 42
    assert processes(PID) != os.getpid()
    with pytest.raises(ZeroDivisionError) as raised:
        processes("1 / 0")
    assert "line 1, in <module>" in raised.value.__notes__[0]  # where the process raised it
    raising = "(_ for _ in ()).throw(__import__('tencrop.images.errors').images.errors.ImageTooLarge('wide', 'cut'))"
    with pytest.raises(ImageTooLarge, match="wide; cut"):
        processes(raising)


def test_a_process_that_dies_is_replaced(processes: DecodeProcesses) -> None:
    first = processes(PID)
    os.kill(first, signal.SIGKILL)
    second = processes(PID)
    assert second not in (first, os.getpid())
    assert processes(PID) == second


def test_a_call_of_which_processes_die_is_given_up(processes: DecodeProcesses) -> None:
    with pytest.raises(WorkFailed, match=r"3 decoding processes died of the same image \(SIGKILL\); .* --workers"):
        processes(KILL)
    assert processes("1") == 1


def test_the_exit_code_of_a_process_is_told(processes: DecodeProcesses) -> None:
    with pytest.raises(WorkFailed, match=r"\(exit code 7\)"):
        processes("__import__('sys').exit(7)")


def test_ctrl_c_does_not_reach_the_processes(processes: DecodeProcesses) -> None:
    process = processes(PID)
    os.kill(process, signal.SIGINT)
    assert processes(PID) == process
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])  # it still reaches this one


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
def test_nothing_outlives_the_parent(number: signal.Signals) -> None:
    before = set(os.listdir("/dev/shm"))
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        process = os.pidfd_open(int(parent.stdout.readline()))
        parent.send_signal(number)
    assert select.select([process], [], [], 60)[0]  # it has ended
    os.close(process)
    assert not {name for name in set(os.listdir("/dev/shm")) - before if "tencrop" in name}


def test_one_process_decodes_a_large_image_and_its_death_lets_the_next_one() -> None:
    take = f"{ONE_LARGE}.__enter__()"
    with closing(DecodeProcesses(eval, 2)) as processes:
        first = processes(PID)
        assert processes("0") == 0  # by the second, for the idle take turns
        assert processes(take) is None
        descriptor = processes._lock
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.kill(first, signal.SIGKILL)
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def test_an_array_is_shared() -> None:
    with closing(SharedArray((2, 3))) as shared:
        shared.array[:] = 7
        with closing(DecodeProcesses(partial(fill, shared), 1, [shared.descriptor])) as processes:
            processes(1, 9)
        np.testing.assert_array_equal(shared.array, [[7, 7, 7], [9, 9, 9]])


def test_threads_decode_on_few_cores_and_where_there_is_no_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [choose_count(None, cores) for cores in (1, FEW, FEW + 1, 16)] == [0, 0, FEW + 1, 16]
    assert [choose_count(wanted, 2) for wanted in (0, 3)] == [0, 3]
    monkeypatch.delattr(os, "memfd_create")
    assert [choose_count(wanted, 16) for wanted in (None, 0)] == [0, 0]
    with pytest.raises(BadInput, match="need Linux"):
        choose_count(3, 16)
