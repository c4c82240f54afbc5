"""source file -> OUT: net.onnx, tencrop.onnx, parity.json. `tencrop import SOURCE OUT`."""

from collections.abc import Callable, Iterator, Mapping
from os.path import isfile
from pathlib import Path
from typing import Any

import onnx

from tencrop.common.atomic import atomic_folder
from tencrop.common.errors import BadInput, one_line
from tencrop.export.images import make_formula_images
from tencrop.export.importers.caffe import read_caffe
from tencrop.export.importers.gate import check_import
from tencrop.export.importers.input_convention import InputConvention
from tencrop.export.importers.labels import read_labels
from tencrop.export.importers.onnx_file import read_onnx
from tencrop.export.importers.pixels import PixelTransform, list_pixel_assumptions, resolve_pixels
from tencrop.export.importers.reference import Reference, detect_output_kind
from tencrop.export.importers.source_net import SourceNet
from tencrop.export.importers.source_to_net import SourceInput, convert_to_net, draw_first_kernels, read_source_input
from tencrop.export.importers.torchvision_alexnet import read_alexnet
from tencrop.export.parity import BATCHES, format_parity
from tencrop.export.tencrop_graph import FILES, build_tencrop_graph, write_files
from tencrop.model.contract import Contract
from tencrop.model.probe import Probe
from tencrop.model.tencropfile import Metadata

READERS: Mapping[str, Callable[[Path, InputConvention], SourceNet]] = {
    ".pth": read_alexnet,
    ".pth.tar": read_alexnet,
    ".pt": read_alexnet,
    ".safetensors": read_alexnet,
    ".caffemodel": read_caffe,
}


def import_net(path: Path, out: Path, said: InputConvention, labels: Path | None) -> Metadata:
    """Write the files, each whole or not at all, once both engines agree with the source; returns the metadata of tencrop.onnx.

    Raises BadInput for what is wrong with the source or the options, WorkFailed where the gate refuses.
    """
    _check_out(path, out)
    said.check()
    source = _read(path, said)
    options = said.fill_from(source.known)
    source_input = read_source_input(source, options)
    pixels, resize = resolve_pixels(options, source_input.layout, source_input.crop)
    contract = Contract(resize=resize, crop=source_input.crop)
    reference = Reference.of(source, source_input, pixels, contract)
    answer = reference.answer(make_formula_images(contract, max(BATCHES)))
    output, classes = detect_output_kind(answer.said, options.output, source), answer.said.shape[-1]
    reference.check_repeatable(answer)
    contract = Contract(resize=resize, crop=source_input.crop, labels=read_labels(labels, classes))
    net = convert_to_net(source, source_input, pixels, classes, output)
    tencrop = _add_ten_views(net, contract, pixels, source, source_input)
    parity = check_import(net, tencrop, reference, answer, output)
    assumed = (
        *source.assumed,
        *source_input.assumed,
        *list_pixel_assumptions(options, pixels, contract),
        *_assumed(labels, output, options),
    )
    metadata = Metadata(
        contract=contract,
        recipe=_recipe(source, source_input, pixels, output, assumed),
        parity=parity,
        checkpoint_sha256=source.sha256,
        filter_picture=draw_first_kernels(source.model, pixels.channels),
        probe=Probe.choose(lambda png: reference.predict(png, output)),
    )
    with atomic_folder(out) as folder:
        write_files(folder, net, tencrop, metadata)
    return metadata


def _check_out(path: Path, out: Path) -> None:
    """Raises BadInput where the files have no place in `out`."""
    if out.exists() and not out.is_dir():
        raise BadInput(f"{out}: is a file; name a folder for the import")
    if isfile(path) and any((out / name).exists() and path.samefile(out / name) for name in FILES):
        raise BadInput(f"{path}: would be overwritten by what is made of it; name another folder than {out}")


def _read(path: Path, said: InputConvention) -> SourceNet:
    reader = next((reader for suffix, reader in READERS.items() if path.name.lower().endswith(suffix)), None)
    return reader(path, said) if reader else read_onnx(path)


def _add_ten_views(
    net: onnx.ModelProto, contract: Contract, pixels: PixelTransform, source: SourceNet, source_input: SourceInput
) -> onnx.ModelProto:
    try:
        return build_tencrop_graph(net, contract, pixels.rgb_mean)
    except Exception as error:  # of several types: ten views are a batch that the graph does not take
        raise BadInput(f"{source.path}: {source_input.batch_limit}: {one_line(error)}") from None


def format_import(metadata: Metadata) -> Iterator[str]:
    """What a person reads of an import."""
    recipe, contract = metadata.recipe, metadata.contract
    yield f"{recipe['about']}: {len(contract.labels)} classes, {recipe['output']}; resize {contract.resize}, ten crops of {contract.crop}"
    yield "pixels: " + ", ".join(f"{key} {value}" for key, value in recipe["pixels"].items())
    yield from (f"assumed: {line}" for line in recipe["assumed"])
    yield format_parity(metadata.parity)
    yield f"compared with {metadata.parity['reference']}"


def _assumed(labels: Path | None, output: str, options: InputConvention) -> list[str]:
    """A line for each, as `assumptions` of the pixels."""
    numbered = [] if labels else ["classes numbered from 0, in the order of the outputs (--labels)"]
    return numbered + ([] if options.output else [f"outputs that are {output}, going by their sums (--output)"])


def _recipe(
    source: SourceNet, source_input: SourceInput, pixels: PixelTransform, output: str, assumed: tuple[str, ...]
) -> dict[str, Any]:
    """What the metadata tells where a net of ours has its recipe."""
    return {
        "name": source.path.stem,
        "about": f"imported: {source.kind}",
        "source": source.path.name,
        "batch": source_input.batch or "any",
        "pixels": pixels.describe(),
        "output": output,
        "assumed": list(assumed),
    }
