"""ServerCounts: what the processes of a server count together."""

import mmap

from tencrop.server.admission import Admission
from tencrop.server.shared_counts import SharedCount, SharedCounts

BODIES, STREAMS, PIDS, ENDED_CPU = range(4)  # columns; those of the models follow
FIXED = 4


class ServerCounts(SharedCounts):
    """The bytes of bodies, the event streams and the admitted images of each model; and the processes themselves."""

    def __init__(self, models: int, rows: int = 1, memory: mmap.mmap | None = None) -> None:
        super().__init__(self.columns(models), rows, memory)
        self.bodies = SharedCount(self, BODIES)  # bytes of all unanswered requests
        self.event_streams = SharedCount(self, STREAMS)  # that follow a validation

    @staticmethod
    def columns(models: int) -> int:
        """The number of columns for so many models."""
        return FIXED + models * Admission.COLUMNS

    def open_admission(self, model: int, capacity: int) -> Admission:
        """The admission of a model, by its number."""
        return Admission(capacity, self, FIXED + model * Admission.COLUMNS)
