"""No word to anyone: onnxruntime and OpenVINO tell their makers that they are used, unless told not to before they are imported."""

import os
import sys

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # openvino then takes a stub of its own
