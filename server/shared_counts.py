"""Whole numbers that the processes of a server hold together, such as the images that are admitted."""

import mmap
from contextlib import AbstractContextManager, nullcontext

BYTES = 8  # of a number


class SharedCounts:
    """A table of numbers with a row for each process. A process adds to its own row; a total is the sum of a column.

    So what a process held is given back, however it ended, by clearing its row.
    """

    def __init__(self, columns: int, rows: int = 1, memory: mmap.mmap | None = None) -> None:
        """`memory` is shared by all processes; without it the one process has a table of its own."""
        self._columns, self._rows, self._row = columns, rows, 0
        size = self.size(columns) * rows
        self._numbers = memoryview(memory or bytearray(size))[:size].cast("q")
        self._lock: AbstractContextManager[None] = nullcontext()

    @staticmethod
    def size(columns: int) -> int:
        """The bytes of a row."""
        return columns * BYTES

    def take_row(self, row: int, lock: AbstractContextManager[None]) -> None:
        """Add to this row from now on. `lock` keeps the processes apart."""
        self._row, self._lock = row, lock

    def clear_row(self, row: int) -> None:
        """Give back what an ended process held."""
        first = row * self._columns
        self._numbers[first : first + self._columns] = memoryview(bytes(self.size(self._columns))).cast("q")

    def add(self, column: int, number: int) -> None:
        """Add a number, which may be negative, to this process's own part."""
        self._numbers[self._row * self._columns + column] += number

    def total(self, column: int) -> int:
        """The sum over all processes."""
        return sum(self.parts(column))

    def parts(self, column: int) -> list[int]:
        """Each process's own part, by rows."""
        return [self._numbers[row * self._columns + column] for row in range(self._rows)]

    def exclusive(self) -> AbstractContextManager[None]:
        """A block without other processes: nothing changes between a total and what is added after it."""
        return self._lock


class SharedCount:
    """One column of a table."""

    def __init__(self, counts: SharedCounts | None = None, column: int = 0) -> None:
        self._counts, self._column = counts or SharedCounts(column + 1), column

    def add(self, number: int, limit: int | None = None) -> bool:
        """Add a number, which may be negative, unless the total would exceed `limit`. Returns whether it was added."""
        if limit is not None:
            with self._counts.exclusive():
                return self.total() + number <= limit and self.add(number)
        self._counts.add(self._column, number)
        return True

    def total(self) -> int:
        """The sum over all processes."""
        return self._counts.total(self._column)
