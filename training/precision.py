"""Precision of the layers and norms in training. Weights and the update are always fp32."""

import torch

from tencrop.common.errors import BadInput


def resolve_precision(precision: str, device: torch.device, columns: bool) -> str:
    """Precision that a recipe's setting means on this device; "auto" is bf16 where the device has instructions for it.

    Raises BadInput where the device or the two columns cannot compute in it. A CPU without bf16 instructions can, but
    takes many times as long.
    """
    gpu = device.type == "cuda"
    has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False) if gpu else torch.cpu._is_avx512_bf16_supported()
    if precision == "bf16" and gpu and not has_bf16:
        raise BadInput("this GPU does not compute in bf16", "add --set precision=fp16 (with loss scaling) or fp32")
    if precision == "fp16" and columns:
        raise BadInput(
            "--columns: each column would scale its loss for itself in fp16", "add --set precision=bf16 or fp32"
        )
    if precision != "auto":
        return precision
    return "bf16" if has_bf16 else "fp32"


def choose_memory_format(precision: str, device: torch.device) -> torch.memory_format:
    """Memory format of weights and activations. Channels last is fast in half precision on CPUs.

    On GPUs torch's own compiler decides (torch/_inductor/graph.py, decide_layout_opt).
    """
    return torch.channels_last if device.type == "cpu" and precision != "fp32" else torch.contiguous_format
