"""The measured servers: how each one is started and asked, and which of them are compared."""

import json
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.serving.models import FULL, INT8, NULL, NULL_FULL
from bench.serving.post import Post, inference_request, raw_request
from tencrop.model.embedded import EMBEDDED

RIVALS = "bench.serving.rivals"
LITSERVE = "litserve==0.2.19"
ONNXRUNTIME = "onnxruntime==1.32.0"
OPENVINO = "openvino==2026.4.1"  # ours


@dataclass(frozen=True)
class Row:
    """A server. `command`: its interpreter's arguments, with {port} and {files}. No packages: our own interpreter.

    model: a folder of `write_model` that the row serves; empty: the embedded one.
    """

    about: str
    command: str
    packages: tuple[str, ...] = ()
    path: str = "/predict"
    post: Post = raw_request
    index: Callable[[Any], int] = lambda answer: int(answer["index"])  # of the most probable class
    variables: dict[str, str] = field(default_factory=dict)
    precision: str = ""  # of our rows; E is measured in the same precision
    model: str = ""


def _ours(about: str, precision: str, more: str = "", model: str = "") -> Row:
    served = f" {{files}}/{model}/tencrop.onnx" if model else ""
    return Row(
        about,
        f"-m tencrop serve --port {{port}}{more}{served}",
        path="/v1/predict",
        index=lambda answer: int(answer["top"][0]["index"]),
        precision=precision,
        model=model,
    )


def _litserve_openvino(about: str, precision: str) -> Row:
    command = f"-m {RIVALS}.litserve_openvino {{port}} {EMBEDDED / 'tencrop.onnx'} {precision}"
    return Row(about, command, (LITSERVE, OPENVINO, "pillow", "numpy"))


# pytriton's stub is not linked with this interpreter's libpython
LIBPYTHON = f"{sysconfig.get_config_var('LIBDIR')}/{sysconfig.get_config_var('INSTSONAME')}"
ROWS = {
    "ours": _ours("`tencrop serve`", "auto"),
    "ours-int8": _ours("`tencrop serve` of `tencrop export --weights int8`", "", model=INT8),
    "ours-full": _ours("`tencrop serve` of a file that decodes every JPEG in full", "", model=FULL),
    "ours-null": _ours("`tencrop serve` of a file that answers at once", "auto", model=NULL),
    "ours-null-full": _ours("the same, decoding every JPEG in full", "", model=NULL_FULL),
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
        inference_request,
        lambda answer: int(answer["outputs"][0]["data"][0]),
        {"LD_LIBRARY_PATH": str(Path(LIBPYTHON).parent), "LD_PRELOAD": LIBPYTHON},
    ),
    "ours-fp32": _ours("`tencrop serve --precision fp32`", "fp32", " --precision fp32"),
    "litserve-ours-fp32": _litserve_openvino("LitServe + our graph, OpenVINO fp32, batches of 8", "f32"),
}


@dataclass(frozen=True)
class Block:
    """Rows that are compared, ours first. Goals: the least ratio of ours to L, and to some of the other rows."""

    names: tuple[str, ...]
    of_limit: float | None = None
    goals: dict[str, float] = field(default_factory=dict)


BLOCKS = {
    "As shipped": Block(
        ("ours", "ours-int8", "fastapi", "litserve", "triton", "litserve-ours"),
        0.85,
        {"fastapi": 10.0, "litserve": 8.0, "triton": 8.0, "litserve-ours": 1.1},
    ),
    "Like for like: fp32 everywhere": Block(("ours-fp32", "fastapi", "litserve", "triton", "litserve-ours-fp32")),
}
TELEPHONE_BLOCKS = {
    "Photographs of telephones": Block(
        ("ours", "ours-full", "fastapi", "litserve", "triton", "litserve-ours"), 0.9, {"ours-full": 1.8}
    ),
    "Photographs of telephones, with an engine that answers at once": Block(
        ("ours-null", "ours-null-full"), None, {"ours-null-full": 3.6}
    ),
}
FORMS = {"photographs": BLOCKS, "telephones": TELEPHONE_BLOCKS}
CLIENTS = (1, 4, 16, 64)
COMPARED = 16  # clients at which the ratios are taken
RATES = (0.5, 1.0, 2.0, 4.0)  # multiples of a row's capacity: its largest images/s over CLIENTS


def command_line(row: Row, python: Path, port: int, files: Path) -> list[str]:
    """The command that starts the server."""
    return [str(python), *row.command.format(port=port, files=files).split()]


def top1_index(row: Row, body: bytes) -> int:
    """The index of the most probable class in the server's answer."""
    return row.index(json.loads(body))
