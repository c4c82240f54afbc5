"""training/loader.py: every training image once an epoch, in a new order each time, with any number of workers."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tencrop.common.errors import BadInput, WorkFailed
from tencrop.dataset.layouts import open_source
from tencrop.dataset.prepare import prepare
from tencrop.dataset.prepared_store import PreparedStore
from tencrop.training.augment import Draws
from tencrop.training.loader import (
    MAX_WORKERS,
    SHARED_MEMORY,
    Batch,
    EpochOrder,
    Loader,
    check_memory,
    count_slots,
    spare_cores,
)
from tencrop.training.recipe import Recipe, load


def recipe(batch: int = 8, seed: int = 0) -> Recipe:
    base = load("caltech101")
    return replace(base, seed=seed, optim=replace(base.optim, batch=batch))


def keys(prepared: PreparedStore, recipe: Recipe, epoch: int) -> list[list[tuple[int, int]]]:
    order = EpochOrder(prepared, recipe, (0, 1))
    order.epoch = epoch
    return list(order)


def equal(a: Batch, b: Batch) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("batch", [1, 5, 8])
def test_every_training_image_comes_at_most_once_and_no_other(tiny_prepared: PreparedStore, batch: int) -> None:
    training = set(np.flatnonzero(~tiny_prepared.validation).tolist())
    batches = keys(tiny_prepared, recipe(batch), 1)
    samples = [sample for group in batches for _, sample in group]
    assert len(set(samples)) == len(samples)
    assert set(samples) <= training
    assert {len(group) for group in batches} == {batch}
    assert len(training) - len(samples) == len(training) % batch  # only the last incomplete batch is left out


def test_keys_carry_the_epoch(tiny_prepared: PreparedStore) -> None:
    assert {epoch for group in keys(tiny_prepared, recipe(), 7) for epoch, _ in group} == {7}


def test_each_epoch_has_its_own_order_and_each_seed_its_own(tiny_prepared: PreparedStore) -> None:
    orders = [
        tuple(sample for group in keys(tiny_prepared, recipe(1, seed), epoch) for _, sample in group)
        for seed in (0, 1)
        for epoch in (1, 2, 3)
    ]
    assert len(set(orders)) == 6
    assert len({frozenset(order) for order in orders}) == 1


def test_the_order_of_an_epoch_does_not_depend_on_the_epochs_before(tiny_prepared: PreparedStore) -> None:
    order = EpochOrder(tiny_prepared, recipe(), (0, 1))
    for epoch in (1, 2):
        order.epoch = epoch
        list(order)
    order.epoch = 3
    assert list(order) == keys(tiny_prepared, recipe(), 3)


def test_images_that_one_epoch_leaves_out_come_in_another(tiny_prepared: PreparedStore) -> None:
    seen = {sample for epoch in range(1, 9) for group in keys(tiny_prepared, recipe(10), epoch) for _, sample in group}
    assert seen == set(np.flatnonzero(~tiny_prepared.validation).tolist())


def test_a_batch_larger_than_the_data_set_becomes_all_of_it(tiny_prepared: PreparedStore) -> None:
    training = int((~tiny_prepared.validation).sum())
    assert [len(group) for group in keys(tiny_prepared, recipe(1000), 1)] == [training]


@pytest.mark.parametrize("shares", [2, 4])
def test_the_shares_split_each_batch_equally_and_without_overlap(tiny_prepared: PreparedStore, shares: int) -> None:
    orders = [EpochOrder(tiny_prepared, recipe(), (index, shares)) for index in range(shares)]
    for order in orders:
        order.epoch = 2
    whole = keys(tiny_prepared, recipe(), 2)
    assert {len(order) for order in orders} == {len(whole)}
    for batch, *parts in zip(whole, *orders, strict=True):
        assert {len(part) for part in parts} == {8 // shares}
        assert sorted(key for part in parts for key in part) == sorted(batch)


def test_shares_that_do_not_divide_a_batch_are_bad_input(tiny_prepared: PreparedStore) -> None:
    with pytest.raises(BadInput, match="a batch of 8 does not divide among 3 processes"):
        EpochOrder(tiny_prepared, recipe(), (0, 3))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_a_stopped_epoch_continues_with_the_next_batch(tiny_prepared: PreparedStore, workers: int) -> None:
    loader = Loader(tiny_prepared, recipe(), workers)
    whole = list(loader.iter_epoch(2))
    for done in (1, 2, 3):
        rest = list(loader.iter_epoch(2, done))
        assert len(rest) == 3 - done
        assert all(equal(a, b) for a, b in zip(rest, whole[done:], strict=True))
    assert len(list(loader.iter_epoch(3))) == 3  # the next one is whole again


def test_a_batch_holds_the_drawn_crops_of_its_images_not_mirrored_yet(tiny_prepared: PreparedStore) -> None:
    plan = recipe()
    batches = list(Loader(tiny_prepared, plan, 0).iter_epoch(4))
    groups, draws = keys(tiny_prepared, plan, 4), Draws(plan.augment, tiny_prepared.contract, plan.seed)
    assert len(batches) == len(groups) == len(Loader(tiny_prepared, plan, 0))
    for batch, group in zip(batches, groups, strict=True):
        for i, (epoch, sample) in enumerate(group):
            chance = draws.draw(epoch, sample)
            cut = tiny_prepared.read_pixels(sample)[chance.top :, chance.left :][:224, :224]
            np.testing.assert_array_equal(batch.crops[i].numpy(), cut)
            assert batch.corners[i].tolist() == [chance.top, chance.left]
            assert bool(batch.mirrored[i]) == chance.mirrored
            np.testing.assert_array_equal(batch.z[i].numpy(), chance.z)
            assert int(batch.labels[i]) == tiny_prepared.labels[sample]


@pytest.fixture
def same_pixels(tiny_folder: Path, tiny_prepared: PreparedStore, tmp_path: Path) -> PreparedStore:
    """A raw store of the pixels that the store of JPEGs gives."""
    images = Path(shutil.copytree(tiny_folder, tmp_path / "images"))
    whole = [entry.id for entry in open_source(images).entries if "broken" not in entry.id]
    for index, name in enumerate(whole):
        Image.fromarray(tiny_prepared.read_pixels(index)).save(images / name)
    prepare(open_source(images), tmp_path / "raw", 0.2, lambda done: None, "raw")
    return PreparedStore.open(tmp_path / "raw")


def test_both_stores_give_equal_batches_of_the_same_pixels(
    tiny_prepared: PreparedStore, same_pixels: PreparedStore
) -> None:
    stores = (tiny_prepared, same_pixels)
    for epoch in (1, 2):
        pairs = zip(*(Loader(each, recipe(), 0).iter_epoch(epoch) for each in stores), strict=True)
        assert [equal(a, b) for a, b in pairs] == [True] * 3
    validation = np.flatnonzero(tiny_prepared.validation)
    (ours, labels), (theirs, expected) = (next(each.iter_batches(validation, 64)) for each in stores)
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(labels, expected)


def test_a_batch_has_the_types_of_the_objective(tiny_prepared: PreparedStore) -> None:
    batch = next(Loader(tiny_prepared, recipe(), 0).iter_epoch(1))
    assert [part.dtype for part in batch] == [torch.uint8, torch.int64, torch.bool, torch.float32, torch.int64]
    assert [tuple(part.shape) for part in batch] == [(8, 224, 224, 3), (8, 2), (8,), (8, 3), (8,)]


@pytest.mark.slow
def test_with_and_without_workers_the_batches_are_the_same(tiny_prepared: PreparedStore) -> None:
    alone, helped = Loader(tiny_prepared, recipe(), 0), Loader(tiny_prepared, recipe(), 1)
    for epoch in (1, 2):
        pairs = list(zip(alone.iter_epoch(epoch), helped.iter_epoch(epoch), strict=True))
        assert len(pairs) == len(alone) == len(helped)
        assert all(equal(a, b) for a, b in pairs)


@pytest.mark.slow
def test_a_batch_stays_as_it_is_while_its_slot_is_filled_again(tiny_prepared: PreparedStore) -> None:
    alone, helped = Loader(tiny_prepared, recipe(1), 0), Loader(tiny_prepared, recipe(1), 1)
    assert len(helped) > count_slots(1)
    kept = list(helped.iter_epoch(1))
    assert all(equal(a, b) for a, b in zip(kept, alone.iter_epoch(1), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_loading_leaves_torchs_random_state_alone(tiny_prepared: PreparedStore, workers: int) -> None:
    """A resumed run starts its workers anew. It must draw the same dropout masks as an uninterrupted one."""
    loader = Loader(tiny_prepared, recipe(), workers)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    for epoch in (1, 2):
        for _ in loader.iter_epoch(epoch):
            pass
    assert torch.equal(torch.get_rng_state(), before)


def test_workers_are_as_many_as_spare_cores_but_not_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tencrop.training.loader.cores", lambda: 8)
    assert spare_cores() == 7
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert spare_cores() == 1
    monkeypatch.setattr("tencrop.training.loader.cores", lambda: 1000)
    assert spare_cores() == MAX_WORKERS


@pytest.mark.skipif(not SHARED_MEMORY.is_dir(), reason="this system keeps no shared memory in a folder")
def test_batches_that_do_not_fit_shared_memory_are_refused_before_they_end_a_worker() -> None:
    check_memory(1, 1000)
    with pytest.raises(WorkFailed, match=r"1000000 workers keep .* MB free; lower --workers"):
        check_memory(1_000_000, 10**9)
