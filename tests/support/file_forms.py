"""Lists the form of ONNX files: the operator sets that they import and the version of their IR."""

from pathlib import Path

import onnx

FORM = ({"": 17}, 8)  # of every file that is not imported from a newer one; onnxruntime 1.15 reads it


def list_forms(folder: Path) -> dict[str, tuple[dict[str, int], int]]:
    """(version of each operator set, version of the IR) of each ONNX file in a folder, by the file's name."""
    models = {path.name: onnx.load(path) for path in folder.glob("*.onnx")}
    return {
        name: ({opset.domain: opset.version for opset in model.opset_import}, model.ir_version)
        for name, model in models.items()
    }
