"""training/precision.py: the precision of each device and setting, and what is refused."""

import pytest
import torch

from tencrop.common.errors import BadInput
from tencrop.training.precision import resolve_precision


def test_fp16_is_refused_for_columns_and_bf16_where_the_gpu_lacks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    with pytest.raises(BadInput, match=r"--columns.*precision=bf16"):
        resolve_precision("fp16", cpu, columns=True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    with pytest.raises(BadInput, match=r"bf16.*precision=fp16"):
        resolve_precision("bf16", gpu, columns=False)
    for name, device, columns in (("bf16", cpu, True), ("fp32", gpu, True), ("fp16", gpu, False), ("fp16", cpu, False)):
        assert resolve_precision(name, device, columns) == name
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert resolve_precision("bf16", gpu, columns=False) == "bf16"


@pytest.mark.parametrize(("has_bf16", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_is_bf16_where_the_device_has_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, has_bf16: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_bf16)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation or has_bf16)
    assert [
        resolve_precision("auto", torch.device(kind), columns) for kind in ("cpu", "cuda") for columns in (False, True)
    ] == [expected] * 4
