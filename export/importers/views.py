"""The ten views in plain numpy: what an imported net is compared on."""

import numpy as np

from tencrop.model.contract import Contract


def ten_views(planes: np.ndarray, mean: np.ndarray, contract: Contract) -> np.ndarray:
    """The ten views of [N,3,R,R], the mean subtracted: [N,10,3,crop,crop]."""
    size, centered = contract.crop, mean.shape[-1] == contract.crop
    planes = planes if centered else planes - mean
    views = []
    for top, left, mirrored in contract.views:
        view = planes[:, :, top : top + size, left : left + size]
        views.append(view[..., ::-1] if mirrored else view)
    stacked = np.stack(views, 1)
    return stacked - mean if centered else stacked
