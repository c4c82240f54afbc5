"""tencrop.onnx, the file that travels: a graph from uint8 images to probabilities, and in its metadata all that goes with it."""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from model.contract import Contract, Label
from model.errors import BadInput
from model.probe import Probe
from model.strict import dump, parse

PREFIX = "tencrop."
INPUT = "images"  # uint8 [N,R,R,3] RGB
OUTPUTS = ("probabilities", "view_probabilities")  # [N,C], [N,10,C]


@dataclass(frozen=True)
class Card:
    """The metadata of a tencrop.onnx."""

    contract: Contract
    recipe: Mapping[str, Any]
    parity: Mapping[str, Any]
    checkpoint_sha256: str
    kernels: bytes  # conv1 as a PNG
    probe: Probe

    def to_metadata(self) -> dict[str, str]:
        """As ONNX metadata_props."""
        bare = json.loads(self.contract.to_json())
        labels = bare.pop("labels")
        values = {
            "contract": json.dumps(bare, sort_keys=True),
            "labels": json.dumps(labels, ensure_ascii=False),
            "recipe": json.dumps(self.recipe, ensure_ascii=False),
            "parity": json.dumps(self.parity),
            "checkpoint_sha256": self.checkpoint_sha256,
            "kernels": base64.b64encode(self.kernels).decode(),
            "probe": json.dumps(dump(self.probe)),
        }
        return {PREFIX + key: value for key, value in values.items()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], source: str) -> "Card":
        """Raises BadInput naming `source` where an entry is missing or malformed."""
        try:
            values = {key.removeprefix(PREFIX): value for key, value in metadata.items() if key.startswith(PREFIX)}
            bare = json.loads(values["contract"]) | {"labels": json.loads(values["labels"])}
            return cls(
                contract=parse(Contract, bare, f"{source}: contract"),
                recipe=json.loads(values["recipe"]),
                parity=json.loads(values["parity"]),
                checkpoint_sha256=values["checkpoint_sha256"],
                kernels=base64.b64decode(values["kernels"], validate=True),
                probe=parse(Probe, json.loads(values["probe"]), f"{source}: probe"),
            )
        except KeyError as error:
            raise BadInput(f"{source}: not made by `tencrop export` (no metadata {PREFIX}{error.args[0]})") from None
        except ValueError as error:
            raise BadInput(f"{source}: damaged metadata ({error})") from None

    @property
    def labels(self) -> tuple[Label, ...]:
        """In the order of the probabilities."""
        return self.contract.labels


@dataclass(frozen=True)
class TenCropFile:
    """A tencrop.onnx as read once from disk."""

    name: str
    sha256: str
    graph: bytes
    card: Card

    @classmethod
    def read(cls, path: Path) -> "TenCropFile":
        """Raises BadInput where the file is missing, truncated, not ONNX, or not a tencrop.onnx."""
        path = path / "tencrop.onnx" if path.is_dir() else path
        try:
            graph = path.read_bytes()
        except OSError as error:
            raise BadInput(f"{path}: cannot be read ({error.strerror})") from None
        model = parse_onnx(graph, str(path))
        inputs, outputs = [i.name for i in model.graph.input], tuple(o.name for o in model.graph.output)
        if inputs != [INPUT] or outputs != OUTPUTS:
            raise BadInput(f"{path}: takes {inputs} and gives {list(outputs)}; a tencrop.onnx takes {INPUT} and gives {list(OUTPUTS)}")
        card = Card.from_metadata({p.key: p.value for p in model.metadata_props}, str(path))
        classes = model.graph.output[0].type.tensor_type.shape.dim[-1].dim_value
        if classes != len(card.labels):
            raise BadInput(f"{path}: {len(card.labels)} labels for {classes} classes")
        name = path.stem if path.stem != "tencrop" else path.resolve().parent.name
        return cls(name, hashlib.sha256(graph).hexdigest(), graph, card)


def parse_onnx(graph: bytes, source: str) -> onnx.ModelProto:
    """Raises BadInput where the bytes are no whole ONNX file."""
    try:
        model = onnx.load_model_from_string(graph)
    except DecodeError:
        raise BadInput(f"{source}: not an ONNX file, or a truncated one") from None
    if not model.graph.node:
        raise BadInput(f"{source}: not an ONNX file (no graph in it)")
    return model
