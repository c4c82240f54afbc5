"""ServerCounts: what the processes of a server count together."""

import mmap
import os
from contextlib import AbstractContextManager

from tencrop.server.admission import Admission
from tencrop.server.shared_counts import SharedCount, SharedCounts

BODIES, STREAMS, PIDS, ENDED_CPU, CONNECTIONS, ACCEPTING = range(6)  # columns; those of the models follow
FIXED = 6
MICRO = 1e6


class ServerCounts(SharedCounts):
    """The bytes of bodies, the event streams and the admitted images of each model; and the processes themselves."""

    def __init__(self, models: int, rows: int = 1, memory: mmap.mmap | None = None) -> None:
        super().__init__(self.columns(models), rows, memory)
        self.bodies = SharedCount(self, BODIES)  # bytes of all unanswered requests
        self.event_streams = SharedCount(self, STREAMS)  # that follow a validation
        self.connections = SharedCount(self, CONNECTIONS)  # open ones of all workers
        self.accepting = SharedCount(self, ACCEPTING)  # workers that accept connections

    def take_row(self, row: int, lock: AbstractContextManager[None]) -> None:
        """Add to this row from now on, as this process."""
        super().take_row(row, lock)
        self.add(PIDS, os.getpid())

    def list_processes(self) -> list[int]:
        """The ids of the processes that live, and of some that have just ended."""
        return [pid for pid in self.parts(PIDS) if pid]

    def add_ended_cpu(self, seconds: float) -> None:
        """Count the CPU time of an ended process."""
        self.add(ENDED_CPU, round(seconds * MICRO))

    def ended_cpu_seconds(self) -> float:
        """The CPU time of all processes that have ended."""
        return self.total(ENDED_CPU) / MICRO

    def have_others_fewer_connections(self) -> bool:
        """Return whether a worker that accepts connections has fewer open ones than this process."""
        connections = self.parts(CONNECTIONS)
        return any(
            accepts and number < connections[self._row]
            for number, accepts in zip(connections, self.parts(ACCEPTING), strict=True)
        )

    @staticmethod
    def columns(models: int) -> int:
        """The number of columns for so many models."""
        return FIXED + models * Admission.COLUMNS

    def open_admission(self, model: int, capacity: int) -> Admission:
        """The admission of a model, by its number."""
        return Admission(capacity, self, FIXED + model * Admission.COLUMNS)
