"""Writes what the Hugging Face hub expects of a model: README.md, config.json, model.onnx and others, beside our files.

The keys are those of transformers' configurations and of its BitImageProcessor. That form knows one crop and a mean for
each channel. So model.onnx holds the mean itself, and answers as the center view of tencrop.onnx does.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tencrop.common.errors import BadInput
from tencrop.export.graph_builder import GraphBuilder, read_opset, replace_input
from tencrop.export.importers.hub_folder import CONFIG, NETS, PREPROCESSOR
from tencrop.export.importers.hub_preprocessor import PILLOW_FILTERS
from tencrop.model.checkpoint import WEIGHTS
from tencrop.model.contract import CENTER_VIEW, Contract
from tencrop.model.feature_output import NET
from tencrop.model.hub_metadata import LIBRARY
from tencrop.model.measured_errors import read_measured_errors
from tencrop.model.model_card import CARD, SAFETENSORS, render_card
from tencrop.model.run_progress import RunProgress
from tencrop.model.tencropfile import Metadata, TenCropFile
from tencrop.model.yaml_text import yaml_lines

HUB_FILES = (CARD, CONFIG, PREPROCESSOR, NETS[0], SAFETENSORS)
INPUT, OUTPUT = "pixel_values", "logits"  # of model.onnx, as transformers names them


def check_card(out: Path) -> None:
    """Raise BadInput where `out` has a README.md that is no card of ours, for the export would replace it."""
    try:
        text = (out / CARD).read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise BadInput(f"{out / CARD}: cannot be read ({error.strerror})", "name another folder") from None
    if not {*yaml_lines(LIBRARY)} <= {*text.splitlines()}:
        raise BadInput(
            f"{out / CARD}: not written by tencrop, and --hub would replace it", "move it, or name another folder"
        )


def write_hub_folder(
    folder: Path,
    out: Path,
    net: onnx.ModelProto,
    mean: np.ndarray,
    checkpoint: Path | None = None,
    progress: RunProgress | None = None,
) -> None:
    """Write the hub's files to a folder with a tencrop.onnx, which will become `out`.

    mean: as for `build_tencrop_graph`. checkpoint: the folder with the net's weights; an imported net has none.
    Raises BadInput where `out` holds a summary.json that is damaged.
    """
    file = replace(TenCropFile.read(folder), name=out.resolve().name)
    contract = file.metadata.contract
    (folder / NETS[0]).write_bytes(build_center_graph(net, contract, mean).SerializeToString())
    _write_json(folder / CONFIG, describe_config(file.metadata))
    _write_json(folder / PREPROCESSOR, describe_preprocessor(contract))
    if checkpoint:
        shutil.copyfile(checkpoint / WEIGHTS, folder / SAFETENSORS)
    card = render_card(file, read_measured_errors(out, file.sha256), progress or RunProgress())
    (folder / CARD).write_text(card, encoding="utf-8")


def build_center_graph(net: onnx.ModelProto, contract: Contract, mean: np.ndarray) -> onnx.ModelProto:
    """`pixel_values` float32 [N,3,crop,crop], RGB from 0 to 255, of the center view -> `logits` [N,C]."""
    graph = GraphBuilder(read_opset(net))
    prefixed = onnx.compose.add_prefix(net, NET)
    (crops,), (logits,) = prefixed.graph.input, prefixed.graph.output
    graph.initializers.extend(prefixed.graph.initializer)
    centered = graph.add_node("Sub", "centered", INPUT, graph.add_constant("mean", _cut_center(mean, contract)))
    replace_input(prefixed.graph.node, crops.name, centered)
    graph.nodes.extend(prefixed.graph.node)
    graph.add_node("Identity", OUTPUT, logits.name)
    side, classes = contract.crop, len(contract.labels)
    return graph.build("center", {INPUT: ("N", 3, side, side)}, {OUTPUT: ("N", classes)})


def _cut_center(mean: np.ndarray, contract: Contract) -> np.ndarray:
    """The part of a mean image under the center view; a mean of the crop's size or of one pixel is whole."""
    if mean.shape[-1] in (1, contract.crop):
        return mean
    top, left, _ = contract.views[CENTER_VIEW]
    return mean[:, top : top + contract.crop, left : left + contract.crop]


def describe_config(metadata: Metadata) -> dict[str, Any]:
    """config.json: the classes, and the architecture of a net of ours. Of an imported net it is not known."""
    names = [label.name for label in metadata.contract.labels]
    is_alexnet = "net" in metadata.recipe
    return {
        **({"architectures": ["AlexNet"], "model_type": "alexnet"} if is_alexnet else {}),
        "image_size": metadata.contract.crop,
        "num_channels": 3,
        "problem_type": "single_label_classification",
        "id2label": {str(index): name for index, name in enumerate(names)},
        "label2id": {name: index for index, name in enumerate(names)},
    }


def describe_preprocessor(contract: Contract) -> dict[str, Any]:
    """preprocessor_config.json: the center crop of the contract, its pixels from 0 to 255."""
    return {
        "image_processor_type": "BitImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": contract.resize},
        "resample": PILLOW_FILTERS.index(contract.filter),
        "do_center_crop": True,
        "crop_size": {"height": contract.crop, "width": contract.crop},
        "do_rescale": False,
        "do_normalize": False,
    }


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
