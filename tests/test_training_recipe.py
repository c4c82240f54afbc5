"""training/recipe.py: recipes load with the numbers of the paper and the 2012 program; a mistake is one line."""

from dataclasses import replace
from pathlib import Path

import pytest
import tomli_w
from support.epoch_records import make_record

from tencrop.common.errors import BadInput
from tencrop.common.strict_config import dump, parse
from tencrop.model.net_config import LRN, Conv, Linear, NetConfig
from tencrop.training.recipe import Augment, Event, Optim, Plateau, compare_recipes, load, to_plain
from tencrop.training.recipe_table import RECIPES
from tencrop.training.schedule import compute_epoch_settings

ALL = sorted(path.stem for path in RECIPES.glob("*.toml"))
MINIMAL = 'name = "x"\nabout = "y"\nepochs = 10\n'


def written(tmp_path: Path, text: str) -> str:
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    return str(tmp_path / "mine.toml")


def one_line(error: BadInput) -> str:
    message = str(error)
    assert "\n" not in message
    assert 10 < len(message) < 400
    return message


@pytest.mark.parametrize("name", ALL)
def test_every_recipe_loads_under_its_own_name(name: str) -> None:
    recipe = load(name)
    assert recipe.name == name
    assert recipe.about
    assert recipe.epochs > 0


def test_paper_source145_and_caltech101_are_recipes() -> None:
    assert {"paper", "source145", "caltech101"} <= set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_a_resolved_recipe_is_a_recipe(name: str, tmp_path: Path) -> None:
    recipe = load(name)
    assert load(written(tmp_path, tomli_w.dumps(to_plain(recipe)))) == recipe


def test_source145_is_the_2012_programs_net_145() -> None:
    recipe = load("source145")
    assert recipe.epochs == 91
    assert recipe.mean == "center"
    assert recipe.plateau is None
    assert recipe.start == ""
    assert recipe.optim == Optim(128, 0.9, 0.01, 0.0005, bias_lr=0.02, bias_decay=0.0, bias_drops=False)
    assert recipe.augment == Augment(crops=True, mirror=True, noise=0.1, noise_divide=1.1)
    assert recipe.events == (
        Event(25, divide=10),
        Event(51, divide=10),
        Event(67, layer_lr={"conv1": 1e-5}, noise=False),
        Event(72, frozen=("conv1",), noise=False),
        Event(79, divide=10, frozen=("conv1",), noise=False),
    )


def test_source145_has_the_layers_of_the_2012_program() -> None:
    net = load("source145").net
    assert net.conv1 == Conv(96, 11, 4, (0, 3), 1, 0.01, 0.0)
    assert net.conv2 == Conv(256, 5, 1, (2, 2), 2, 0.01, 1.0)
    assert net.conv3 == Conv(384, 3, 1, (1, 1), 1, 0.03, 0.0)
    assert net.conv4 == Conv(384, 3, 1, (1, 1), 2, 0.03, 1.0)
    assert net.conv5 == Conv(256, 3, 1, (1, 1), 2, 0.03, 1.0)
    assert (net.fc6, net.fc7, net.fc8) == (Linear(4096, 0.01, 1.0), Linear(4096, 0.01, 1.0), Linear(1000, 0.01, 0.0))
    assert net.lrn == LRN(size=5, alpha=1e-4, beta=0.75, k=2.0, alpha_divided=True, groups=2)
    assert (net.samemap.k, net.samemap.size, net.samemap.alpha, net.samemap.beta) == (1.0, 5, 1e-3, 0.75)
    assert (net.pool.size, net.pool.stride, net.dropout.p, net.input) == (3, 2, 0.5, 224)
    assert net.layers[:2] == ("conv1 lrn pool relu", "conv2 relu lrn samemap pool")


def test_paper_is_the_papers_text() -> None:
    recipe = load("paper")
    assert recipe.mean == "aligned"
    assert recipe.events == ()
    assert recipe.epochs == 90
    assert recipe.optim == Optim(128, 0.9, 0.01, 0.0005, bias_lr=0.01, bias_decay=0.0005, bias_drops=True)
    assert recipe.augment == Augment(noise=0.1, noise_divide=1.0)
    assert recipe.plateau is not None
    assert (recipe.plateau.divide, recipe.plateau.drops) == (10.0, 3)
    assert recipe.net.lrn == LRN(alpha_divided=False, groups=1)
    assert {layer.init_std for layer in (recipe.net.conv1, recipe.net.conv3, recipe.net.conv5, recipe.net.fc6)} == {
        0.01
    }
    assert not any("samemap" in stage for stage in recipe.net.layers)


LOGS = {  # epochs after which each net's log sets the rate of all, of conv1 (to 1e-5, to 0), and at which it ends
    "no_communication": ([25, 49, 79], [66, 72], 92),
    "no_lrn": ([22, 44, 86], [69, 73], 97),
    "no_overlap": ([23, 51, 79], [79], 90),
    "one_column": ([20, 48, 79], [66, 72], 96),  # 79: not in the log
    "source145": ([25, 51, 79], [67, 72], 91),
}


@pytest.mark.parametrize("name", LOGS)
def test_a_net_of_2012_has_the_schedule_of_its_own_log(name: str) -> None:
    recipe, (drops, first, end) = load(name), LOGS[name]
    assert recipe.epochs == end
    assert [event.after for event in recipe.events if event.divide == 10] == drops
    slow, frozen = (compute_epoch_settings(recipe, [make_record()] * after) for after in (first[0], first[-1]))
    assert slow and frozen and (slow.layer_lr == {"conv1": 1e-5}) == (len(first) == 2) and frozen.frozen == {"conv1"}
    assert [slow.noise, frozen.noise] == ([True, True] if name == "no_overlap" else [False, False])


CONV6 = Conv(256, 3, pad=(1, 1), init_std=0.03, init_bias=1.0)  # of layers-146-*.cfg: it sees both columns


@pytest.mark.parametrize(("name", "rank"), [("pretrain146_2009", 0), ("pretrain146", 2048), ("finetune146", 0)])
def test_net_146_is_net_145_with_a_sixth_convolution_over_the_last_pooling(name: str, rank: int) -> None:
    base, net = load("source145").net, load(name).net
    assert net.layers == (*base.layers[:5], "conv6 relu", *base.layers[5:])
    assert replace(net, conv6=None, layers=base.layers) == replace(base, fc8=Linear(1000, rank=rank))
    assert net.conv6 == CONV6


RATES_146 = {  # by the number of finished epochs: the rate of each kernel and matrix, by the nets' logs
    "pretrain146_2009": {
        1: {"conv1": 1e-3, "conv5": 1e-3, "conv6": 1e-2, "fc6": 1e-2, "fc8": 1e-2},
        2: {"conv1": 1e-3, "conv5": 1e-3, "conv6": 1e-3, "fc6": 1e-3, "fc8": 1e-3},
    },
    "pretrain146": {
        5: {"conv1": 1e-3, "conv5": 1e-3, "conv6": 1e-3, "fc6": 1e-2, "fc8": 1e-2},
        6: {"conv1": 1e-3, "conv5": 1e-3, "conv6": 1e-3, "fc6": 1e-3, "fc8": 1e-3},
    },
    "finetune146": {
        0: {"conv1": 1e-4, "conv2": 1e-3, "fc8": 1e-2},
        5: {"conv1": 1e-5, "conv2": 1e-3, "fc8": 1e-2},
        7: {"conv1": 0.0, "conv2": 1e-3, "fc8": 1e-2},
        9: {"conv1": 0.0, "conv2": 1e-3, "fc8": 1e-3},
        22: {"conv1": 0.0, "conv2": 1e-4, "fc8": 1e-4},
        41: {"conv1": 0.0, "conv2": 1e-4, "fc8": 1e-4},
        42: {"conv1": 0.0, "conv2": 1e-5, "fc8": 1e-5},
    },
}


@pytest.mark.parametrize("name", RATES_146)
def test_net_146_has_the_rates_of_its_logs(name: str) -> None:
    recipe = load(name)
    for done, rates in RATES_146[name].items():
        settings = compute_epoch_settings(recipe, [make_record()] * done)
        assert settings is not None
        assert {
            layer: 0.0 if layer in settings.frozen else settings.layer_lr.get(layer, settings.scale * recipe.optim.lr)
            for layer in rates
        } == pytest.approx(rates)
        assert settings.noise is (name != "finetune146" or done < 38)


def test_a_net_without_a_sixth_convolution_is_stored_without_the_key() -> None:
    assert "conv6" not in dump(NetConfig())
    stored = to_plain(load("finetune146"))["net"]
    assert stored["conv6"] == dump(CONV6)
    assert parse(NetConfig, stored, "stored") == load("finetune146").net


NO_BIAS: dict[str, tuple[object, object]] = {
    f"net.{layer}.init_bias": (1.0, 0.0) for layer in ("conv2", "conv4", "conv5", "fc6", "fc7")
}
ABLATIONS: dict[str, dict[str, tuple[object, object]]] = {  # what differs from source145: its value there, and here
    "no_communication": {
        **{f"net.{layer}.columns": (1, 2) for layer in ("conv3", "fc6", "fc7")},
        "net.conv2.channels": (256, 320),
        "net.fc6.units": (4096, 8192),
    },
    "no_conv4": {},  # and the layers
    "no_crops": {"augment.crops": (True, False), "augment.mirror": (True, False)},
    "no_dropout": {"net.dropout.p": (0.5, 0.0)},
    "no_lrn": {},  # and the layers
    "no_noise": {"augment.noise": (0.1, 0.0), "augment.noise_divide": (1.1, 1.0)},
    "no_overlap": {"net.pool.size": (3, 2), "net.conv2.pad": ([2, 2], [1, 1]), "net.conv5.pad": ([1, 1], [0, 0])},
    "one_column": {
        "net.conv1.channels": (96, 48),
        "net.conv2.channels": (256, 128),
        "net.conv3.channels": (384, 192),
        "net.conv4.channels": (384, 192),
        **{f"net.{layer}.columns": (2, 1) for layer in ("conv2", "conv4", "conv5", "lrn")},
    },
    "tanh": NO_BIAS,  # and the layers
}


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_is_source145_with_its_named_change(name: str) -> None:
    base, recipe = to_plain(load("source145")), to_plain(load(name))
    found = {key: (was, now) for key, was, now in compare_recipes(base, recipe)}
    layers = found.pop("net.layers", None)
    for key in ("epochs", "events") if name in LOGS else ():
        found.pop(key)
    assert {key: value for key, value in found.items() if key not in ("name", "about", "expect")} == ABLATIONS[name]
    without_norms = [
        " ".join(op for op in stage.split() if op not in ("lrn", "samemap")) for stage in base["net"]["layers"]
    ]
    with_tanh = [stage.replace("relu", "tanh") for stage in base["net"]["layers"]]
    without_conv4 = [stage for stage in base["net"]["layers"] if stage != "conv4 relu"]
    expected = {"no_lrn": without_norms, "tanh": with_tanh, "no_conv4": without_conv4}.get(name)
    assert (layers[1] if layers else None) == expected


def test_figure_1s_two_nets_differ_in_the_nonlinearity_and_its_bias_alone() -> None:
    relu, tanh = to_plain(load("figure1_relu")), to_plain(load("figure1_tanh"))
    found = {key: (was, now) for key, was, now in compare_recipes(relu, tanh) if key not in ("name", "about")}
    for layer in ("conv2", "conv4", "conv5", "fc6", "fc7"):  # where 1 gives ReLUs positive inputs (section 5)
        assert found.pop(f"net.{layer}.init_bias") == (1.0, 0.0)
    assert found == {
        "net.layers": (relu["net"]["layers"], [stage.replace("relu", "tanh") for stage in relu["net"]["layers"]])
    }
    assert (relu["optim"]["decay"], relu["optim"]["bias_decay"], relu["augment"]["noise"]) == (0, 0, 0)  # unregularized
    assert not (relu["augment"]["crops"] or relu["augment"]["mirror"] or "dropout" in " ".join(relu["net"]["layers"]))
    assert relu["until_train_error"] == 0.25


TEST_2010, VALIDATION_2012 = "ILSVRC-2010 test", "ILSVRC-2012 validation"
LOGGED = {  # by the 2012 program's nets; the paper gives one decimal
    "source145": {
        (TEST_2010, "center", 39.02, 18.30),
        (TEST_2010, "ten_crop", 37.47, 17.00),
        (VALIDATION_2012, "ten_crop", 40.66, 18.21),
    },
    "paper": {
        (TEST_2010, "center", 39.0, 18.3),
        (TEST_2010, "ten_crop", 37.5, 17.0),
        (VALIDATION_2012, "ten_crop", 40.7, 18.2),
    },
    "no_overlap": {(VALIDATION_2012, "ten_crop", 41.06, 18.51)},  # 147
    "no_lrn": {(VALIDATION_2012, "ten_crop", 42.03, 19.36)},  # 148
    "one_column": {(TEST_2010, "ten_crop", 39.17, 18.23)},  # 145-half
    "no_communication": {(VALIDATION_2012, "ten_crop", 41.83, 19.33)},  # 150
    "finetune146": {(VALIDATION_2012, "ten_crop", 38.99, 16.62)},  # 146-2012-2011; the paper: 39.0, 16.6
}


@pytest.mark.parametrize("name", ALL)
def test_a_recipe_expects_only_the_errors_that_its_net_logged_in_2012(name: str) -> None:
    assert {(e.data, e.views, e.top1, e.top5) for e in load(name).expect} == LOGGED.get(name, set())


def test_a_recipe_that_takes_layers_expects_the_same_from_any_start() -> None:
    assert load("finetune146", ["start=runs/fall2011"]).expect == load("finetune146").expect != ()
    assert load("finetune146", ["start=runs/fall2011", "epochs=9"]).expect == ()
    assert load("source145", ["start=runs/fall2011"]).expect == ()


def test_a_file_states_only_its_changes(tmp_path: Path) -> None:
    recipe = load(written(tmp_path, MINIMAL + "[net]\nconv3 = { init_std = 0.03 }\n"))
    assert recipe.net.conv3 == Conv(384, 3, pad=(1, 1), init_std=0.03)
    assert recipe.net.conv4 == NetConfig().conv4
    assert recipe.optim == Optim()


def test_a_base_is_laid_under_a_file(tmp_path: Path) -> None:
    recipe = load(written(tmp_path, 'base = "source145"\nname = "x"\n[optim]\nlr = 0.005\n'))
    base = load("source145")
    assert (recipe.name, recipe.about, recipe.events, recipe.net) == ("x", base.about, base.events, base.net)
    assert recipe.optim == Optim(128, 0.9, 0.005, 0.0005, bias_lr=0.02, bias_decay=0.0, bias_drops=False)


def test_a_missing_base_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such recipe"):
        load(written(tmp_path, 'base = "nothing"\n'))


def test_a_recipe_that_is_its_own_base_is_bad_input(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    with pytest.raises(BadInput, match="base"):
        load(written(tmp_path, f'base = "{path}"\n' + MINIMAL))


MISTAKES = {
    "unknown key": MINIMAL + "colour = 1\n",
    "unknown key in a table": MINIMAL + "[optim]\nlearning_rate = 0.1\n",
    "unknown layer": MINIMAL + "[net]\nconv7 = { channels = 3, kernel = 3 }\n",
    "a layer without its size": MINIMAL + "[net]\nconv6 = { channels = 3 }\n",
    "unknown table": MINIMAL + "[optimizer]\nlr = 0.1\n",
    "number as text": MINIMAL + '[optim]\nlr = "0.1"\n',
    "number as truth": MINIMAL + "[optim]\nlr = true\n",
    "fraction of a whole": MINIMAL + "[optim]\nbatch = 12.5\n",
    "truth as number": MINIMAL + "compile = 1\n",
    "text as number": MINIMAL.replace('"x"', "5"),
    "another mean": MINIMAL + 'mean = "middle"\n',
    "another precision": MINIMAL + 'precision = "fp8"\n',
    "layers as text": MINIMAL + '[net]\nlayers = "conv1 relu"\n',
    "net as number": MINIMAL + "net = 5\n",
    "event without after": MINIMAL + "[[events]]\ndivide = 10.0\n",
    "epochs as text": MINIMAL.replace("10", '"ten"'),
    "epochs as a list": MINIMAL.replace("10", "[10]"),
    "epochs as a fraction": MINIMAL.replace("10", "9.5"),
    "epochs endless": MINIMAL.replace("10", "inf"),
    "no epochs": MINIMAL.replace("epochs = 10\n", ""),
    "no epochs but events": MINIMAL.replace("epochs = 10\n", "") + "[[events]]\nafter = 3\n",
    "zero epochs": MINIMAL.replace("10", "0"),
    "zero epochs and events": MINIMAL.replace("10", "0") + "[[events]]\nafter = 3\n",
    "negative epochs": MINIMAL.replace("10", "-1"),
    "batch of nothing": MINIMAL + "[optim]\nbatch = 0\n",
    "batch below nothing": MINIMAL + "[optim]\nbatch = -1\n",
    "rate below nothing": MINIMAL + "[optim]\nlr = -0.1\n",
    "divided by nothing": MINIMAL + "[[events]]\nafter = 3\ndivide = 0.0\n",
    "divided by nothing on a plateau": MINIMAL + "[plateau]\ndivide = 0.0\n",
    "no patience": MINIMAL + "[plateau]\npatience = 0\n",
    "drops everything": MINIMAL + "[net]\ndropout = { p = 1.0 }\n",
    "no stride": MINIMAL + "[net]\npool = { stride = 0 }\n",
    "no columns": MINIMAL + "[net]\nconv2 = { columns = 0 }\n",
    "a layer that is not there, taken": MINIMAL + 'take = ["conv9"]\n',
    "a layer that is not there, frozen": MINIMAL + '[[events]]\nafter = 3\nfrozen = ["cnv1"]\n',
    "a layer without weights, frozen": MINIMAL + '[[events]]\nafter = 3\nfrozen = ["pool1"]\n',
    "a layer that is not there, slowed": MINIMAL + "[[events]]\nafter = 3\nlayer_lr = { convl = 0.1 }\n",
    "a layer that is not there, with a rate": MINIMAL + "[optim]\nlayers = { convl = { lr = 0.1 } }\n",
    "a rate below nothing of a layer": MINIMAL + "[optim]\nlayers = { fc8 = { lr = -1.0 } }\n",
    "an unknown rate of a layer": MINIMAL + "[optim]\nlayers = { fc8 = { rate = 1.0 } }\n",
    "every layer frozen": MINIMAL
    + '[net]\nlayers = ["conv1", "fc8"]\n[optim.layers]\nconv1 = { lr = 0.0 }\n'
    + '[[events]]\nafter = 3\nfrozen = ["fc8"]\n',
    "a net of nobody": MINIMAL + 'net_from = "me"\n',
    "another view": MINIMAL + 'expect = [{ data = "x", views = "all", top1 = 1.0, top5 = 1.0 }]\n',
    "half an expectation": MINIMAL + 'expect = [{ data = "x", views = "center", top1 = 1.0 }]\n',
    "a date": MINIMAL + "seed = 2012-12-03\n",
    "no number": MINIMAL + "[optim]\nlr = nan\n",
    "negative seed": MINIMAL + "seed = -1\n",
    "base as number": MINIMAL + "base = 5\n",
    "no toml": "epochs: 10\n",
    "twice": MINIMAL + "epochs = 11\n",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_file_is_one_line_naming_it(tmp_path: Path, mistake: str) -> None:
    with pytest.raises(BadInput) as caught:
        load(written(tmp_path, MISTAKES[mistake]))
    assert "mine.toml" in one_line(caught.value) or mistake == "base as number"


def test_a_file_that_is_not_text_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="not TOML"):
        load(str(tmp_path / "mine.toml"))


@pytest.mark.parametrize("name", ["papers", "/nowhere/mine.toml", "", ".."])
def test_an_unknown_recipe_is_bad_input_listing_the_known(name: str) -> None:
    with pytest.raises(BadInput) as caught:
        load(name)
    assert ", ".join(ALL) in one_line(caught.value)


@pytest.mark.parametrize(
    "override",
    [
        "epochs",
        "",
        "=5",
        "epochs=",
        "epochs=abc",
        "epochs=0",
        "epochs=1.5",
        "optim.batch=0",
        "optim.rate=1",
        "optim=5",
        "optim.lr.x=5",
        "name.x=5",
        "net.layers.0=conv1",
        "net.conv9.channels=5",
        "net.conv1.channels=95",
        "net.conv4.channels=383",
        "net.fc6.columns=5",
        "net.input=10",
        "net.lrn.size=4",
        "net.samemap.size=4",
        "mean=middle",
        "seed=2012-12-03",
        "compile=yes",
        "..=1",
    ],
)
def test_a_bad_override_is_one_line(override: str) -> None:
    with pytest.raises(BadInput) as caught:
        load("source145", [override])
    one_line(caught.value)


def test_overrides_are_toml_or_bare_words() -> None:
    recipe = load(
        "source145",
        [
            "optim.batch=64",
            "optim.lr=1e-3",
            "compile=false",
            "precision=fp32",
            'mean="aligned"',
            "net.conv1.channels=48",
            "net.layers=['conv1 tanh', 'fc8']",
        ],
    )
    assert (recipe.optim.batch, recipe.optim.lr, recipe.compile, recipe.precision, recipe.mean) == (
        64,
        1e-3,
        False,
        "fp32",
        "aligned",
    )
    assert recipe.net.conv1 == Conv(48, 11, 4, (0, 3))
    assert recipe.net.layers == ("conv1 tanh", "fc8")
    assert recipe.events == load("source145").events


def test_the_last_of_two_overrides_counts() -> None:
    assert load("paper", ["seed=1", "seed=2"]).seed == 2


def test_a_value_may_hold_an_equals_sign() -> None:
    assert load("paper", ["start=runs/a=b/checkpoint-0001"]).start == "runs/a=b/checkpoint-0001"


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [(182, [50, 102, 134, 144, 158]), (91, [25, 51, 67, 72, 79]), (45, [12, 25, 33, 36, 39]), (1, [1] * 5)],
)
def test_epochs_scale_the_events_as_a_whole(epochs: int, expected: list[int]) -> None:
    recipe = load("source145", [f"epochs={epochs}"])
    assert recipe.epochs == epochs
    assert [event.after for event in recipe.events] == expected
    assert [event.divide for event in recipe.events] == [10, 10, 1, 1, 10]


def test_a_file_with_other_epochs_scales_its_bases_events(tmp_path: Path) -> None:
    recipe = load(written(tmp_path, 'base = "source145"\nepochs = 45\n'))
    assert [event.after for event in recipe.events] == [12, 25, 33, 36, 39]
    again = load(written(tmp_path, 'base = "source145"\nepochs = 45\n'), ["epochs=91"])
    assert again.events == load("source145").events


def test_a_file_with_epochs_and_events_of_its_own_is_taken_as_it_is(tmp_path: Path) -> None:
    recipe = load(written(tmp_path, 'base = "source145"\nepochs = 45\n[[events]]\nafter = 30\n'))
    assert recipe.events == (Event(30),)


@pytest.mark.parametrize(
    "override", ["net.lrn.k=1.0", "optim.lr=0.02", "epochs=45", "mean=aligned", "augment.noise=0.0"]
)
def test_another_net_or_training_expects_nothing(override: str, tmp_path: Path) -> None:
    assert load("source145", [override]).expect == ()
    assert load(written(tmp_path, 'base = "source145"\n[optim]\nlr = 0.02\n')).expect == ()


@pytest.mark.parametrize("override", ["seed=3", "compile=false", "name=mine", "precision=fp32"])
def test_the_same_training_expects_the_same(override: str) -> None:
    assert load("source145", [override]).expect == load("source145").expect


@pytest.mark.parametrize("epochs", ["", "epochs = 0\n"])
def test_events_without_epochs_to_scale_from_are_bad_input(tmp_path: Path, epochs: str) -> None:
    text = MINIMAL.replace("epochs = 10\n", epochs) + "[[events]]\nafter = 3\n"
    with pytest.raises(BadInput, match="epochs"):
        load(written(tmp_path, text), ["epochs=5"])


def test_events_that_are_set_are_taken_as_they_are() -> None:
    recipe = load("source145", ["epochs=10", "events=[{after=4, divide=10.0}]"])
    assert recipe.events == (Event(4, divide=10.0),)


def test_a_plateau_rule_can_be_set_and_is_not_scaled() -> None:
    recipe = load("paper", ["epochs=30", "plateau.patience=2"])
    assert recipe.plateau == Plateau(10.0, 3, 2)


def test_changes_are_dotted_keys_with_both_values() -> None:
    was = {"a": 1, "b": {"c": 2, "d": {"e": [3]}}, "only": True, "same": {"x": 1}}
    now = {"a": 1, "b": {"c": 5, "d": {"e": [4]}}, "new": {"y": 1}, "same": {"x": 1}}
    assert list(compare_recipes(was, now)) == [
        ("b.c", 2, 5),
        ("b.d.e", [3], [4]),
        ("new", None, {"y": 1}),
        ("only", True, None),
    ]


def test_plain_data_leaves_out_fields_that_older_recipes_do_not_have() -> None:
    assert not {"net_from", "statistics_from"} & to_plain(load("paper")).keys()
    assert "layers" not in to_plain(load("paper"))["optim"]
    plain = to_plain(load("finetune"))
    assert (plain["net_from"], plain["statistics_from"]) == ("start", "start")
    assert plain["optim"]["layers"] == {"fc8": {"lr": 10.0}}


def test_plain_data_leaves_out_unset_fields() -> None:
    assert "plateau" not in to_plain(load("source145"))
    assert to_plain(load("paper"))["plateau"] == {"divide": 10.0, "drops": 3, "patience": 5}
