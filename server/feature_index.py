"""FeatureIndex: a feature file below the data root, and the data set whose images it lists."""

from collections.abc import Callable
from http import HTTPStatus

import numpy as np

from tencrop.common.errors import BadInput
from tencrop.evaluation.feature_file import FeatureFile
from tencrop.evaluation.neighbours import find_neighbours
from tencrop.images.errors import ImageError
from tencrop.images.limits import read_image_file
from tencrop.images.thumbnail import make_thumbnail
from tencrop.server.data_root import DataRoot
from tencrop.server.errors import ApiError
from tencrop.server.feature_schemas import NearImage
from tencrop.server.job_message import public_message

SUFFIX = ".parquet"
COST_OF_NUMBER = 1e-6  # in units of `estimate_cost`, of comparing a number of an index


class FeatureIndex:
    """An index and its images. Its methods read files, so they are called in threads."""

    def __init__(self, root: DataRoot, path: str, dataset: str | None) -> None:
        """Open the feature file `path`. `dataset` is by default the folder that has its name without SUFFIX.

        Raises ApiError 422 where `path` is no feature file below the root.
        """
        self._root, self._dataset = root, path.removesuffix(SUFFIX) if dataset is None else dataset
        self._place = root.find_file(path, "index")
        try:
            self._file = FeatureFile.open(self._place)
        except BadInput as error:
            raise self._refuse(error) from None
        self.origin, self.width = self._file.origin, self._file.width
        self.cost = self._file.rows * self._file.width * COST_OF_NUMBER

    def search(self, features: np.ndarray, top: int, is_stopped: Callable[[], bool]) -> list[NearImage]:
        """The images that are nearest to features [K]. Raises ApiError 422, and Stopped as `find_neighbours`."""
        try:
            return [NearImage(**each._asdict()) for each in find_neighbours(features, self._file, top, is_stopped)]
        except BadInput as error:
            raise self._refuse(error) from None

    def add_thumbnail(self, near: NearImage) -> None:
        """Add the thumbnail of an image that was found, or the reason why it has none."""
        try:
            file = self._root.find_file(f"{self._dataset}/{near.id}", "image")
            near.thumbnail = f"data:image/jpeg;base64,{make_thumbnail(read_image_file(file))}"
        except (ApiError, ImageError, OSError) as error:
            near.without_thumbnail = public_message(error)

    def _refuse(self, error: BadInput) -> ApiError:
        message = f"index: {public_message(error, self._place.parent)}"
        return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "bad_index", message)
