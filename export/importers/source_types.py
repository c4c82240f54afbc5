"""Brings a source net that takes uint8 images, or computes in float16, to float32 images and float32 numbers."""

from dataclasses import replace

import numpy as np
from onnx import TensorProto

from tencrop.common.errors import BadInput
from tencrop.export.importers.graph_rewrite import find_image_inputs
from tencrop.export.importers.half_precision import compute_in_float, computes_in_half, give_float, take_float
from tencrop.export.importers.input_convention import ARITHMETIC, InputConvention
from tencrop.export.importers.reference import SourceAnswers, SourceReference, to_probabilities
from tencrop.export.importers.source_net import SourceNet

PLAIN_PIXELS = InputConvention(scale=1.0, mean=(0.0,) * 3, std=(1.0,) * 3)
HALF_LIMIT = 2e-2  # difference of a probability between float16 and float32


def compute_source_in_float(source: SourceNet, given: InputConvention) -> SourceNet:
    """The source with float32 images. Of a net in float16 the file's own graph becomes `half_model`.

    Raises BadInput where the user, or a file beside the net, states arithmetic on pixels for a net of uint8 images.
    """
    images = find_image_inputs(source.model)
    kind = images[0].type.tensor_type.elem_type if len(images) == 1 else None
    if kind == TensorProto.UINT8:
        stated = given.fill_from(source.known)
        odd = [name for name in ARITHMETIC if getattr(stated, name) not in (None, getattr(PLAIN_PIXELS, name))]
        if odd:
            flags = " and ".join(f"--{name.partition('_')[0]}" for name in odd)
            raise BadInput(f"{source.path}: takes uint8 images, so it scales them by itself", f"leave out {flags}")
        source = replace(
            source, model=take_float(source.model, images[0].name), known=PLAIN_PIXELS.fill_from(source.known)
        )
    if not computes_in_half(source.model):
        return source
    own = take_float(source.model, images[0].name) if kind == TensorProto.FLOAT16 else source.model
    is_half = own.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT16
    return replace(source, model=compute_in_float(source.model), half_model=give_float(own) if is_half else own)


def compare_with_half(reference: SourceReference, answers: SourceAnswers, output: str) -> tuple[str, ...]:
    """A line about how far float16 moves the probabilities; none for a net in float32. Raises BadInput if it is far."""
    source = reference.source
    if source.half_model is None:
        return ()
    half = replace(source, model=source.half_model, half_model=None)
    own = SourceReference.open(half, reference.source_input, reference.pixels, reference.contract)
    moved = np.abs(
        to_probabilities(own.answer(answers.images).scores, output) - to_probabilities(answers.scores, output)
    ).max()
    if not moved <= HALF_LIMIT:
        raise BadInput(
            f"{source.path}: its answers in float16 differ from those in float32 by {moved:.1e} of a probability",
            "import the float32 net that it was made from",
        )
    return (f"computed in float32: the float16 of the file moves a probability by up to {moved:.1e}",)
