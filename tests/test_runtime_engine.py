"""runtime/engine.py and engine_choice.py: the fixed order of `auto`, refusals, and that no device is faked."""

import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tencrop.common.errors import BadInput, WorkFailed
from tencrop.export.net_graph import build_net_graph
from tencrop.model.checkpoint import Checkpoint
from tencrop.model.embedded import EMBEDDED
from tencrop.model.probe import TOLERANCE, formula_image
from tencrop.runtime.engine import engine_signature, open_engine
from tencrop.runtime.engine_choice import PRECISIONS, EngineChoice, EngineOptions, engine_choices
from tencrop.runtime.onnxruntime_engine import OnnxRuntimeEngine, _provider, _resolve_precision

CUDA, OPENVINO, CPU = (
    EngineChoice("onnxruntime", "cuda:0", "auto"),
    EngineChoice("openvino", "cpu", "auto"),
    EngineChoice("onnxruntime", "cpu", "auto"),
)
CUDA_FP32 = CUDA._replace(precision="fp32")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (EngineOptions(), [CUDA, CUDA_FP32, OPENVINO, CPU]),
        (EngineOptions("cpu"), [OPENVINO, CPU]),
        (EngineOptions("cuda"), [CUDA, CUDA_FP32]),
        (EngineOptions("cuda", precision="fp32"), [CUDA_FP32]),
        (EngineOptions("cuda:3"), [CUDA._replace(device="cuda:3"), CUDA_FP32._replace(device="cuda:3")]),
        (EngineOptions(engine="onnxruntime"), [CUDA, CUDA_FP32, CPU]),
        (EngineOptions(engine="tensorrt"), [EngineChoice("tensorrt", "cuda:0", "auto")]),
        (EngineOptions(precision="tf32"), [CUDA._replace(precision="tf32")]),
        (EngineOptions("cuda", precision="fp16"), [CUDA._replace(precision="fp16")]),
        (EngineOptions(precision="bf16"), [OPENVINO._replace(precision="bf16")]),
        (EngineOptions("cpu", precision="fp32"), [OPENVINO._replace(precision="fp32"), CPU._replace(precision="fp32")]),
    ],
)
def test_auto_is_a_fixed_order(options: EngineOptions, expected: list[EngineChoice]) -> None:
    assert engine_choices(options) == expected
    asked = replace(options, streams=3, deterministic=options.engine != "tensorrt")
    assert {choice[3:] for choice in engine_choices(asked)} == {(3, asked.deterministic)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (EngineOptions("gpu"), "device gpu"),
        (EngineOptions("cpu:1"), "device cpu:1"),
        (EngineOptions("cuda:x"), "device cuda:x"),
        (EngineOptions("cuda:"), "device cuda:"),
        (EngineOptions("cuda:\u00b2"), "device cuda:"),
        (EngineOptions(engine="torch"), "engine torch"),
        (EngineOptions(precision="int8"), "precision int8"),
        (EngineOptions("cpu", "tensorrt"), "engine tensorrt does not run on device cpu"),
        (EngineOptions("cuda", "openvino"), "engine openvino does not run on device cuda"),
        (EngineOptions("cpu", "onnxruntime", "bf16"), "precision bf16"),
        (EngineOptions("cpu", "auto", "fp16"), "precision fp16: not offered by .*, which computes in bf16 or fp32"),
        (EngineOptions("cpu", "onnxruntime", "fp16"), "precision fp16: not offered by .*, which computes in fp32"),
        (EngineOptions("cpu", "auto", "tf32"), "precision tf32: not offered by .*, which computes in bf16 or fp32"),
        (EngineOptions("cuda", "tensorrt", "tf32"), "precision tf32"),
        (EngineOptions(streams=0), "streams 0: expected at least 1"),
        (EngineOptions(engine="tensorrt", deterministic=True), "engine tensorrt is not deterministic"),
    ],
)
def test_impossible_options_are_refused_in_one_line(options: EngineOptions, message: str) -> None:
    with pytest.raises(BadInput, match=message) as refused:
        engine_choices(options)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("engine", ["onnxruntime", "tensorrt"])
def test_a_missing_gpu_is_refused_with_the_reason(engine: str) -> None:
    with pytest.raises(WorkFailed, match="NVIDIA driver") as refused:  # no machine has a hundred GPUs
        open_engine(b"", EngineChoice(engine, "cuda:99", "auto"))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("asked", "volta", "hopper"), [("auto", "fp32", "tf32"), ("fp32", "fp32", "fp32"), ("tf32", None, "tf32")]
)
def test_a_gpu_computes_in_tf32_where_it_has_it(asked: str, volta: str | None, hopper: str) -> None:
    choice = CUDA._replace(precision=asked)
    assert _resolve_precision(choice, 9) == hopper
    if volta:
        assert _resolve_precision(choice, 7) == volta
    else:
        with pytest.raises(WorkFailed, match="cuda:0 has no TF32"):
            _resolve_precision(choice, 7)


def test_tensorrt_computes_in_fp32_by_default() -> None:
    assert _resolve_precision(CUDA._replace(engine="tensorrt"), 9) == "fp32"


def test_each_precision_has_a_tolerance_of_the_probe() -> None:
    assert {"auto", *TOLERANCE} == {*PRECISIONS}


@pytest.mark.parametrize(("precision", "use_tf32"), [("fp32", "0"), ("tf32", "1"), ("fp16", "0")])
def test_cuda_gets_the_chosen_precision(precision: str, use_tf32: str) -> None:
    assert _provider(CUDA, precision)[1]["use_tf32"] == use_tf32


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_file_that_an_engine_cannot_run_is_one_line(engine: str) -> None:
    with pytest.raises(WorkFailed, match=f"{engine} on cpu cannot run this file") as refused:
        open_engine(b"not an onnx file", EngineChoice(engine, "cpu", "fp32"))
    assert "\n" not in str(refused.value)


def test_engines_agree_on_a_net(source145: Checkpoint) -> None:
    graph = build_net_graph(source145).SerializeToString()
    crops = np.random.default_rng(0).normal(0, 60, (2, 3, 224, 224)).astype(np.float32)
    one, two = (
        open_engine(graph, EngineChoice(engine, "cpu", "fp32")).run(crops)["logits"]
        for engine in ("onnxruntime", "openvino")
    )
    assert np.abs(one - two).max() < 1e-4 * np.abs(one).max()


def test_engines_that_come_and_go_leave_signals_working(source145: Checkpoint) -> None:
    """The alternate stack of the main thread, on which Python's handlers run, is still there."""
    graph = build_net_graph(source145).SerializeToString()
    first = open_engine(graph, EngineChoice("openvino", "cpu", "fp32"))
    second = open_engine(graph, EngineChoice("openvino", "cpu", "fp32"))
    del first, second
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: heard.append(number))
    try:
        signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert heard == [signal.SIGUSR1]


def test_a_run_in_device_memory_equals_the_plain_run(source145: Checkpoint) -> None:
    """The code path of a GPU, run on the CPU."""
    engine = open_engine(build_net_graph(source145).SerializeToString(), CPU)
    assert isinstance(engine, OnnxRuntimeEngine)
    random = np.random.default_rng(0)
    for images in (2, 1, 2):  # memory is used again
        crops = random.normal(0, 60, (images, 3, 224, 224)).astype(np.float32)
        np.testing.assert_array_equal(engine._run_on_device(crops, ["logits"])[0], engine.run(crops)["logits"])


def count_images() -> bytes:
    """A graph whose answer to each row x [3] is (x, the number of rows of the forward pass) [4]."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"], end=1),
        helper.make_node("Cast", ["shape"], ["count"], to=TensorProto.FLOAT),
        helper.make_node("Slice", ["x", "zero", "one", "one"], ["first"]),
        helper.make_node("Mul", ["first", "nothing"], ["zeros"]),
        helper.make_node("Add", ["zeros", "count"], ["counts"]),
        helper.make_node("Concat", ["x", "counts"], ["y"], axis=1),
    ]
    constants = [
        numpy_helper.from_array(np.array([value], kind), name)
        for name, value, kind in (("zero", 0, np.int64), ("one", 1, np.int64), ("nothing", 0, np.float32))
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", width]) for name, width in (("x", 3), ("y", 4))
    ]
    graph = helper.make_graph(nodes, "count", values[:1], values[1:], constants)
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()
    )


@pytest.mark.parametrize(("forward_images", "expected"), [(None, 5), (1, 1), (2, 2), (8, 8)])
def test_a_deterministic_engine_runs_forward_passes_of_one_size(forward_images: int | None, expected: int) -> None:
    engine = open_engine(count_images(), CPU)
    engine.forward_images = forward_images
    rows = np.arange(15, dtype=np.float32).reshape(5, 3)
    answers = engine.run(rows)["y"]
    np.testing.assert_array_equal(answers[:, :3], rows)
    assert answers[:, 3].tolist() == [expected] * 5


def test_onnxruntime_on_a_cpu_is_deterministic_image_by_image() -> None:
    assert open_engine(count_images(), CPU).forward_images is None
    assert open_engine(count_images(), CPU._replace(deterministic=True)).forward_images == 1
    assert open_engine(count_images(), OPENVINO._replace(deterministic=True)).forward_images is None


def test_deterministic_cuda_chooses_no_convolution_by_trial() -> None:
    assert "cudnn_conv_algo_search" not in _provider(CUDA, "fp32")[1]
    assert _provider(CUDA._replace(deterministic=True), "fp32")[1]["cudnn_conv_algo_search"] == "HEURISTIC"


@pytest.mark.parametrize("way", ["openvino", "onnxruntime", "onnxruntime through device memory"])
def test_streams_give_each_caller_its_own_answer(way: str) -> None:
    engine: Any = open_engine(count_images(), EngineChoice(way.split()[0], "cpu", "fp32", streams=3))
    if way.endswith("memory"):
        engine._run_on_cpu = engine._run_on_device
    batches = [np.full((1 + number % 4, 3), number, np.float32) for number in range(200)]
    with ThreadPoolExecutor(3) as callers:
        for batch, answer in zip(batches, callers.map(engine.run, batches), strict=True):
            np.testing.assert_array_equal(answer["y"][:, :3], batch)


@pytest.mark.parametrize(
    ("choice", "signature"),
    [
        (OPENVINO, "openvino on cpu in fp32"),  # as in the folders of earlier versions
        (OPENVINO._replace(deterministic=True), "openvino on cpu in fp32"),
        (OPENVINO._replace(streams=2), "openvino on cpu in fp32, 2 streams"),
        (CPU, "onnxruntime on cpu in fp32"),
        (CPU._replace(deterministic=True), "onnxruntime on cpu in fp32, forward passes of 1"),
    ],
)
def test_the_signature_tells_what_changes_bits(choice: EngineChoice, signature: str) -> None:
    assert engine_signature(open_engine(count_images(), choice._replace(precision="fp32"))) == signature


@pytest.mark.slow
@pytest.mark.parametrize("choice", [OPENVINO, CPU], ids=["openvino", "onnxruntime"])
def test_an_answers_bits_do_not_depend_on_what_shares_the_forward_pass(choice: EngineChoice) -> None:
    engine = open_engine((EMBEDDED / "tencrop.onnx").read_bytes(), choice._replace(deterministic=True))
    images = np.stack([formula_image(seed, 256, 256) for seed in range(8)])
    alone = [engine.run(image[None]) for image in images]
    random = np.random.default_rng(0)
    for size in (2, 3, 4, 8):
        chosen = random.permutation(8)[:size]
        for name, rows in engine.run(images[chosen]).items():
            np.testing.assert_array_equal(rows, np.concatenate([alone[number][name] for number in chosen]))
