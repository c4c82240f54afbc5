"""source file -> OUT: net.onnx, tencrop.onnx, parity.json. `tencrop import SOURCE OUT`."""

from collections.abc import Callable, Iterator, Mapping
from os.path import isfile
from pathlib import Path
from typing import Any

import onnx

from tencrop.common.atomic import atomic_folder
from tencrop.common.errors import BadInput, one_line
from tencrop.export.images import formula_images
from tencrop.export.importers.caffe import read_caffe
from tencrop.export.importers.gate import prove
from tencrop.export.importers.input_convention import Options
from tencrop.export.importers.labels import read_labels
from tencrop.export.importers.onnx_file import read_onnx
from tencrop.export.importers.pixels import Pixels, assumptions, settle
from tencrop.export.importers.reference import Reference, kind_of_output
from tencrop.export.importers.source_net import Source
from tencrop.export.importers.source_to_net import Shape, first_kernels, image_shape, net_of
from tencrop.export.importers.torchvision_alexnet import read_alexnet
from tencrop.export.parity import BATCHES, parity_table
from tencrop.export.tencrop_graph import FILES, tencrop_onnx, write
from tencrop.model.contract import Contract
from tencrop.model.probe import Probe
from tencrop.model.tencropfile import Metadata

READERS: Mapping[str, Callable[[Path, Options], Source]] = {
    ".pth": read_alexnet,
    ".pth.tar": read_alexnet,
    ".pt": read_alexnet,
    ".safetensors": read_alexnet,
    ".caffemodel": read_caffe,
}


def import_net(path: Path, out: Path, said: Options, labels: Path | None) -> Metadata:
    """Write the files, each whole or not at all, once both engines agree with the source; returns the metadata of tencrop.onnx.

    Raises BadInput for what is wrong with the source or the options, WorkFailed where the gate refuses.
    """
    _check_out(path, out)
    said.check()
    source = _read(path, said)
    options = said.over(source.known)
    shape = image_shape(source, options)
    pixels, resize = settle(options, shape.layout, shape.crop)
    contract = Contract(resize=resize, crop=shape.crop)
    reference = Reference.of(source, shape, pixels, contract)
    answers = reference.answers(formula_images(contract, max(BATCHES)))
    output, classes = kind_of_output(answers.said, options.output, source), answers.said.shape[-1]
    reference.check_steady(answers)
    contract = Contract(resize=resize, crop=shape.crop, labels=read_labels(labels, classes))
    net = net_of(source, shape, pixels, classes, output)
    tencrop = _behind_ten_views(net, contract, pixels, source, shape)
    parity = prove(net, tencrop, reference, answers, output)
    assumed = (
        *source.assumed,
        *shape.assumed,
        *assumptions(options, pixels, contract),
        *_assumed(labels, output, options),
    )
    metadata = Metadata(
        contract=contract,
        recipe=_recipe(source, shape, pixels, output, assumed),
        parity=parity,
        checkpoint_sha256=source.sha256,
        filter_picture=first_kernels(source.model, pixels.channels),
        probe=Probe.choose(lambda png: reference.predict(png, output)),
    )
    with atomic_folder(out) as folder:
        write(folder, net, tencrop, metadata)
    return metadata


def _check_out(path: Path, out: Path) -> None:
    """Raises BadInput where the files have no place in `out`."""
    if out.exists() and not out.is_dir():
        raise BadInput(f"{out}: is a file; name a folder for the import")
    if isfile(path) and any((out / name).exists() and path.samefile(out / name) for name in FILES):
        raise BadInput(f"{path}: would be overwritten by what is made of it; name another folder than {out}")


def _read(path: Path, said: Options) -> Source:
    reader = next((reader for suffix, reader in READERS.items() if path.name.lower().endswith(suffix)), None)
    return reader(path, said) if reader else read_onnx(path)


def _behind_ten_views(
    net: onnx.ModelProto, contract: Contract, pixels: Pixels, source: Source, shape: Shape
) -> onnx.ModelProto:
    try:
        return tencrop_onnx(net, contract, pixels.subtracted)
    except Exception as error:  # of several types: ten views are a batch that the graph does not take
        raise BadInput(f"{source.path}: {shape.any_batch}: {one_line(error)}") from None


def lines(metadata: Metadata) -> Iterator[str]:
    """What a person reads of an import."""
    recipe, contract = metadata.recipe, metadata.contract
    yield f"{recipe['about']}: {len(contract.labels)} classes, {recipe['output']}; resize {contract.resize}, ten crops of {contract.crop}"
    yield "pixels: " + ", ".join(f"{key} {value}" for key, value in recipe["pixels"].items())
    yield from (f"assumed: {line}" for line in recipe["assumed"])
    yield parity_table(metadata.parity)
    yield f"compared with {metadata.parity['reference']}"


def _assumed(labels: Path | None, output: str, options: Options) -> list[str]:
    """A line for each, as `assumptions` of the pixels."""
    numbered = [] if labels else ["classes numbered from 0, in the order of the outputs (--labels)"]
    return numbered + ([] if options.output else [f"outputs that are {output}, going by their sums (--output)"])


def _recipe(source: Source, shape: Shape, pixels: Pixels, output: str, assumed: tuple[str, ...]) -> dict[str, Any]:
    """What the metadata tells where a net of ours has its recipe."""
    return {
        "name": source.path.stem,
        "about": f"imported: {source.kind}",
        "source": source.path.name,
        "batch": shape.batch or "any",
        "pixels": pixels.describe(),
        "output": output,
        "assumed": list(assumed),
    }
