"""The files that rows of ours serve beside the embedded one."""

from dataclasses import replace
from pathlib import Path

import onnx
from onnx import helper

from bench.doors.null_model import write_null_model
from tencrop.export.run import export
from tencrop.model.contract import FULL_DECODING
from tencrop.model.embedded import EMBEDDED
from tencrop.model.tencropfile import TenCropFile

CLASSES = 100  # of the null model; it is sure of one of the photographs of telephones
INT8, FULL, NULL, NULL_FULL = "int8", "full", "null", "null-full"  # folders of tencrop.onnx files


def write_model(name: str, scratch: Path, images: Path) -> Path:
    """The folder `name` in `scratch` with its tencrop.onnx, which is written once. int8 is calibrated on `images`."""
    folder = scratch / name
    if folder.exists():
        return folder
    folder.mkdir()
    if name == INT8:
        export(EMBEDDED / "checkpoint", folder, INT8, 0, images)
    elif name == NULL:
        write_null_model(folder, CLASSES)
    else:
        decode_in_full(EMBEDDED if name == FULL else write_model(NULL, scratch, images), folder)
    return folder


def decode_in_full(model: Path, folder: Path) -> None:
    """Write a model's tencrop.onnx into `folder`, with a contract that decodes every JPEG in full, as before 0.2."""
    file = TenCropFile.read(model)
    contract = replace(file.metadata.contract, decode=FULL_DECODING)
    graph = onnx.load_model_from_string(file.graph)
    helper.set_model_props(graph, replace(file.metadata, contract=contract).to_props())
    onnx.save(graph, folder / "tencrop.onnx")
