"""training/augment.py: draws depend only on (seed, epoch, sample); normalisation equals plain numpy (section 4.1)."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from tencrop.model.contract import Contract
from tencrop.model.mean_and_pca import PixelStatistics
from tencrop.training.augment import Draw, Draws, Normalize
from tencrop.training.recipe import Augment

CONTRACT = Contract()
AUGMENT = Augment()


def same(a: Draw, b: Draw) -> bool:
    return a[:3] == b[:3] and np.array_equal(a.z, b.z)


def many(augment: Augment = AUGMENT, n: int = 3000) -> list[Draw]:
    draws = Draws(augment, CONTRACT, 5)
    return [draws.draw(sample % 7, sample) for sample in range(n)]


def draw(augment: Augment, seed: int, epoch: int, sample: int) -> Draw:
    """By a generator of its own, as version 0.1 did."""
    random = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, epoch, sample]))
    top, left = random.integers(0, 33, 2) if augment.crops else (16, 16)
    mirrored = bool(random.random() < 0.5) and augment.mirror
    return Draw(int(top), int(left), mirrored, random.standard_normal(3, np.float32))


@pytest.mark.parametrize("augment", [Augment(), Augment(crops=False), Augment(mirror=False)])
@pytest.mark.parametrize("seed", [0, 5, 2**70])
def test_a_draw_is_that_of_a_new_generator(augment: Augment, seed: int) -> None:
    draws = Draws(augment, CONTRACT, seed)
    for epoch, sample in product((1, 2, 90), (0, 1, 77, 1_281_166)):
        assert same(draws.draw(epoch, sample), draw(augment, seed, epoch, sample))


def test_a_draw_depends_on_seed_epoch_and_sample_alone() -> None:
    keys = list(product((0, 1), (1, 2), (0, 1, 77)))
    first = [Draws(Augment(), CONTRACT, seed).draw(epoch, sample) for seed, epoch, sample in keys]
    np.random.seed(3)  # the old global state has no say
    torch.manual_seed(3)
    seeds = {seed: Draws(Augment(), CONTRACT, seed) for seed in (0, 1)}
    again = [seeds[seed].draw(epoch, sample) for seed, epoch, sample in reversed(keys)][::-1]
    assert all(same(a, b) for a, b in zip(first, again, strict=True))


def test_no_two_samples_epochs_or_seeds_share_a_draw() -> None:
    seeds = [Draws(Augment(), CONTRACT, seed) for seed in (0, 1, 2)]
    draws = [draws.draw(*key) for draws, *key in product(seeds, range(1, 8), range(30))]
    assert len({d.z.tobytes() for d in draws}) == len(draws)


def test_corners_reach_both_ends_and_are_uniform() -> None:
    draws = many()
    for values in ([d.top for d in draws], [d.left for d in draws]):
        counts = np.bincount(values, minlength=33)
        assert len(counts) == 33  # 0 to 32, both included
        assert counts.min() > 3000 / 33 * 0.6
        assert counts.max() < 3000 / 33 * 1.5


def test_top_and_left_are_drawn_apart() -> None:
    draws = many()
    assert abs(np.corrcoef([d.top for d in draws], [d.left for d in draws])[0, 1]) < 0.06


def test_half_of_the_crops_are_mirrored() -> None:
    assert np.mean([d.mirrored for d in many()]) == pytest.approx(0.5, abs=0.03)


def test_z_is_standard_normal_for_each_direction() -> None:
    z = np.stack([d.z for d in many()])
    assert z.shape == (3000, 3)
    assert z.dtype == np.float32
    np.testing.assert_allclose(z.mean(0), 0, atol=0.07)
    np.testing.assert_allclose(np.cov(z.T), np.eye(3), atol=0.1)


def test_without_crops_all_are_central_and_without_mirroring_none_is_mirrored() -> None:
    assert {(d.top, d.left) for d in many(Augment(crops=False), 100)} == {(16, 16)}
    assert {d.mirrored for d in many(Augment(mirror=False), 100)} == {False}
    assert {d.mirrored for d in many(Augment(crops=False), 100)} == {False, True}


@pytest.fixture
def statistics() -> PixelStatistics:
    random = np.random.default_rng(1)
    vectors, _ = np.linalg.qr(random.normal(size=(3, 3)))
    mean = random.uniform(60, 180, (3, 20, 20)).astype(np.float32)
    return PixelStatistics(mean, np.array([120, 37, 20], np.float32), vectors.astype(np.float32))


DRAWS = [
    Draw(top, left, mirrored, np.random.default_rng(top + left).normal(size=3).astype(np.float32))
    for top, left, mirrored in ((0, 0, False), (6, 6, True), (3, 5, False), (1, 4, True), (6, 0, True))
]
IMAGES = np.random.default_rng(2).integers(0, 256, (len(DRAWS), 20, 20, 3), dtype=np.uint8)


def by_hand(augment: Augment, statistics: PixelStatistics, reading: str) -> np.ndarray:
    """One image at a time: the aligned mean leaves before the crop, the center mean after the mirroring."""
    out = []
    for image, d in zip(IMAGES.astype(np.float64), DRAWS, strict=True):
        x = image - statistics.mean.transpose(1, 2, 0) if reading == "aligned" else image
        x = x[d.top : d.top + 14, d.left : d.left + 14]
        x = x[:, ::-1] if d.mirrored else x
        x = x - statistics.mean[:, 3:17, 3:17].transpose(1, 2, 0) if reading == "center" else x
        noise = sum(
            p * (augment.noise * z * s)
            for p, z, s in zip(statistics.colour_vectors, d.z, statistics.colour_std, strict=True)
        )
        out.append(((x + noise) / augment.noise_divide).transpose(2, 0, 1))
    return np.stack(out)


def cut(image: np.ndarray, d: Draw) -> np.ndarray:
    return image[d.top : d.top + 14, d.left : d.left + 14]


def normalized(augment: Augment, statistics: PixelStatistics, reading: str, noise: bool = True) -> np.ndarray:
    crops = torch.from_numpy(np.stack([cut(image, d) for image, d in zip(IMAGES, DRAWS, strict=True)]))
    corners, mirrored = torch.tensor([(d.top, d.left) for d in DRAWS]), torch.tensor([d.mirrored for d in DRAWS])
    z = torch.from_numpy(np.stack([d.z for d in DRAWS]))
    result: torch.Tensor = Normalize(augment, statistics, reading, 14)(crops, corners, mirrored, z, noise)
    assert result.dtype == torch.float32
    return result.numpy()


@pytest.mark.parametrize("reading", ["aligned", "center"])
@pytest.mark.parametrize(
    "augment", [Augment(noise=0), Augment(noise=0.1), Augment(noise=0.1, noise_divide=1.1), Augment(noise=2.5)]
)
def test_normalized_crops_equal_plain_numpy(augment: Augment, statistics: PixelStatistics, reading: str) -> None:
    np.testing.assert_allclose(
        normalized(augment, statistics, reading), by_hand(augment, statistics, reading), atol=1e-3
    )


@pytest.mark.parametrize("reading", ["aligned", "center"])
def test_without_noise_nothing_is_added_and_nothing_divided(statistics: PixelStatistics, reading: str) -> None:
    expected = by_hand(Augment(noise=0, noise_divide=1), statistics, reading)
    switched_off = normalized(Augment(noise=0.1, noise_divide=1.1), statistics, reading, noise=False)
    np.testing.assert_allclose(switched_off, expected, atol=1e-4)


def test_noise_moves_every_pixel_of_an_image_by_one_colour(statistics: PixelStatistics) -> None:
    difference = normalized(Augment(noise=0.1), statistics, "center") - normalized(
        Augment(noise=0), statistics, "center"
    )
    np.testing.assert_allclose(difference, np.broadcast_to(difference[:, :, :1, :1], difference.shape), atol=1e-4)
    assert len({tuple(np.round(colour, 2)) for colour in difference[:, :, 0, 0]}) == len(DRAWS)


def test_noise_has_the_standard_deviations_of_the_colours_not_their_variances(statistics: PixelStatistics) -> None:
    z = torch.from_numpy(np.random.default_rng(0).normal(size=(4000, 3)).astype(np.float32))
    normalize = Normalize(Augment(noise=0.1), statistics, "center", 14)
    noise = (z @ normalize.directions).numpy() @ statistics.colour_vectors.T
    np.testing.assert_allclose(noise.std(0), [12, 3.7, 2], rtol=0.05)


def test_the_division_is_by_the_recipes_number(statistics: PixelStatistics) -> None:
    plain = normalized(Augment(noise=0.1), statistics, "center")
    np.testing.assert_allclose(
        normalized(replace(Augment(noise=0.1), noise_divide=1.1), statistics, "center"),
        plain / 1.1,
        rtol=1e-5,
        atol=1e-5,
    )


def test_an_image_that_is_the_mean_leaves_nothing_in_any_aligned_crop(statistics: PixelStatistics) -> None:
    image = np.rint(statistics.mean).astype(np.uint8).transpose(1, 2, 0)
    crops = torch.from_numpy(np.stack([cut(image, d) for d in DRAWS]))
    corners, mirrored = torch.tensor([(d.top, d.left) for d in DRAWS]), torch.tensor([d.mirrored for d in DRAWS])
    left = Normalize(Augment(noise=0), statistics, "aligned", 14)(
        crops, corners, mirrored, torch.zeros(len(DRAWS), 3), False
    )
    assert float(left.abs().max()) <= 0.5
