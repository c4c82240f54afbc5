"""export/compress.py: fp16 weights and low-rank layers make a smaller checkpoint, or are refused."""

import numpy as np
import pytest

from tencrop.common.errors import BadInput
from tencrop.export.compress import cast_to_fp16, factorise_fc
from tencrop.export.net_graph import build_net_graph
from tencrop.model.checkpoint import Checkpoint


def test_fp16_rounds_matrices_only(source145: Checkpoint) -> None:
    small = cast_to_fp16(source145)
    assert {name for name, w in small.weights.items() if w.dtype == np.float32} == {
        n for n in small.weights if n.endswith("bias")
    }
    sizes = [build_net_graph(checkpoint).ByteSize() for checkpoint in (source145, small)]
    assert sizes[1] < 0.52 * sizes[0]
    assert cast_to_fp16(small) is small


def test_weight_beyond_fp16_is_refused(source145: Checkpoint) -> None:
    large = {**source145.weights, "fc8.weight": np.full_like(source145.weights["fc8.weight"], 1e5)}
    with pytest.raises(BadInput, match=r"fc8\.weight exceeds"):
        cast_to_fp16(Checkpoint(source145.recipe, source145.contract, source145.statistics, large))


def test_low_rank_shrinks_both_hidden_layers(source145: Checkpoint) -> None:
    small = factorise_fc(source145, 8)
    assert (small.net.fc6.rank, small.net.fc7.rank) == (8, 8)
    assert small.weights["fc6.down.weight"].shape == (8, 9216)
    with pytest.raises(BadInput, match="has rank 8 already"):
        factorise_fc(small, 4)
    with pytest.raises(BadInput, match="between 1 and"):
        factorise_fc(source145, 10**6)
