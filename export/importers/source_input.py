"""SourceInput: the name, batch, layout and size of the image tensor that a source net takes."""

from dataclasses import dataclass

import onnx
from onnx import TensorProto

from tencrop.common.errors import BadInput, one_line
from tencrop.export.importers.graph_rewrite import find_image_inputs
from tencrop.export.importers.input_convention import SIDES, InputConvention
from tencrop.export.importers.source_net import SourceNet

DEFAULT_CROP = 224  # pixels a side, for a net that states no size
TYPES = {number: name for name, number in TensorProto.DataType.items()}


@dataclass(frozen=True)
class SourceInput:
    """The image tensor of a source net."""

    name: str
    batch: int  # 0: any
    layout: str
    crop: int
    assumed: tuple[str, ...] = ()  # a line for each value that neither the user nor the file states

    @property
    def sides(self) -> tuple[int, ...]:
        """The sides of a batch; the first is 0 where it may have any size."""
        square = (self.crop, self.crop)
        return (self.batch, 3, *square) if self.layout == "nchw" else (self.batch, *square, 3)

    @property
    def advice(self) -> str:
        """The argument of torch's export that makes the batch dynamic."""
        trace = f'dynamic_axes={{"{one_line(self.name)}": {{0: "batch"}}}}'
        return f'torch.onnx.export(..., dynamic_shapes=({{0: "batch"}},)), or {trace} with dynamo=False'


def read_source_input(source: SourceNet, convention: InputConvention) -> SourceInput:
    """Find the layout and size of the graph's input.

    Raises BadInput where the graph does not map one batch of square colour images to one output.
    """
    path, (tensor, sides) = source.path, _read_image_tensor(source)
    layout = convention.layout or ("nhwc" if sides[3] == 3 and sides[1] != 3 else "nchw")
    channels, *square = (sides[1], sides[2], sides[3]) if layout == "nchw" else (sides[3], sides[1], sides[2])
    if channels not in (0, 3):
        raise BadInput(f"{path}: its input {sides} has {channels} channels in layout {layout}; expected 3")
    stated = {side for side in square if side}
    if len(stated) > 1 or not stated <= set(SIDES):
        raise BadInput(
            f"{path}: takes images of {square[0]}x{square[1]}; expected squares of {SIDES[0]} to {SIDES[-1]}"
        )
    crop = convention.crop or next(iter(stated), DEFAULT_CROP)
    if not stated <= {crop}:
        raise BadInput(f"{path}: takes images of {max(stated)}x{max(stated)}, and not of {crop} pixels (--crop)")
    lines = (
        (convention.layout is None and not channels, f"images as [N,3,{crop},{crop}] (--layout)"),
        (convention.crop is None and not stated, f"views of {crop} pixels (--crop)"),
    )
    return SourceInput(tensor.name, sides[0], layout, crop, tuple(line for is_assumed, line in lines if is_assumed))


def _read_image_tensor(source: SourceNet) -> tuple[onnx.ValueInfoProto, list[int]]:
    """The only input and its four sides, 0 for any. Raises BadInput."""
    inputs = find_image_inputs(source.model)
    if len(inputs) != 1:
        names = ", ".join(one_line(value.name) for value in inputs)
        raise BadInput(f"{source.path}: an image classifier has one input; this one has {names or 'none'}")
    tensor = inputs[0].type.tensor_type
    sides = [side.dim_value for side in tensor.shape.dim]
    if tensor.elem_type != TensorProto.FLOAT or len(sides) != 4:
        kind = TYPES.get(tensor.elem_type, f"of type {tensor.elem_type}").lower()
        raise BadInput(
            f"{source.path}: its input is {kind} {sides} (0: any); "
            "expected images [N,3,height,width] or [N,height,width,3] of float, float16 or uint8"
        )
    return inputs[0], sides
