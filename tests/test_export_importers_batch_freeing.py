"""importers/batch_freeing.py: a net of a fixed batch answers many images at once as it answers each by itself."""

import re

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tencrop.export.importers.batch_freeing import free_batch
from tencrop.export.importers.batch_place import FixedBatch
from tencrop.export.importers.constant_folding import fold_constants
from tencrop.export.session import open_session

IMAGES = np.random.default_rng(0).normal(size=(6, 3, 8, 8)).astype(np.float32)
WEIGHTS = {  # by the names in the graphs below
    "kernels": (4, 3, 2, 2),
    "token": (1, 1, 4),
    "positions": (1, 18, 4),
    "qkv": (4, 12),
    "square": (4, 4),
    "mask": (4, 1, 4, 4),
    "colour": (3, 1, 1),
    "row": (5, 192),
    "mixing": (16, 5),
}
PATCHES = """
    maps = Conv <strides = [2, 2]> (x, kernels)
    to_columns = Constant <value_ints = [B, 4, 16]> ()
    columns = Reshape(maps, to_columns)
    patches = Transpose <perm = [0, 2, 1]> (columns)
"""
HEADS = """
    first = Transpose <perm = [1, 0, 2]> (patches)
    all = MatMul(first, qkv)
    to_three = Constant <value_ints = [16, B, 3, 4]> ()
    three = Reshape(all, to_three)
    zero = Constant <value_ints = [0]> ()
    more = Unsqueeze(three, zero)
    turned = Transpose <perm = [3, 1, 2, 0, 4]> (more)
    there = Constant <value_ints = [3]> ()
    each = Squeeze(turned, there)
    i0 = Constant <value_int = 0> ()
    i1 = Constant <value_int = 1> ()
    i2 = Constant <value_int = 2> ()
    q0 = Gather <axis = 0> (each, i0)
    k0 = Gather <axis = 0> (each, i1)
    v0 = Gather <axis = 0> (each, i2)
    to_heads = Constant <value_ints = [16, H, 2]> ()
    q1 = Reshape(q0, to_heads)
    k1 = Reshape(k0, to_heads)
    v1 = Reshape(v0, to_heads)
    q2 = Transpose <perm = [1, 0, 2]> (q1)
    k2 = Transpose <perm = [1, 2, 0]> (k1)
    v2 = Transpose <perm = [1, 0, 2]> (v1)
    scores = MatMul(q2, k2)
    shares = Softmax <axis = -1> (scores)
    seen = MatMul(shares, v2)
    to_images = Constant <value_ints = [B, 2, 16, 2]> ()
    apart = Reshape(seen, to_images)
    last = Transpose <perm = [2, 0, 1, 3]> (apart)
    to_rows = Constant <value_ints = [R, 4]> ()
    rows = Reshape(last, to_rows)
    mixed = Gemm(rows, square)
    to_words = Constant <value_ints = [16, B, 4]> ()
    words = Reshape(mixed, to_words)
    y = Transpose <perm = [1, 0, 2]> (words)
"""
GRAPHS = {
    "a row": """
    to_row = Constant <value_ints = [B, -1]> ()
    flat = Reshape(x, to_row)
    y = Gemm <transB = 1> (flat, row)
    """,
    "a row by the sides of the images": """
    shape = Shape(x)
    at = Constant <value_ints = [0]> ()
    batch = Gather(shape, at)
    rest = Constant <value_ints = [192]> ()
    to_row = Concat <axis = 0> (batch, rest)
    y = Reshape(x, to_row)
    """,
    "tokens around patches": PATCHES
    + """
    shape = Constant <value_ints = [B, 1, 4]> ()
    tokens = Expand(token, shape)
    joined = Concat <axis = -2> (tokens, patches, tokens)
    placed = Add(joined, positions)
    third = Constant <value_int = 2> ()
    y = Gather <axis = 1> (placed, third)
    """,
    "attention, the sequence in front": PATCHES + HEADS,
    "shifted windows with a mask": PATCHES
    + """
    to_map = Constant <value_ints = [B, 4, 4, 4]> ()
    map = Reshape(patches, to_map)
    one = Constant <value_ints = [1]> ()
    nought = Constant <value_ints = [0]> ()
    end = Constant <value_ints = [9223372036854775807]> ()
    above = Slice(map, nought, one, one)
    below = Slice(map, one, end, one)
    rolled = Concat <axis = 1> (below, above)
    to_parts = Constant <value_ints = [B, 2, 2, 2, 2, 4]> ()
    parts = Reshape(rolled, to_parts)
    turned = Transpose <perm = [0, 1, 3, 2, 4, 5]> (parts)
    to_windows = Constant <value_ints = [W, 4, 4]> ()
    windows = Reshape(turned, to_windows)
    pairs = Transpose <perm = [0, 2, 1]> (windows)
    scores = MatMul(windows, pairs)
    to_masked = Constant <value_ints = [B, 4, 1, 4, 4]> ()
    by_image = Reshape(scores, to_masked)
    masked = Add(by_image, mask)
    to_scores = Constant <value_ints = [W, 4, 4]> ()
    again = Reshape(masked, to_scores)
    normed = LayerNormalization <axis = -1> (again, ones)
    mean = ReduceMean <axes = [1], keepdims = 0> (normed)
    to_map_again = Constant <value_ints = [B, 2, 2, 4]> ()
    y = Reshape(mean, to_map_again)
    """,
    "spread and padded maps": """
    shape = Shape(x)
    spread = Expand(x, shape)
    widths = Constant <value_ints = [0, 0, 1, 0, 0, 0, 0, 1]> ()
    wide = Pad(spread, widths)
    y = Sub(wide, colour)
    """,
    "maps one by one": """
    a, b, c = Split <axis = 1> (x, thirds)
    twice = Constant <value_ints = [1, 1, 2, 1]> ()
    tall = Tile(a, twice)
    flat = Flatten <axis = 2> (b)
    to_flat = Constant <value_ints = [B, -1]> ()
    flat2 = Reshape(flat, to_flat)
    pooled = GlobalAveragePool(tall)
    sides = Constant <value_ints = [2, 3]> ()
    single = Squeeze(pooled, sides)
    y = Mul(single, flat2)
    """,
    "a mean of one place, as torch strides it": PATCHES
    + """
    scored = Einsum <equation = "ncl,lk->nlkc"> (columns, mixing)
    mean = GlobalMaxPool(scored)
    to_one = Constant <value_ints = [C]> ()
    one = Reshape(mean, to_one)
    strided = Gather(one, places)
    to_row = Constant <value_ints = [B, 16]> ()
    y = Reshape(strided, to_row)
    """,
}
FIXED = {
    "a mean of the batch": ("y = ReduceMean <axes = [0]> (x)", "ReduceMean"),
    "an operator of no rule": ("axis = Constant <value_int = 3> ()\ny = CumSum(x, axis)", "CumSum"),
    "constants of two images": ("y = Add(x, pair)", "Add"),
    "one image of the batch": ("at = Constant <value_int = 0> ()\ny = Gather <axis = 0> (x, at)", "Gather"),
}


def build(body: str, batch: int) -> onnx.ModelProto:
    """A graph x -> y, its batch in the place of B in the text, and in that of what follows from it."""
    sizes = {"B": batch, "C": 16 * batch, "H": 2 * batch, "R": 16 * batch, "W": 4 * batch}
    for letter, number in sizes.items():
        body = re.sub(rf"(?<=[\[ ]){letter}(?=[,\]])", str(number), body)
    text = f'<ir_version: 8, opset_import: ["": 17]> net (float[{batch},3,8,8] x) => (float y) {{{body}}}'
    model = onnx.parser.parse_model(text)
    random = np.random.default_rng(1)
    values: dict[str, np.ndarray] = {
        name: random.normal(size=shape).astype(np.float32) for name, shape in WEIGHTS.items()
    }
    values["places"] = np.arange(16 * batch).reshape(batch, 16, 1, 1)
    values |= {"ones": np.ones(4, np.float32), "pair": np.ones((2, 3, 8, 8), np.float32), "thirds": np.array([1, 1, 1])}
    taken = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in values.items() if name in taken
    )
    return model


def run(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    (y,) = open_session(model.SerializeToString()).run(None, {"x": images})
    return np.asarray(y)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("what", GRAPHS)
def test_all_images_at_once_are_answered_as_by_themselves(what: str, batch: int) -> None:
    model = build(GRAPHS[what], batch)
    each = np.concatenate([run(model, IMAGES[start : start + batch]) for start in range(0, len(IMAGES), batch)])
    fold_constants(model, (batch, 3, 8, 8))
    free_batch(model)
    np.testing.assert_allclose(run(model, IMAGES), each, rtol=1e-5, atol=1e-6)
    assert np.ptp(each, axis=0).max() > 0.1  # the images differ, so a mixed batch fails


@pytest.mark.parametrize("what", FIXED)
def test_what_fixes_the_batch_is_named(what: str) -> None:
    body, operator = FIXED[what]
    model = build(body, 2)
    fold_constants(model, (2, 3, 8, 8))
    with pytest.raises(FixedBatch, match=f"^{operator} '[a-z]*' takes no other$"):
        free_batch(model)
