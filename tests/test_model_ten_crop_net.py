"""model/ten_crop_net.py: the ten-crop prediction equals torchvision's ten_crop in the 2012 program's order."""

import numpy as np
import oracles
import pytest
import torch
from torch import Tensor, nn
from torchvision.transforms import functional as TF

from tencrop.model.contract import CENTER_VIEW, Contract, Label, View
from tencrop.model.ten_crop_net import TenCropNet

CONTRACT = Contract(resize=20, crop=14, labels=tuple(Label(c, c) for c in "abc"))
OURS_FROM_TORCHVISION = (0, 1, 4, 2, 3, 5, 6, 9, 7, 8)  # its center crop comes last of five: tl, tr, bl, br, center


class Lopsided(nn.Module):
    """A net whose logits depend on where things are, so that no two views look alike to it."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weight = torch.randn(3, 3 * 14 * 14, generator=generator) / 200

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[1:] == (3, 14, 14)
        return x.flatten(1) @ self.weight.T


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (4, 20, 20, 3), dtype=np.uint8)


def mean_image(reading: str) -> np.ndarray:
    whole = np.random.default_rng(1).uniform(60, 180, (3, 20, 20)).astype(np.float32)
    return whole if reading == "aligned" else whole[:, 3:17, 3:17]


def expected_inputs(images: np.ndarray, reading: str) -> np.ndarray:
    """torchvision's ten crops of the float images, [N,10,3,14,14]."""
    x = torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32))
    mean = torch.from_numpy(mean_image(reading))
    crops = TF.ten_crop(x - mean if reading == "aligned" else x, [14, 14])
    # torchvision mirrors the image and then crops: its mirrored "top left" is our mirrored top right
    mirrored = [crops[5 + corner] for corner in (1, 0, 3, 2, 4)]
    ordered = torch.stack([(list(crops[:5]) + mirrored)[i] for i in OURS_FROM_TORCHVISION], 1)
    return (ordered if reading == "aligned" else ordered - mean).numpy()


def ten_crop_net(reading: str) -> TenCropNet:
    return TenCropNet(Lopsided(), CONTRACT, mean_image(reading))


@pytest.mark.parametrize("reading", ["aligned", "center"])
def test_the_net_sees_the_ten_crops_of_torchvision(images: np.ndarray, reading: str) -> None:
    inputs = ten_crop_net(reading).cut_views(torch.from_numpy(images), CONTRACT.views).numpy()
    np.testing.assert_array_equal(inputs, expected_inputs(images, reading))


@pytest.mark.parametrize("reading", ["aligned", "center"])
def test_the_prediction_is_the_mean_of_ten_softmaxes(images: np.ndarray, reading: str) -> None:
    mean, each = (part.numpy() for part in ten_crop_net(reading)(torch.from_numpy(images)))
    logits = expected_inputs(images, reading).reshape(4, 10, -1).astype(np.float64) @ Lopsided().weight.numpy().T
    np.testing.assert_allclose(each, oracles.softmax(logits), atol=1e-5)
    np.testing.assert_allclose(mean, oracles.softmax(logits).mean(1), atol=1e-5)
    assert np.abs(mean - oracles.softmax(logits.mean(1))).max() > 0.01  # which the mean of logits is not


@pytest.mark.parametrize("reading", ["aligned", "center"])
def test_center_is_the_central_view_of_the_ten(images: np.ndarray, reading: str) -> None:
    net = ten_crop_net(reading)
    _, each = net(torch.from_numpy(images))
    torch.testing.assert_close(net.predict_center(torch.from_numpy(images)), each[:, CENTER_VIEW], rtol=1e-5, atol=1e-6)


def test_a_center_mean_is_never_mirrored(images: np.ndarray) -> None:
    mirrored = View(3, 3, True)
    seen = ten_crop_net("center").cut_views(torch.from_numpy(images), (mirrored,))[:, 0].numpy()
    pixels = images[:, 3:17, 3:17][:, :, ::-1].transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(seen, pixels.astype(np.float32) - mean_image("center"))


def test_an_aligned_mean_is_mirrored_with_its_image(images: np.ndarray) -> None:
    whole = ten_crop_net("aligned")
    image = torch.from_numpy(np.rint(mean_image("aligned")).astype(np.uint8).transpose(1, 2, 0)[None].copy())
    seen = whole.cut_views(image, CONTRACT.views).numpy()
    assert np.abs(seen).max() <= 0.5  # an image that is the mean leaves nothing, in any view


def test_a_contract_may_have_any_views(images: np.ndarray) -> None:
    net, views = ten_crop_net("aligned"), (View(1, 2, True), View(6, 0, False), View(0, 6, True))
    assert net.cut_views(torch.from_numpy(images), views).shape == (4, 3, 3, 14, 14)
    assert net.predict_views(torch.from_numpy(images), views).shape == (4, 3, 3)


def test_probabilities_are_fp32_even_where_the_net_is_not(images: np.ndarray) -> None:
    class Half(Lopsided):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).bfloat16()

    mean, each = TenCropNet(Half(), CONTRACT, mean_image("aligned"))(torch.from_numpy(images))
    assert mean.dtype == each.dtype == torch.float32
    torch.testing.assert_close(each.sum(-1), torch.ones(4, 10), rtol=0, atol=1e-6)
