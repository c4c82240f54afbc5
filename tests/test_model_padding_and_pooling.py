"""model/padding_and_pooling.py: our operators keep the promises of torch.library."""

import numpy as np
import pytest
import torch

from tencrop.model.padding_and_pooling import max_pool, max_pool_gradient, pad


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_padding_operator_keeps_torch_librarys_promises(layout: torch.memory_format) -> None:
    x = torch.from_numpy(numbers(2, 3, 7, 7)).contiguous(memory_format=layout).requires_grad_()
    for zeros in (0, 3), (2, 1):
        promises = ("test_schema", "test_faketensor", "test_autograd_registration")
        torch.library.opcheck(pad, (x, *zeros), test_utils=promises)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_pooling_operator_keeps_torch_librarys_promises(layout: torch.memory_format) -> None:
    """The fake operator's shapes and strides are the real ones, no input is changed, and autograd is registered."""
    x = torch.from_numpy(numbers(2, 3, 7, 7)).contiguous(memory_format=layout).requires_grad_()
    torch.library.opcheck(
        max_pool, (x, 3, 2), test_utils=("test_schema", "test_faketensor", "test_autograd_registration")
    )
    plain = x.detach()
    pooled, indices = max_pool(plain, 3, 2)
    arguments = (torch.ones_like(pooled), plain, indices, 3, 2)
    torch.library.opcheck(max_pool_gradient, arguments, test_utils=("test_schema", "test_faketensor"))
