"""Imports a source file to OUT: net.onnx, tencrop.onnx, parity.json, and checkpoint/ of a net that can be trained here.

`tencrop import SOURCE OUT` calls it.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from os.path import isfile
from pathlib import Path
from typing import Any

import onnx

from tencrop.common.atomic import atomic_folder
from tencrop.common.errors import BadInput, whole_line
from tencrop.common.strict_config import parse
from tencrop.export.bf16_estimate import BF16_LIMIT, estimate_bf16
from tencrop.export.hub_folder import HUB_FILES, check_card, write_hub_folder
from tencrop.export.importers.caffe import read_caffe
from tencrop.export.importers.filter_picture import draw_first_filters
from tencrop.export.importers.graph_rewrite import find_rounding_operator
from tencrop.export.importers.hub_folder import NETS, read_hub_folder
from tencrop.export.importers.imported_checkpoint import make_checkpoint
from tencrop.export.importers.input_convention import InputConvention
from tencrop.export.importers.labels import ImportedLabels, read_labels
from tencrop.export.importers.onnx_file import read_onnx
from tencrop.export.importers.pixels import list_pixel_assumptions, resolve_pixels
from tencrop.export.importers.reference import SourceReference, detect_output_kind
from tencrop.export.importers.source_input import read_source_input
from tencrop.export.importers.source_net import SourceNet
from tencrop.export.importers.source_output import choose_output
from tencrop.export.importers.source_to_net import convert_to_net
from tencrop.export.importers.source_types import compare_with_half, compute_source_in_float
from tencrop.export.importers.torchvision_alexnet import read_alexnet
from tencrop.export.parity_gate import (
    BATCHES,
    EXACT_LIMITS,
    EngineRefused,
    ExpectedAnswers,
    Parity,
    check_parity,
)
from tencrop.export.sample_images import make_formula_images
from tencrop.export.tencrop_graph import FILES, build_tencrop_graph, write_files
from tencrop.model.contract import DECODING, FILTERS, Contract, parse_filter
from tencrop.model.probe import Probe
from tencrop.model.run_checkpoints import INNER
from tencrop.model.tencropfile import Metadata, Precision

READERS: Mapping[str, Callable[[Path, InputConvention], SourceNet]] = {
    ".pth": read_alexnet,
    ".pth.tar": read_alexnet,
    ".pt": read_alexnet,
    ".ckpt": read_alexnet,
    ".safetensors": read_alexnet,
    ".caffemodel": read_caffe,
}
log = logging.getLogger(__name__)


def import_net(path: Path, out: Path, given: InputConvention, labels: Path | None, hub: bool = False) -> Metadata:
    """Write the files, all or none, once both engines agree with the source; returns the metadata of tencrop.onnx.

    given: by the user's flags. hub: add what the Hugging Face hub expects (export/hub_folder.py).

    Raises BadInput for a bad source or flag, WorkFailed where the parity gate refuses.
    """
    _check_out(path, out, (*FILES, *HUB_FILES) if hub else FILES)
    if hub:
        check_card(out)
    given.check()
    log.info("reading %s", path)
    source, kind = choose_output(_read_source(path, given, labels), given.output)
    source = compute_source_in_float(source, given)
    convention = replace(given, output=kind).fill_from(source.known)
    source_input = read_source_input(source, convention)
    pixels, resize = resolve_pixels(convention, source_input.layout, source_input.crop)
    contract = _make_contract(convention, resize, source_input.crop)
    reference = SourceReference.open(source, source_input, pixels, contract)
    log.info("the net answers %d images", max(BATCHES))
    answers = reference.answer(make_formula_images(contract, max(BATCHES)))
    output = detect_output_kind(answers.scores, convention.output, source)
    reference.check_repeatable(answers)
    classes = answers.scores.shape[-1]
    names = read_labels(source.labels, classes)
    contract = replace(contract, labels=names.labels)
    log.info("building net.onnx and tencrop.onnx")
    net, notes = convert_to_net(reference, answers, output)
    try:
        tencrop = build_tencrop_graph(net, contract, pixels.rgb_mean)
    except Exception as error:  # onnx raises several types
        raise BadInput(f"{path}: onnx refuses ten views around its net: {whole_line(error)}") from None
    expected, recipe = reference.expect(answers, output), _describe_import(reference, convention, output, names)
    parity = _check_parity(net, tencrop, expected, find_rounding_operator(source.model))
    precision, line = _choose_precision(tencrop, expected)
    recipe["notes"] += [*notes, *compare_with_half(reference, answers, output), *line]
    checkpoint = make_checkpoint(reference, contract, expected, output, recipe)
    if checkpoint is None and (out / INNER).exists():
        raise BadInput(f"{out / INNER}: is of another net", "name another folder, or remove it")
    log.info("choosing the probe")
    metadata = Metadata(
        contract=contract,
        recipe=recipe,
        parity=parity.to_json(),
        checkpoint_sha256=source.sha256,
        filter_picture=draw_first_filters(source.model, pixels.channels),
        probe=Probe.choose(lambda png: reference.predict(png, output)),
        precision=precision,
    )
    log.info("writing %s", out)
    with atomic_folder(out) as folder:
        write_files(folder, net, tencrop, metadata)
        if checkpoint:
            checkpoint.save(folder / INNER)
        if hub:
            write_hub_folder(folder, out, net, pixels.rgb_mean)
    return metadata


def _make_contract(convention: InputConvention, resize: int, crop: int) -> Contract:
    """The contract, still without labels. Its center is rounded only where the margin around the crop is odd."""
    rounding = (convention.center_rounding or "half_even") if (resize - crop) % 2 else "down"
    filter = parse_filter(convention.filter or FILTERS[0])
    return Contract(resize=resize, crop=crop, filter=filter, decode=DECODING, center_rounding=rounding)


def format_import(metadata: Metadata) -> Iterator[str]:
    """Yield the lines that a person reads about an import."""
    recipe, contract, parity = metadata.recipe, metadata.contract, parse(Parity, metadata.parity, "parity")
    sizes = f"resize {contract.resize}, ten crops of {contract.crop}"
    yield f"{recipe['about']}: {len(contract.labels)} classes, {recipe['output']}; {sizes}"
    yield "pixels: " + ", ".join(f"{key} {value}" for key, value in recipe["pixels"].items())
    yield from recipe["notes"]
    yield from (f"assumed: {line}" for line in recipe["assumed"])
    yield from parity.format().split("\n")
    yield f"compared with {parity.reference}"


def _check_out(path: Path, out: Path, names: Sequence[str]) -> None:
    """Check the import's folder. Raises BadInput where `out` is a file, or where the source would be overwritten."""
    if out.exists() and not out.is_dir():
        raise BadInput(f"{out}: is a file", "name a folder for the import")
    sources = [path / name for name in NETS] if path.is_dir() else [path]
    written = [out / name for name in names if (out / name).exists()]
    if any(isfile(source) and source.samefile(file) for source in sources for file in written):
        raise BadInput(f"{path}: would be overwritten by its own import", f"name another folder than {out}")


def _read_source(path: Path, given: InputConvention, labels: Path | None) -> SourceNet:
    if path.is_dir():
        return read_hub_folder(path, given, labels)
    reader = next((reader for suffix, reader in READERS.items() if path.name.lower().endswith(suffix)), None)
    return replace(reader(path, given) if reader else read_onnx(path), labels=labels)


def _describe_import(
    reference: SourceReference, convention: InputConvention, output: str, names: ImportedLabels
) -> dict[str, Any]:
    """Plain data for the metadata, in the place of a training recipe."""
    source, source_input = reference.source, reference.source_input
    assumed = [
        *source.assumed,
        *source_input.assumed,
        *list_pixel_assumptions(convention, reference.pixels, reference.contract),
        *names.assumed,
        *([] if convention.output else [f"outputs that are {output}, going by their sums (--output)"]),
    ]
    return {
        "name": source.path.stem,
        "about": f"imported: {source.kind}",
        "source": source.path.name,
        "batch": source_input.batch or "any",
        "pixels": reference.pixels.describe(),
        "output": output,
        "assumed": assumed,
        "notes": list(source.notes),
    }


def _choose_precision(tencrop: onnx.ModelProto, expected: ExpectedAnswers) -> tuple[Precision | None, tuple[str, ...]]:
    """The precision that the file prefers, and a line for a person; neither where every device's default is as good."""
    moved = estimate_bf16(tencrop, expected.images, expected.probabilities.mean(1))
    if moved <= BF16_LIMIT:
        return None, ()
    line = f"bf16, the default of CPUs that have it, would move a probability by up to {moved:.2g} (estimated)"
    return "fp32", (f"{line}: --precision auto computes this file in fp32",)


def _check_parity(
    net: onnx.ModelProto, tencrop: onnx.ModelProto, expected: ExpectedAnswers, rounding: str | None
) -> Parity:
    """Run both graphs on each engine and compare their answers with the reference. rounding: an operator of the net.

    Raises WorkFailed where the numbers differ, BadInput where an engine cannot open or run the net.
    """
    advice = ""
    if rounding:
        advice = (
            f"the net rounds to 8 or 16 bits ({rounding}), which no two engines do alike: "
            "import the float32 net that it was made from"
        )
    try:
        return check_parity(net, tencrop, expected, EXACT_LIMITS, advice)
    except EngineRefused as error:
        raise BadInput(f"{expected.name}: {error}") from None
