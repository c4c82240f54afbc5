"""Clock: images/s behind a warm-up."""

import time
from collections.abc import Iterable

Measured = dict[str, float]


class Clock:
    """Counts images from the end of a warm-up, `warm_up` images long, until `seconds` are over."""

    def __init__(self, seconds: float, warm_up: int) -> None:
        self.seconds, self.warm_up, self.made = seconds, warm_up, time.perf_counter()
        self.marks: list[tuple[float, int]] = []

    def over(self, images: int) -> bool:
        """Whether it is time to stop; so many images are done by now, in all."""
        if images >= self.warm_up:
            self.marks.append((time.perf_counter(), images))
        return bool(self.marks) and self.marks[-1][0] - self.marks[0][0] >= self.seconds

    def count(self, batches: Iterable[int]) -> None:
        """Take batches, by their number of images, until it is time to stop."""
        images = 0
        for size in batches:
            images += size
            if self.over(images):
                return

    def measured(self) -> Measured:
        """images/s, and what it was taken from."""
        (began, before), (ended, after) = self.marks[0], self.marks[-1]
        taken = {"images": after - before, "seconds": ended - began, "warm_up_seconds": began - self.made}
        return {"images_per_s": taken["images"] / taken["seconds"], **taken}
