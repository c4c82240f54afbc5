"""The parity gate accepts the true files and rejects every mutant that a careless export could write."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tencrop.common.errors import WorkFailed
from tencrop.common.strict_config import dump
from tencrop.export.net_graph import build_net_graph
from tencrop.export.parity_gate import check_parity
from tencrop.export.sample_images import make_formula_images
from tencrop.export.tencrop_graph import build_tencrop_graph
from tencrop.export.torch_reference import TorchReference
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.contract import Contract
from tencrop.model.net_config import NetConfig

Files = tuple[onnx.ModelProto, onnx.ModelProto]
Mutation = Callable[[Checkpoint], Files]


def files(checkpoint: Checkpoint) -> Files:
    net = build_net_graph(checkpoint)
    return net, build_tencrop_graph(net, checkpoint.contract, checkpoint.mean)


def with_net(checkpoint: Checkpoint, **changes: object) -> Checkpoint:
    net: NetConfig = replace(checkpoint.net, **changes)  # type: ignore[arg-type]
    return replace(checkpoint, recipe={**checkpoint.recipe, "net": dump(net)})


def without(op: str) -> Mutation:
    def mutate(checkpoint: Checkpoint) -> Files:
        layers = tuple(" ".join(token for token in stage.split() if token != op) for stage in checkpoint.net.layers)
        return files(with_net(checkpoint, layers=layers))

    return mutate


def lrn(**changes: object) -> Mutation:
    return lambda checkpoint: files(with_net(checkpoint, lrn=replace(checkpoint.net.lrn, **changes)))  # type: ignore[arg-type]


def pool_before_norm(checkpoint: Checkpoint) -> Files:
    return files(
        with_net(checkpoint, layers=tuple(stage.replace("lrn pool", "pool lrn") for stage in checkpoint.net.layers))
    )


def padded_before(checkpoint: Checkpoint) -> Files:
    return files(with_net(checkpoint, conv1=replace(checkpoint.net.conv1, pad=(3, 0))))


def edited(edit: Callable[[onnx.ModelProto], None]) -> Mutation:
    """A mutant of tencrop.onnx alone."""

    def mutate(checkpoint: Checkpoint) -> Files:
        net, tencrop = files(checkpoint)
        edit(tencrop)
        return net, tencrop

    return mutate


def node(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    found: onnx.NodeProto = next(node for node in model.graph.node if node.name == name)
    return found


def bgr(model: onnx.ModelProto) -> None:
    order = numpy_helper.from_array(np.array([2, 1, 0]), "order")
    model.graph.initializer.append(order)
    gather = helper.make_node("Gather", ["images", "order"], ["bgr"], axis=3)
    node(model, "tencrop/planes").input[0] = "bgr"
    model.graph.node.insert(0, gather)


def constant(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[onnx.ModelProto], None]:
    def edit(model: onnx.ModelProto) -> None:
        stored = next(value for value in model.graph.initializer if value.name == name)
        stored.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(stored)), name))

    return edit


PARTS = ("body", "right", "bottom")  # that a view is put together from (export/shared_layers.py)


def one_view_wrong(model: onnx.ModelProto) -> None:
    """The lower left crop taken where the upper right one lies."""
    for part in PARTS:
        for place in (1, 2):
            node(model, f"tencrop/{part}3").input[place] = node(model, f"tencrop/{part}1").input[place]


def strip_wrong(model: onnx.ModelProto) -> None:
    """The edge of one view taken from another."""
    for place in (1, 2):
        node(model, "tencrop/right0").input[place] = node(model, "tencrop/right1").input[place]


def mirrored_twice(model: onnx.ModelProto) -> None:
    """The mirrored views, mirrored back."""
    for part in PARTS:
        for index in range(5, 10):
            node(model, f"tencrop/{part}{index}").input[0] = node(model, f"tencrop/{part}0").input[0]


def softmax_after_mean(model: onnx.ModelProto) -> None:
    softmax, by_view = node(model, "tencrop/softmax"), node(model, "tencrop/by_view")
    by_view.input[0] = softmax.input[0]
    mean = node(model, "probabilities")
    mean.output[0] = "mean_logits"
    model.graph.node.remove(softmax)
    model.graph.node.append(helper.make_node("Softmax", ["mean_logits"], ["probabilities"], axis=-1))


MUTANTS: dict[str, Mutation] = {
    "no LRN": without("lrn"),
    "k = 1": lrn(k=1.0),
    "pool before norm": pool_before_norm,
    "alpha / 5": lrn(alpha=2e-5),
    "LRN inside columns": lrn(groups=2),
    "the 0.5 missing": without("dropout"),
    "zeros padded left and top": padded_before,
    "BGR for RGB": edited(bgr),
    "mean not subtracted": edited(constant("tencrop/mean", np.zeros_like)),
    "one view wrong": edited(one_view_wrong),
    "one view's edge wrong": edited(strip_wrong),
    "mirrored twice": edited(mirrored_twice),
    "softmax after the mean": edited(softmax_after_mean),
}
SOURCE_MUTANTS: dict[str, Mutation] = {
    "LRN across columns": lrn(groups=1),
    "same-map norm missing": without("samemap"),
    "alpha not divided": lrn(alpha_divided=False),
    "mean not subtracted": edited(constant("tencrop/mean", np.zeros_like)),
}


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    return make_formula_images(Contract(), 5)


def test_true_files_pass_and_the_report_says_so(embedded: Checkpoint, images: np.ndarray) -> None:
    parity = check_parity(*files(embedded), TorchReference(embedded).expect(images))
    assert parity.lrn_nodes == 2
    assert {(row.engine, row.batch) for row in parity.compared} == {
        (e, b) for e in ("onnxruntime", "openvino") for b in (1, 2, 5)
    }
    assert all(
        row.logits_relative < 1e-5 and row.probabilities < 1e-5 and row.top1_agreement == 1 for row in parity.compared
    )
    assert parity.largest_before_lrn is not None and set(parity.largest_before_lrn) == {"lrn1", "lrn2"}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_mutant_is_rejected(mutant: str, embedded: Checkpoint, images: np.ndarray) -> None:
    with pytest.raises(WorkFailed, match="parity"):
        check_parity(*MUTANTS[mutant](embedded), TorchReference(embedded).expect(images[:1]))


def test_true_files_of_source145_pass(source145: Checkpoint, images: np.ndarray) -> None:
    parity = check_parity(*files(source145), TorchReference(source145).expect(images[:2]))
    assert parity.lrn_nodes == 2
    assert all(row.logits_relative < 1e-4 for row in parity.compared)


@pytest.mark.parametrize("mutant", SOURCE_MUTANTS)
def test_mutant_of_source145_is_rejected(mutant: str, source145: Checkpoint, images: np.ndarray) -> None:
    with pytest.raises(WorkFailed, match="parity"):
        check_parity(*SOURCE_MUTANTS[mutant](source145), TorchReference(source145).expect(images[:1]))


def test_numbers_alone_reject_a_net_without_lrn(
    embedded: Checkpoint, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tencrop.export.parity_gate.check_structure", lambda *_: None)
    with pytest.raises(WorkFailed, match="differs from torch"):
        check_parity(*MUTANTS["no LRN"](embedded), TorchReference(embedded).expect(images[:1]))
