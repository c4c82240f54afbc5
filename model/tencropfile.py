"""tencrop.onnx as a file: a graph from uint8 images to probabilities, and the metadata that are needed to use it."""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto

from tencrop.common.errors import BadInput
from tencrop.common.strict_config import dump, parse
from tencrop.model.calibration import Calibration
from tencrop.model.contract import Contract
from tencrop.model.probe import Probe
from tencrop.model.published_errors import PublishedError

PREFIX = "tencrop."  # of the keys in the ONNX metadata_props
INPUT = "images"  # uint8 [N,R,R,3] RGB
CALIBRATION = PREFIX + "calibration"
OUTPUTS = ("probabilities", "view_probabilities")  # [N,C], [N,10,C]

Precision = Literal["fp32"]


@dataclass(frozen=True)
class Metadata:
    """The entries that tencrop adds to an ONNX file's metadata_props."""

    contract: Contract
    recipe: Mapping[str, Any]
    parity: Mapping[str, Any]
    checkpoint_sha256: str
    filter_picture: bytes  # conv1 as a PNG
    probe: Probe
    calibration: Calibration | None = None  # of `tencrop calibrate`; no export has one
    features: tuple[str, ...] = ()  # layers whose values are outputs of the graph, too (model/feature_output.py)
    precision: Precision | None = None  # that `--precision auto` computes in; None: the default of the device

    def to_props(self) -> dict[str, str]:
        """The entries of an export as key and text, for ONNX metadata_props."""
        contract = dump(self.contract)
        labels = contract.pop("labels")
        values = {
            "contract": json.dumps(contract, sort_keys=True),
            "labels": json.dumps(labels, ensure_ascii=False),
            "recipe": json.dumps(self.recipe, ensure_ascii=False),
            "parity": json.dumps(self.parity),
            "checkpoint_sha256": self.checkpoint_sha256,
            "kernels": base64.b64encode(self.filter_picture).decode(),
            "probe": json.dumps(dump(self.probe)),
            **({"features": json.dumps(self.features)} if self.features else {}),
            **({"precision": self.precision} if self.precision else {}),
        }
        return {PREFIX + key: value for key, value in values.items()}

    @classmethod
    def from_props(cls, props: Mapping[str, str], source: str) -> "Metadata":
        """Read ONNX metadata_props. Raises BadInput naming `source` where an entry is missing or malformed."""
        try:
            values = {key.removeprefix(PREFIX): value for key, value in props.items() if key.startswith(PREFIX)}
            contract = json.loads(values["contract"]) | {"labels": json.loads(values["labels"])}
            recipe, parity = json.loads(values["recipe"]), json.loads(values["parity"])
            if not isinstance(recipe, dict) or not isinstance(parity, dict):
                raise ValueError("recipe or parity is no table")
            parse(tuple[PublishedError, ...], recipe.get("expect", []), f"{source}: recipe.expect")
            return cls(
                contract=parse(Contract, contract, f"{source}: contract"),
                recipe=recipe,
                parity=parity,
                checkpoint_sha256=values["checkpoint_sha256"],
                filter_picture=base64.b64decode(values["kernels"], validate=True),
                probe=parse(Probe, json.loads(values["probe"]), f"{source}: probe"),
                calibration=_read_calibration(values.get("calibration"), source),
                features=parse(tuple[str, ...], json.loads(values.get("features", "[]")), f"{source}: features"),
                precision=_read_precision(values.get("precision"), source),
            )
        except KeyError as error:
            raise BadInput(f"{source}: not made by `tencrop export` (no metadata {PREFIX}{error.args[0]})") from None
        except (ValueError, TypeError, RecursionError) as error:
            raise BadInput(f"{source}: damaged metadata ({error})") from None


def _read_precision(text: str | None, source: str) -> Precision | None:
    if text in (None, "fp32"):
        return "fp32" if text else None
    raise BadInput(f"{source}: prefers the precision {text!r}, expected fp32")


def _read_calibration(text: str | None, source: str) -> Calibration | None:
    return None if text is None else parse(Calibration, json.loads(text), f"{source}: calibration")


@dataclass(frozen=True)
class TenCropFile:
    """A tencrop.onnx that was read from disk."""

    name: str
    folder: Path  # that holds it, and perhaps its summary.json
    sha256: str
    graph: bytes  # the whole file
    metadata: Metadata

    @classmethod
    def read(cls, path: Path) -> "TenCropFile":
        """Read a tencrop.onnx or the one of a folder.

        Raises BadInput where the file is missing, truncated, not ONNX, or not a tencrop.onnx.
        """
        path = path / "tencrop.onnx" if path.is_dir() else path
        try:
            graph = path.read_bytes()
        except OSError as error:
            raise BadInput(f"{path}: cannot be read ({error.strerror})", _advise_on_missing(path.parent)) from None
        model = parse_onnx(graph, str(path))
        metadata = Metadata.from_props({p.key: p.value for p in model.metadata_props}, str(path))
        _check_interface(model, metadata, str(path))
        name = path.stem if path.stem != "tencrop" else path.resolve().parent.name
        return cls(name, path.parent, hashlib.sha256(graph).hexdigest(), graph, metadata)


def _advise_on_missing(folder: Path) -> str:
    """Advise to export, where the folder is a checkpoint or a run that has some; else to name another."""
    from tencrop.model.run_checkpoints import holds_checkpoint  # with the reader of weights, which no model needs

    is_training = holds_checkpoint(folder)
    return f"export it first: tencrop export {folder} OUT" if is_training else "name a tencrop.onnx or its folder"


def _check_interface(model: onnx.ModelProto, metadata: Metadata, source: str) -> None:
    """Raise BadInput where the graph's inputs and outputs are not those of the contract, for any number of images."""
    side, classes, views = metadata.contract.resize, len(metadata.contract.labels), len(metadata.contract.views)
    wanted = {
        INPUT: (TensorProto.UINT8, [0, side, side, 3]),
        OUTPUTS[0]: (TensorProto.FLOAT, [0, classes]),
        OUTPUTS[1]: (TensorProto.FLOAT, [0, views, classes]),
    }
    found = {
        value.name: (value.type.tensor_type.elem_type, [dim.dim_value for dim in value.type.tensor_type.shape.dim])
        for value in (*model.graph.input, *model.graph.output)
    }
    for layer in metadata.features:
        width = found.get(layer, (0, [0]))[1][-1]  # any but 0
        wanted[layer] = (TensorProto.FLOAT, [0, views, width or -1])
    if found != wanted:
        shapes = ", ".join(f"{name} {shape}" for name, (_, shape) in found.items())
        more = "".join(f", {layer} [0, {views}, width]" for layer in metadata.features)
        raise BadInput(
            f"{source}: has {shapes} (0: any); its contract and {classes} labels want {INPUT} uint8 [0, {side}, "
            f"{side}, 3], {OUTPUTS[0]} [0, {classes}], {OUTPUTS[1]} [0, {views}, {classes}]{more}"
        )
    if max(metadata.probe.classes) >= classes or len(metadata.probe.classes) != len(metadata.probe.probabilities):
        raise BadInput(f"{source}: its probe names classes that it does not have")
    calibration = metadata.calibration
    if calibration and len(calibration.map.biases) not in (0, classes):
        raise BadInput(f"{source}: its calibration is of {len(calibration.map.biases)} classes, it has {classes}")


def add_calibration(graph: bytes, calibration: Calibration) -> bytes:
    """The bytes of a tencrop.onnx, followed by an entry of its metadata; an older calibration at the end is removed.

    Protocol Buffers reads bytes behind a message as more entries of its lists, so graph and weights stay as they are.
    Raises BadInput where an older calibration stands elsewhere.
    """
    for prop in parse_onnx(graph, "the model").metadata_props:
        if prop.key == CALIBRATION:
            plain = graph.removesuffix(_write_entry(prop.value))
            if plain == graph:
                raise BadInput("the model was calibrated, then written by another program", "export it again")
            graph = plain
    return graph + _write_entry(json.dumps(dump(calibration), ensure_ascii=False))


def _write_entry(calibration: str) -> bytes:
    entry = onnx.StringStringEntryProto(key=CALIBRATION, value=calibration)
    return bytes(onnx.ModelProto(metadata_props=[entry]).SerializeToString())


def parse_onnx(graph: bytes, source: str) -> onnx.ModelProto:
    """Parse an ONNX file. Raises BadInput where the bytes are not ONNX, or truncated."""
    try:
        model = onnx.load_model_from_string(graph)
    except DecodeError:
        raise BadInput(f"{source}: not an ONNX file, or a truncated one") from None
    if not model.graph.node:
        raise BadInput(f"{source}: not an ONNX file (no graph in it)")
    return model
