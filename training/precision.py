"""Precision: what the layers and norms of a training are computed in; weights and the update are fp32."""

import torch

from tencrop.common.errors import BadInput


def computed(precision: str, device: torch.device, columns: bool) -> str:
    """What a recipe's precision is on this device; "auto" is bf16 where the device has instructions for it, else fp32.

    Raises BadInput where the device or the layout cannot compute in it. A CPU without the instructions can, but takes many times as long.
    """
    gpu = device.type == "cuda"
    has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False) if gpu else torch.cpu._is_avx512_bf16_supported()
    if precision == "bf16" and gpu and not has_bf16:
        raise BadInput("this GPU does not compute in bf16; add --set precision=fp16 (with loss scaling) or fp32")
    if precision == "fp16" and columns:
        raise BadInput(
            "--columns: the columns would scale their losses apart in fp16; add --set precision=bf16 or fp32"
        )
    return precision if precision != "auto" else "bf16" if has_bf16 else "fp32"
