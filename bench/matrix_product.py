"""The matrix product of this machine: how fast torch multiplies two square matrices, in GFLOP/s.

An engine whose work is convolutions and matrix products comes near to it, and seldom beyond.
"""

import numpy as np
import torch

from bench.engine_row import Row, measure_speed
from bench.machine import low_precision_units
from tencrop.runtime.engine_choice import device_kind

SIDE = 2048  # rows and columns of both factors
DTYPES = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "int8": torch.int8,
}
CPU_UNITS = {"bf16": {"avx512_bf16", "amx_bf16"}, "int8": {"avx512_vnni", "amx_int8"}}  # torch is slow without them


def open_products(device: str, side: int = SIDE) -> dict[str, Row]:
    """The product in each precision that the device has instructions for. Its images are ignored: a product is one."""
    units = set(low_precision_units())
    on_cpu = ("fp32", *(precision for precision, fast in CPU_UNITS.items() if fast & units))
    precisions = on_cpu if device_kind(device) == "cpu" else DTYPES
    return {precision: _open_product(precision, device, side) for precision in precisions}


def measure_product(product: Row, seconds: float) -> float:
    """GFLOP/s of a product."""
    return measure_speed(product, np.zeros(1), seconds) * product.gflop


def _open_product(precision: str, device: str, side: int) -> Row:
    random = torch.Generator().manual_seed(0)
    left, right = (torch.randint(-8, 8, (side, side), generator=random).to(device, DTYPES[precision]) for _ in range(2))
    multiply = torch._int_mm if precision == "int8" else torch.mm

    def predict(_: np.ndarray) -> np.ndarray:
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        return np.asarray(multiply(left, right)[:1].float().cpu().numpy())  # waits for the device

    return Row(predict, precision, 2 * side**3 / 1e9)
