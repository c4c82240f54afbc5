"""Zero padding and max pooling as torch custom operators, which torch.compile calls without tracing them."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


# Fused by the compiler on a CPU, the padding's loads for 3 channels run up to 13 elements past the end of the batch
# (torch 2.14), which crashes where the batch is the end of a mapping.
@torch.library.custom_op("tencrop::pad", mutates_args=())
def pad(x: Tensor, before: int, behind: int) -> Tensor:
    """Add zeros above and to the left, and below and to the right, of [N,C,H,W]."""
    return F.pad(x, (before, behind, before, behind))


@pad.register_fake
def _(x: Tensor, before: int, behind: int) -> Tensor:
    return F.pad(x, (before, behind, before, behind))


def _save_zeros(ctx: Any, inputs: tuple[Tensor, int, int], output: Tensor) -> None:
    ctx.zeros = inputs[1:]


def _padding_gradient(ctx: Any, up: Tensor) -> tuple[Tensor, None, None]:
    before, behind = ctx.zeros
    return up[:, :, before : up.shape[2] - behind, before : up.shape[3] - behind], None, None


pad.register_autograd(_padding_gradient, setup_context=_save_zeros)


# On a CPU torch's own gradient of max pooling is faster than the scatter that the compiler makes of it.
@torch.library.custom_op("tencrop::max_pool", mutates_args=())
def max_pool(x: Tensor, size: int, stride: int) -> tuple[Tensor, Tensor]:
    """Maxima and their indices over windows of [N,C,H,W], the output size rounded up."""
    return torch.ops.aten.max_pool2d_with_indices(  # type: ignore[no-any-return]
        x, [size, size], [stride, stride], [0, 0], [1, 1], True
    )


@torch.library.custom_op("tencrop::max_pool_gradient", mutates_args=())
def max_pool_gradient(up: Tensor, x: Tensor, indices: Tensor, size: int, stride: int) -> Tensor:
    """The gradient of `max_pool` for `x`, of the gradient `up` for the maxima."""
    up = up.contiguous(memory_format=torch.channels_last) if x.is_contiguous(memory_format=torch.channels_last) else up
    return torch.ops.aten.max_pool2d_with_indices_backward(  # type: ignore[no-any-return]
        up, x, [size, size], [stride, stride], [0, 0], [1, 1], True, indices
    )


@max_pool.register_fake
def _(x: Tensor, size: int, stride: int) -> tuple[Tensor, Tensor]:
    return torch.ops.aten.max_pool2d_with_indices(  # type: ignore[no-any-return]
        x, [size, size], [stride, stride], [0, 0], [1, 1], True
    )


@max_pool_gradient.register_fake
def _(up: Tensor, x: Tensor, indices: Tensor, size: int, stride: int) -> Tensor:
    return torch.empty_like(x)


def _save_pooled(ctx: Any, inputs: tuple[Tensor, int, int], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(inputs[0], output[1])
    ctx.window = inputs[1:]
    ctx.mark_non_differentiable(output[1])


def _pooling_gradient(ctx: Any, up: Tensor, _: Tensor) -> tuple[Tensor, None, None]:
    return max_pool_gradient(up, *ctx.saved_tensors, *ctx.window), None, None


max_pool.register_autograd(_pooling_gradient, setup_context=_save_pooled)
