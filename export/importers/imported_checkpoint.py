"""Makes a checkpoint of an imported net, where a NetConfig can say the net, so that it can be trained and made smaller.

The net keeps the scale of its pixels as a layer, because folded into conv1's weights it would change the rate at which
they learn by its square: by 3,300 for torchvision's nets.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tencrop.common.errors import BadInput
from tencrop.common.strict_config import dump
from tencrop.export.importers.graph_rewrite import find_softmax_input
from tencrop.export.importers.net_reading import read_net, shorten
from tencrop.export.importers.reference import SourceReference
from tencrop.export.net_graph import build_net_graph
from tencrop.export.parity_gate import ExpectedAnswers, relative_difference
from tencrop.export.session import open_session
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.contract import Contract
from tencrop.model.mean_and_pca import PixelStatistics

LIMIT = 1e-5  # largest difference between a logit of the checkpoint and of the source, relative to the largest logit

log = logging.getLogger(__name__)


def make_checkpoint(
    source: SourceReference, contract: Contract, expected: ExpectedAnswers, output: str, recipe: Mapping[str, Any]
) -> Checkpoint | None:
    """Make the checkpoint of an imported net; None, and a line in the log with the reason, where that is not possible.

    expected: the source's answers; output: "logits" or "probabilities"; recipe: plain data about the import.
    """
    try:
        checkpoint = _read_checkpoint(source, contract, output, recipe)
        checkpoint.check(source.source.path)
        _check_forward(checkpoint, expected)
    except BadInput as error:
        log.info("no checkpoint: %s", error.what)
        return None
    return checkpoint


def _read_checkpoint(source: SourceReference, contract: Contract, output: str, recipe: Mapping[str, Any]) -> Checkpoint:
    model, pixels = source.source.model, source.pixels
    logits = model.graph.output[0].name if output == "logits" else find_softmax_input(model)
    if logits is None:
        raise BadInput("its probabilities do not come out of a softmax")
    config, weights = read_net(model, logits, contract.crop)
    if pixels.channels == "bgr":
        if config.conv1.groups != 1:
            raise BadInput("its first convolution has groups, and its channels are in the order BGR")
        weights["conv1.weight"] = weights["conv1.weight"][:, ::-1]
    red, green, blue = (shorten(factor) for factor in pixels.rgb_factor.ravel())
    mean, reading = _widen_mean(pixels.rgb_mean, contract)
    net = dump(replace(config, scale=(red, green, blue)))
    no_noise = PixelStatistics(mean, np.zeros(3, np.float32), np.eye(3, dtype=np.float32))
    return Checkpoint({**recipe, "mean": reading, "net": net}, contract, no_noise, weights)


def _widen_mean(mean: np.ndarray, contract: Contract) -> tuple[np.ndarray, str]:
    """Widen a mean to the resized image's size; returns also how a recipe subtracts it.

    Around a mean of the crop's size its edge is repeated, which nothing reads.
    """
    side = mean.shape[-1]
    if side in (1, contract.resize):
        return np.ascontiguousarray(np.broadcast_to(mean, (3, contract.resize, contract.resize))), "aligned"
    before = (contract.resize - side) // 2
    around = (before, contract.resize - side - before)
    return np.pad(mean, ((0, 0), around, around), mode="edge"), "center"


def _check_forward(checkpoint: Checkpoint, expected: ExpectedAnswers) -> None:
    """Compare the checkpoint's logits with the source's. Raises BadInput where one differs by more than LIMIT."""
    session = open_session(build_net_graph(checkpoint).SerializeToString())
    crops = np.ascontiguousarray(expected.crops.reshape(-1, *expected.crops.shape[2:]))
    (logits,) = session.run(None, {"input": crops})
    difference = relative_difference(logits, expected, len(expected.images))
    if not difference <= LIMIT:  # NaN fails too
        raise BadInput(f"its logits differ from the net's by {difference:.1e} (allowed {LIMIT:.0e})")
