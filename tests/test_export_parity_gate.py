"""export/parity_gate.py: the gate accepts the true files and rejects the mutants that a careless export could write."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tencrop.common.errors import WorkFailed
from tencrop.common.strict_config import dump, parse
from tencrop.export.net_graph import build_net_graph
from tencrop.export.parity_gate import EXACT_LIMITS, ExpectedAnswers, Parity, ParityRow, check_parity
from tencrop.export.sample_images import make_formula_images
from tencrop.export.tencrop_graph import build_tencrop_graph
from tencrop.export.torch_reference import TorchReference
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.contract import Contract
from tencrop.model.net_config import NetConfig
from tencrop.model.tencropfile import OUTPUTS

Files = tuple[onnx.ModelProto, onnx.ModelProto]
Mutation = Callable[[Checkpoint], Files]


def build_files(checkpoint: Checkpoint) -> Files:
    net = build_net_graph(checkpoint)
    return net, build_tencrop_graph(net, checkpoint.contract, checkpoint.mean)


def replace_net(checkpoint: Checkpoint, **changes: object) -> Checkpoint:
    net: NetConfig = replace(checkpoint.net, **changes)  # type: ignore[arg-type]
    return replace(checkpoint, recipe={**checkpoint.recipe, "net": dump(net)})


def remove_layers(op: str) -> Mutation:
    def mutate(checkpoint: Checkpoint) -> Files:
        layers = tuple(" ".join(token for token in stage.split() if token != op) for stage in checkpoint.net.layers)
        return build_files(replace_net(checkpoint, layers=layers))

    return mutate


def change_lrn(**changes: object) -> Mutation:
    return lambda checkpoint: build_files(replace_net(checkpoint, lrn=replace(checkpoint.net.lrn, **changes)))  # type: ignore[arg-type]


def swap_pool_and_norm(checkpoint: Checkpoint) -> Files:
    return build_files(
        replace_net(checkpoint, layers=tuple(stage.replace("lrn pool", "pool lrn") for stage in checkpoint.net.layers))
    )


def pad_before(checkpoint: Checkpoint) -> Files:
    return build_files(replace_net(checkpoint, conv1=replace(checkpoint.net.conv1, pad=(3, 0))))


def edit_tencrop(edit: Callable[[onnx.ModelProto], None]) -> Mutation:
    """Change tencrop.onnx alone."""

    def mutate(checkpoint: Checkpoint) -> Files:
        net, tencrop = build_files(checkpoint)
        edit(tencrop)
        return net, tencrop

    return mutate


def find_node(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    found: onnx.NodeProto = next(node for node in model.graph.node if node.name == name)
    return found


def read_bgr(model: onnx.ModelProto) -> None:
    order = numpy_helper.from_array(np.array([2, 1, 0]), "order")
    model.graph.initializer.append(order)
    gather = helper.make_node("Gather", ["images", "order"], ["bgr"], axis=3)
    find_node(model, "tencrop/planes").input[0] = "bgr"
    model.graph.node.insert(0, gather)


def change_constant(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[onnx.ModelProto], None]:
    def edit(model: onnx.ModelProto) -> None:
        stored = next(value for value in model.graph.initializer if value.name == name)
        stored.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(stored)), name))

    return edit


def cut_elsewhere(*parts: str) -> Callable[[onnx.ModelProto], None]:
    """Cut these parts out of the crop at another corner (export/view_maps.py)."""

    def edit(model: onnx.ModelProto) -> None:
        found = [node for node in model.graph.node if node.op_type == "Slice" and node.name.endswith(parts)]
        assert found
        for node in found:
            other = find_node(model, f"{node.name[:-1]}{(int(node.name[-1]) + 1) % 5}")
            node.input[1:3] = other.input[1:3]

    return edit


def mirror_twice(model: onnx.ModelProto) -> None:
    """Mirror the mirrored views back."""
    both = find_node(model, "tencrop/both")
    both.input[1] = both.input[0]


def forget_frame(name: str) -> Callable[[onnx.ModelProto], None]:
    """Leave zeros in place of a frame."""

    def edit(model: onnx.ModelProto) -> None:
        frame = find_node(model, name)
        frame.output[0] = "frame"
        model.graph.initializer.append(numpy_helper.from_array(np.zeros((), np.float32), "nothing"))
        place = list(model.graph.node).index(frame)
        model.graph.node.insert(place + 1, helper.make_node("Mul", ["frame", "nothing"], [name]))

    return edit


def shift_cut(name: str) -> Callable[[onnx.ModelProto], None]:
    """Cut a part one row below its place."""

    def edit(model: onnx.ModelProto) -> None:
        for key in ("starts", "ends"):
            change_constant(f"{name}.{key}", lambda place: place + np.array([1, 0]))(model)

    return edit


def pad_with_the_norms_value(model: onnx.ModelProto) -> None:
    """Put what the norm makes of a place without light around the crop, in place of zeros behind the norm."""
    frame = find_node(model, "tencrop/conv2/top")
    pads = next(attribute for attribute in frame.attribute if attribute.name == "pads")
    top, left, bottom, right = pads.ints
    amounts = numpy_helper.from_array(np.array([0, 0, top, left, 0, 0, bottom, right]), "amounts")
    value = numpy_helper.from_array(np.array(0.5, np.float32), "value")
    model.graph.initializer.extend([amounts, value])
    place = list(model.graph.node).index(frame)
    model.graph.node.insert(place, helper.make_node("Pad", [frame.input[0], "amounts", "value"], ["padded"]))
    frame.input[0] = "padded"
    frame.attribute.remove(pads)


def put_softmax_after_mean(model: onnx.ModelProto) -> None:
    softmax, by_view = find_node(model, "tencrop/softmax"), find_node(model, "tencrop/by_view")
    by_view.input[0] = softmax.input[0]
    mean = find_node(model, "probabilities")
    mean.output[0] = "mean_logits"
    model.graph.node.remove(softmax)
    model.graph.node.append(helper.make_node("Softmax", ["mean_logits"], ["probabilities"], axis=-1))


def spoil_views(model: onnx.ModelProto) -> None:
    """Make the answers of the ten views NaN, and leave their mean as it is."""
    views, sound = OUTPUTS[1], "sound_views"
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [sound if name == views else name for name in names]
    model.graph.initializer.append(numpy_helper.from_array(np.array(np.nan, np.float32), "nan"))
    model.graph.node.append(helper.make_node("Add", [sound, "nan"], [views]))


FRAMES = ("conv1/right", "conv1/bottom", "conv2/top", "conv2/bottom", "conv2/left", "conv2/right", "pool2/right")
CUTS = ("conv2/top.of/inside2", "conv2/right.of/inside2", "pool2/bottom.of/inside2", "views/inside2")
MUTANTS: dict[str, Mutation] = {
    "no LRN": remove_layers("lrn"),
    "k = 1": change_lrn(k=1.0),
    "pool before norm": swap_pool_and_norm,
    "alpha / 5": change_lrn(alpha=2e-5),
    "LRN inside columns": change_lrn(groups=2),
    "the 0.5 missing": remove_layers("dropout"),
    "zeros padded left and top": pad_before,
    "BGR for RGB": edit_tencrop(read_bgr),
    "mean not subtracted": edit_tencrop(change_constant("tencrop/mean", np.zeros_like)),
    "one view wrong": edit_tencrop(cut_elsewhere("inside3")),
    "one view's edge wrong": edit_tencrop(cut_elsewhere("conv1/right.of/inside0")),
    "frame of another view": edit_tencrop(cut_elsewhere("conv2/left.of/inside4")),
    **{f"no frame {name}": edit_tencrop(forget_frame(f"tencrop/{name}")) for name in FRAMES},
    **{f"{name} off by a row": edit_tencrop(shift_cut(f"tencrop/{name}")) for name in CUTS},
    "the norm's value around the crop": edit_tencrop(pad_with_the_norms_value),
    "mirrored twice": edit_tencrop(mirror_twice),
    "views are NaN": edit_tencrop(spoil_views),
    "softmax after the mean": edit_tencrop(put_softmax_after_mean),
}
SOURCE_MUTANTS: dict[str, Mutation] = {
    "LRN across columns": change_lrn(groups=1),
    "same-map norm missing": remove_layers("samemap"),
    "alpha not divided": change_lrn(alpha_divided=False),
    "mean not subtracted": edit_tencrop(change_constant("tencrop/mean", np.zeros_like)),
}


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    return make_formula_images(Contract(), 5)


@pytest.fixture(scope="module")
def expected(embedded: Checkpoint, images: np.ndarray) -> ExpectedAnswers:
    """Torch's answers to one image."""
    return TorchReference(embedded).expect(images[:1])


@pytest.fixture(scope="module")
def expected_of_source145(source145: Checkpoint, images: np.ndarray) -> ExpectedAnswers:
    return TorchReference(source145).expect(images[:1])


@pytest.mark.slow
def test_true_files_pass_on_every_engine_and_batch(embedded: Checkpoint, images: np.ndarray) -> None:
    parity = check_parity(*build_files(embedded), TorchReference(embedded).expect(images))
    assert parity.lrn_nodes == 2
    assert {(row.engine, row.batch) for row in parity.compared} == {
        (e, b) for e in ("onnxruntime", "openvino") for b in (1, 2, 5)
    }
    assert all(
        row.logits_relative < 1e-5 and row.probabilities < 1e-5 and row.top1_agreement == 1 for row in parity.compared
    )
    assert parity.largest_before_lrn is not None and set(parity.largest_before_lrn) == {"lrn1", "lrn2"}


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS)
def test_mutant_is_rejected(mutant: str, embedded: Checkpoint, expected: ExpectedAnswers) -> None:
    with pytest.raises(WorkFailed, match="parity"):
        check_parity(*MUTANTS[mutant](embedded), expected)


@pytest.mark.slow
def test_true_files_of_source145_pass(source145: Checkpoint, images: np.ndarray) -> None:
    parity = check_parity(*build_files(source145), TorchReference(source145).expect(images[:2]))
    assert parity.lrn_nodes == 2
    assert all(row.logits_relative < 1e-4 for row in parity.compared)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", SOURCE_MUTANTS)
def test_mutant_of_source145_is_rejected(
    mutant: str, source145: Checkpoint, expected_of_source145: ExpectedAnswers
) -> None:
    with pytest.raises(WorkFailed, match="parity"):
        check_parity(*SOURCE_MUTANTS[mutant](source145), expected_of_source145)


@pytest.mark.slow
def test_numbers_alone_reject_a_net_without_lrn(
    embedded: Checkpoint, expected: ExpectedAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tencrop.export.parity_gate.check_structure", lambda *_: None)
    with pytest.raises(WorkFailed, match="differs from torch"):
        check_parity(*MUTANTS["no LRN"](embedded), expected)


@pytest.mark.slow
def test_parity_json_is_read_as_it_was_written(embedded: Checkpoint, expected: ExpectedAnswers) -> None:
    parity = check_parity(*build_files(embedded), expected)
    keys = ["images", "limits", "lrn_nodes", "largest_before_lrn", "compared"]
    assert list(parity.to_json()) == keys and parity.images == 1
    assert parse(Parity, parity.to_json(), "parity.json") == parity
    int8 = replace(parity, calibrated_on=65, before_int8=parity.compared)
    assert list(int8.to_json()) == [*keys, "calibrated_on", "before_int8"]


def test_table_has_a_line_for_each_row() -> None:
    rows = tuple(ParityRow("openvino", batch, 1e-6, 2e-6, 1.0) for batch in (1, 2))
    parity = Parity(images=5, limits=EXACT_LIMITS, lrn_nodes=2, largest_before_lrn={"lrn1": 934.6}, compared=rows)
    lines = parity.format().splitlines()
    assert lines[0].split()[:2] == ["engine", "images"]
    assert lines[1].split() == ["openvino", "1", "1.0e-06", "2.0e-06", "100%"]
    assert len(lines) == 4 and lines[3] == "2 LRN nodes; largest activation 935 before lrn1"
