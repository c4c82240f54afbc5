"""Reads a folder as `optimum-cli export onnx` writes it, and as the Hugging Face hub has it, as a SourceNet.

https://huggingface.co/docs/optimum/exporters/onnx/usage_guides/export_a_model
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tencrop.common.errors import BadInput
from tencrop.export.importers.hub_preprocessor import read_json_object, read_preprocessor
from tencrop.export.importers.input_convention import InputConvention, format_numbers
from tencrop.export.importers.onnx_file import read_onnx
from tencrop.export.importers.source_net import SourceNet

NETS = ("model.onnx", "onnx/model.onnx")  # the first one that is there
CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
MAX_SHOWN = 3  # files that a message names


def read_hub_folder(folder: Path, given: InputConvention, labels: Path | None) -> SourceNet:
    """Read model.onnx with what config.json and preprocessor_config.json beside it state, and the user does not.

    Raises BadInput where there is no net, or where a file is damaged or asks for what ten views cannot do.
    """
    net = _find_net(folder)
    source = read_onnx(net)
    known, notes = source.known, list[str]()
    preprocessor = _find_beside(net, folder, PREPROCESSOR)
    if preprocessor:
        stated, lines = read_preprocessor(preprocessor, given)
        known = stated.fill_from(known)
        notes += [f"taken from {PREPROCESSOR}: {', '.join(_list_taken(stated, given))}"]
        notes += [f"unlike {PREPROCESSOR}: {line}" for line in lines]
    config = _find_beside(net, folder, CONFIG)
    document = read_json_object(config) if config else {}
    if document.get("problem_type") == "multi_label_classification":
        notes += [f"unlike {CONFIG}: an image has one class here, and a softmax goes over all of them"]
    if labels is None and document.get("id2label"):
        labels = config
        notes += [f"taken from {CONFIG}: the names of the classes (id2label)"]
    return replace(source, known=known, labels=labels, notes=tuple(notes))


def _find_net(folder: Path) -> Path:
    """The folder's net. Raises BadInput where it has none of the usual name."""
    found = next((folder / name for name in NETS if (folder / name).is_file()), None)
    if found:
        return found
    others = sorted(
        path.relative_to(folder).as_posix() for path in (*folder.glob("*.onnx"), *folder.glob("onnx/*.onnx"))
    )
    if others:
        raise BadInput(
            f"{folder}: holds neither {' nor '.join(NETS)}, but {', '.join(others[:MAX_SHOWN])}", "name the file itself"
        )
    raise BadInput(
        f"{folder}: holds neither {' nor '.join(NETS)}", f"optimum-cli export onnx --model {folder} OUT makes one"
    )


def _find_beside(net: Path, folder: Path, name: str) -> Path | None:
    """A file beside the net, else at the top of the folder."""
    return next((path for path in (net.parent / name, folder / name) if path.is_file()), None)


def _list_taken(stated: InputConvention, given: InputConvention) -> Iterator[str]:
    """Yield each value of the file that the user does not replace."""
    for name in ("channels", "scale", "mean", "std", "crop", "resize", "filter"):
        value = getattr(stated, name)
        if value is not None and getattr(given, name) is None and (name != "mean" or given.mean_image is None):
            shown = format_numbers(value) if isinstance(value, tuple) else value
            yield f"{name} {shown:g}" if isinstance(shown, float) else f"{name} {shown}"
