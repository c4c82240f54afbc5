"""A clock that measures images/s after a warm-up."""

import time
from collections.abc import Iterable

Timing = dict[str, float]  # images_per_s, images, seconds, warm_up_seconds


class Clock:
    """Counts images for `seconds`, after a warm-up of `warm_up` images."""

    def __init__(self, seconds: float, warm_up: int) -> None:
        self.seconds, self.warm_up, self.created = seconds, warm_up, time.perf_counter()
        self.marks: list[tuple[float, int]] = []  # moment, images done by then

    def record(self, images: int) -> bool:
        """Record that `images` are done in all; return whether the time is over."""
        if images >= self.warm_up:
            self.marks.append((time.perf_counter(), images))
        return bool(self.marks) and self.marks[-1][0] - self.marks[0][0] >= self.seconds

    def count(self, batches: Iterable[int]) -> None:
        """Consume batches, each given as its number of images, until the time is over."""
        images = 0
        for size in batches:
            images += size
            if self.record(images):
                return

    def timing(self) -> Timing:
        """The speed, with the images and seconds that it was computed from."""
        (began, before), (stopped, after) = self.marks[0], self.marks[-1]
        images, seconds = after - before, stopped - began
        return {
            "images_per_s": images / seconds,
            "images": images,
            "seconds": seconds,
            "warm_up_seconds": began - self.created,
        }
