"""Switches off usage reporting in onnxruntime and OpenVINO."""

import os
import sys


def disable_telemetry() -> None:
    """Has no effect on a runtime that is imported already: both read these settings at their import."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # openvino then takes a stub of its own
