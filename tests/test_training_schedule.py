"""training/schedule.py: the settings of each epoch in the 2012 program and under the paper's plateau rule."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from support.epoch_records import make_record

from tencrop.model.run_progress import EpochRecord
from tencrop.training.recipe import Event, Plateau, Recipe, load
from tencrop.training.schedule import EpochSettings, compute_epoch_settings, count_drops

CONV1_SLOW = {"conv1": 1e-5}
CONV1 = frozenset({"conv1"})


def make_history(errors: Sequence[float]) -> list[EpochRecord]:
    """A history of these validation errors. The training error always falls, and the plateau rule must not read it."""
    return [make_record(i + 1, 0.9 - 0.001 * i, error) for i, error in enumerate(errors)]


def at(recipe: Recipe, done: int) -> EpochSettings | None:
    return compute_epoch_settings(recipe, make_history([0.5] * done))


@pytest.mark.parametrize(
    ("done", "scale", "layer_lr", "frozen", "noise"),
    [
        (0, 1, {}, frozenset(), True),
        (24, 1, {}, frozenset(), True),
        (25, 0.1, {}, frozenset(), True),
        (50, 0.1, {}, frozenset(), True),
        (51, 0.01, {}, frozenset(), True),
        (66, 0.01, {}, frozenset(), True),
        (67, 0.01, CONV1_SLOW, frozenset(), False),
        (71, 0.01, CONV1_SLOW, frozenset(), False),
        (72, 0.01, {}, CONV1, False),
        (78, 0.01, {}, CONV1, False),
        (79, 0.001, {}, CONV1, False),
        (90, 0.001, {}, CONV1, False),
    ],
)
def test_source145_has_the_2012_programs_settings(
    done: int, scale: float, layer_lr: dict[str, float], frozen: frozenset[str], noise: bool
) -> None:
    now = at(load("source145"), done)
    assert now is not None
    assert now.scale == pytest.approx(scale)
    assert (dict(now.layer_lr), now.frozen, now.noise) == (layer_lr, frozen, noise)


def test_a_layer_whose_rate_has_the_factor_0_is_frozen_all_the_time() -> None:
    recipe = load("source145", ["optim.layers.conv2.lr=0.0", "optim.layers.fc8.lr=10.0"])
    frozen = [now.frozen for done in (0, 25, 72) if (now := at(recipe, done))]
    assert frozen == [{"conv2"}, {"conv2"}, {"conv1", "conv2"}]


def test_source145_ends_after_91_epochs() -> None:
    assert at(load("source145"), 90) is not None
    assert at(load("source145"), 91) is None
    assert at(load("source145"), 95) is None


def test_events_may_stand_in_any_order() -> None:
    recipe = load("source145")
    reverse = replace(recipe, events=recipe.events[::-1])
    assert all(at(reverse, done) == at(recipe, done) for done in range(92))


def test_validation_errors_do_not_matter_without_a_plateau_rule() -> None:
    recipe = load("source145")
    assert compute_epoch_settings(recipe, make_history([0.9 - 0.001 * i for i in range(60)])) == at(recipe, 60)


PLATEAU = Plateau(divide=10.0, drops=3, patience=3)


def test_an_error_that_keeps_falling_never_drops_the_rate() -> None:
    assert count_drops(PLATEAU, [1 - 0.01 * i for i in range(90)]) == 0


@pytest.mark.parametrize(
    ("errors", "drops"),
    [
        ([], 0),
        ([0.9, 0.8, 0.8, 0.8], 0),  # two epochs without a new lowest
        ([0.9, 0.8, 0.8, 0.8, 0.8], 1),  # three
        ([0.9, 0.8, 0.85, 0.84, 0.81], 1),  # falling, but not below the lowest
        ([0.9, 0.8, 0.8, 0.8, 0.79, 0.79, 0.79], 0),  # a new lowest counts anew
        ([0.9, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8], 1),  # counted anew after the drop
        ([0.9, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8], 2),
        ([0.9, 0.8, 0.8, 0.8, 0.8, 0.7, 0.7, 0.7, 0.7], 2),
    ],
)
def test_the_rate_drops_when_the_error_stopped_improving_for_patience_epochs(errors: list[float], drops: int) -> None:
    assert count_drops(PLATEAU, errors) == drops


def test_the_plateau_rule_divides_three_times_and_then_ends() -> None:
    recipe = replace(load("paper"), plateau=PLATEAU)
    scales = []
    for done in range(30):
        now = at(recipe, done)
        if now is None:
            break
        scales.append(now.scale)
    # the first epoch is a new lowest; then three without, four times over
    assert scales == pytest.approx([1.0] * 4 + [0.1] * 3 + [0.01] * 3 + [0.001] * 3)


def test_epochs_end_a_plateau_schedule_too() -> None:
    recipe = replace(load("paper"), epochs=5)
    falling = make_history([0.9, 0.8, 0.7, 0.6, 0.5])
    assert compute_epoch_settings(recipe, falling[:4]) is not None
    assert compute_epoch_settings(recipe, falling) is None


def test_events_divide_on_top_of_a_plateaus_drops() -> None:
    recipe = replace(load("paper"), plateau=PLATEAU, events=(Event(2, divide=2.0),))
    now = at(recipe, 4)
    assert now is not None
    assert now.scale == pytest.approx(0.05)


def test_the_settings_depend_on_the_past_alone_so_resuming_needs_no_state() -> None:
    recipe = replace(load("paper"), plateau=PLATEAU)
    history = make_history([0.9, 0.8, 0.8, 0.8, 0.8, 0.7])
    settings = EpochSettings(pytest.approx(0.1))  # type: ignore[arg-type]
    assert compute_epoch_settings(recipe, history) == compute_epoch_settings(recipe, list(history)) == settings


@pytest.mark.parametrize(
    ("errors", "over"), [([], False), ([0.251], False), ([0.25], True), ([0.6, 0.2], True), ([0.2, 0.6], False)]
)
def test_figure_1_ends_after_the_first_epoch_at_25_percent_training_error(errors: list[float], over: bool) -> None:
    recipe = load("figure1_relu")
    history = [make_record(train_error=error, center_top1_error=0.1) for error in errors]
    assert (compute_epoch_settings(recipe, history) is None) == over


def test_a_training_error_of_0_ends_no_other_run() -> None:
    perfect = make_record(train_error=0.0, center_top1_error=0.0)
    assert compute_epoch_settings(load("source145"), [perfect]) is not None
