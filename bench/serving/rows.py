"""What is measured: each server, how it is started and asked, and which compare with which."""

import json
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.serving.post import Post, inference, raw
from tencrop.model.embedded import EMBEDDED

RIVALS = "bench.serving.rivals"
LITSERVE = "litserve==0.2.19"
ONNXRUNTIME = "onnxruntime==1.32.0"
OPENVINO = "openvino==2026.4.1"  # ours


@dataclass(frozen=True)
class Row:
    """A server. `command` follows its interpreter, {port} and {files} filled in; no packages: our own interpreter."""

    about: str
    command: str
    packages: tuple[str, ...] = ()
    path: str = "/predict"
    post: Post = raw
    index: Callable[[Any], int] = lambda answer: int(answer["index"])  # of the most probable label
    variables: dict[str, str] = field(default_factory=dict)
    precision: str = ""  # ours: what it is asked to run, as E then runs


def _ours(about: str, precision: str, more: str = "") -> Row:
    command = f"-m tencrop serve --port {{port}}{more}"
    return Row(
        about, command, path="/v1/predict", index=lambda answer: int(answer["top"][0]["index"]), precision=precision
    )


def _litserve_openvino(about: str, precision: str) -> Row:
    command = f"-m {RIVALS}.litserve_openvino {{port}} {EMBEDDED / 'tencrop.onnx'} {precision}"
    return Row(about, command, (LITSERVE, OPENVINO, "pillow", "numpy"))


LIBPYTHON = f"{sysconfig.get_config_var('LIBDIR')}/{sysconfig.get_config_var('INSTSONAME')}"  # that pytriton's stub was not linked with
ROWS = {
    "ours": _ours("`tencrop serve`", "auto"),
    "ours-int8": _ours("`tencrop serve` of `tencrop export --weights int8`", "", " {files}/int8/tencrop.onnx"),
    "fastapi": Row(
        "FastAPI + torch, eager fp32, one request at a time",
        f"-m {RIVALS}.fastapi_torch {{port}} {EMBEDDED / 'checkpoint'}",
        ("fastapi", "uvicorn", "torch==2.14.1", "torchvision==0.29.1", "pillow", "numpy", "pydantic", "safetensors"),
    ),
    "litserve": Row(
        "LitServe + onnxruntime fp32, batches of 8",
        f"-m {RIVALS}.litserve_onnxruntime {{port}} {{files}}/net.onnx {{files}}/mean.npy",
        (LITSERVE, ONNXRUNTIME, "pillow", "numpy"),
    ),
    "litserve-ours": _litserve_openvino("LitServe + our graph, OpenVINO bf16, batches of 8", "bf16"),
    "triton": Row(
        "Triton (nvidia-pytriton) + onnxruntime fp32, batches of 8",
        f"-m {RIVALS}.triton_onnxruntime {{port}} {{files}}/net.onnx {{files}}/mean.npy",
        ("nvidia-pytriton==0.7.0", ONNXRUNTIME, "pillow", "numpy"),
        "/v2/models/alexnet/infer",
        inference,
        lambda answer: int(answer["outputs"][0]["data"][0]),
        {"LD_LIBRARY_PATH": str(Path(LIBPYTHON).parent), "LD_PRELOAD": LIBPYTHON},
    ),
    "ours-fp32": _ours("`tencrop serve --precision fp32`", "fp32", " --precision fp32"),
    "litserve-ours-fp32": _litserve_openvino("LitServe + our graph, OpenVINO fp32, batches of 8", "f32"),
}
BLOCKS = {
    "As shipped": ("ours", "ours-int8", "fastapi", "litserve", "triton", "litserve-ours"),
    "Like for like: fp32 everywhere": ("ours-fp32", "fastapi", "litserve", "triton", "litserve-ours-fp32"),
}
GOALS = {"fastapi": 10.0, "litserve": 8.0, "triton": 8.0, "litserve-ours": 1.1}  # how many times theirs `ours` is to be
GOAL_OF_MOST = 0.85  # of L
CLIENTS = (1, 4, 16, 64)
COMPARED = 16  # clients, of the ratios
RATES = (0.5, 1.0, 2.0, 4.0)  # times a row's own capacity: the most that it gave any number of clients


def command_line(row: Row, python: Path, port: int, files: Path) -> list[str]:
    """How the server is started."""
    return [str(python), *row.command.format(port=port, files=files).split()]


def top1(row: Row, body: bytes) -> int:
    """What the server says that the image is."""
    return row.index(json.loads(body))
