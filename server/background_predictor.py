"""BackgroundPredictor: what requests leave of a served model, for a job."""

from collections.abc import Callable

import numpy as np

from tencrop.common.errors import Stopped
from tencrop.server.batcher import Batcher


class BackgroundPredictor:
    """A served model for a job: forwards of the job's own, and only when no request waits."""

    def __init__(self, batcher: Batcher, stopped: Callable[[], bool]) -> None:
        model = batcher.model
        self.name, self.members, self.contract, self.engine, self.sha256 = (
            model.name,
            model.members,
            model.contract,
            model.engine,
            model.sha256,
        )
        self._batcher, self._stopped = batcher, stopped

    def forward(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As the model's, and as `background` raises; the chunk that is stopped in is done again when the job goes on."""
        if self._stopped():
            raise Stopped("the job was stopped")
        return self._batcher.background(images, self._stopped)
