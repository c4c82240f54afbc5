"""bench/matrix_product.py: torch multiplies two matrices, and each product counts as two operations a multiply-add."""

import numpy as np
import pytest
import torch

from bench import matrix_product
from bench.engine_row import Row
from bench.matrix_product import measure_product, open_products

SIDE = 32


@pytest.mark.parametrize("units", [[], ["avx512_vnni", "avx512_bf16"]], ids=["none", "both"])
def test_a_product_is_measured_in_each_precision_of_the_cpu(units: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix_product, "low_precision_units", lambda: units)
    products = open_products("cpu", SIDE)
    assert list(products) == (["fp32", "bf16", "int8"] if units else ["fp32"])
    assert [product.precision for product in products.values()] == list(products)
    random = torch.Generator().manual_seed(0)
    left, right = (torch.randint(-8, 8, (SIDE, SIDE), generator=random).numpy() for _ in range(2))
    for product in products.values():
        np.testing.assert_allclose(product.predict(np.zeros(1))[0], left[0] @ right, rtol=2**-8)
        assert product.gflop == pytest.approx(2 * 32 * 32 * 32 / 1e9)


def test_the_speed_is_that_of_the_products_of_the_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix_product, "measure_speed", lambda row, images, seconds: 20.0 if len(images) == 1 else 0.0)
    assert measure_product(Row(lambda images: images, "fp32", 17.0), 1.0) == pytest.approx(340)
