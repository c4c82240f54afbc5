"""importers/torchvision_alexnet.py: an imported alexnet answers as torchvision's own transforms and net do."""

import json
import pickle
import warnings
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torchvision.models import alexnet
from torchvision.transforms import v2

from tencrop import cli
from tencrop.common.errors import BadInput
from tencrop.export.importers.input_convention import InputConvention
from tencrop.export.importers.run import import_net
from tencrop.export.importers.torchvision_alexnet import read_alexnet
from tencrop.images.decode import decode
from tencrop.runtime.classifier import Classifier, open_classifier
from tencrop.runtime.engine_choice import EngineOptions
from tencrop.server.app import create_app
from tencrop.server.settings import Settings

pytestmark = pytest.mark.slow
CLASSES = 12
NORMALIZE = v2.Compose(
    [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
)


@pytest.fixture(scope="module")
def net() -> nn.Module:
    """torchvision's alexnet, with weights that give photographs different answers."""
    torch.manual_seed(2014)
    made = alexnet(weights=None, num_classes=CLASSES)
    for layer in made.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            assert layer.bias is not None
            nn.init.normal_(layer.bias, 0, 0.1)
    made.eval()
    return made  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def imported(net: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("torchvision")
    torch.save(net.state_dict(), folder / "alexnet.pth")
    (folder / "names.txt").write_text("".join(f"n{i:08} the {i}th\n" for i in range(CLASSES)))
    made = import_net(folder / "alexnet.pth", folder / "mine", InputConvention(), folder / "names.txt")
    assert made.recipe["assumed"] == [] and made.recipe["about"] == "imported: torchvision's alexnet"
    return folder / "mine"


@pytest.fixture(scope="module")
def classifier(imported: Path) -> Classifier:
    return open_classifier(imported, EngineOptions("cpu", "openvino", "fp32"))


@torch.inference_mode()
def test_center_view_equals_torchvisions_preset(
    net: nn.Module, classifier: Classifier, photographs: dict[str, Path]
) -> None:
    preset = v2.Compose([v2.Resize(256), v2.CenterCrop(224), NORMALIZE])
    for path in photographs.values():
        want = net(preset(Image.open(path).convert("RGB"))[None]).softmax(-1)[0].numpy()
        pixels, _ = decode(path.read_bytes(), classifier.file.metadata.contract)
        _, each = classifier.forward(pixels[None])
        np.testing.assert_allclose(each[0, 2], want, rtol=0, atol=1e-4)
        assert 0.05 < want.max() < 0.999  # neither uniform nor certain


@torch.inference_mode()
def test_mean_equals_torchvisions_ten_crop(
    net: nn.Module, classifier: Classifier, photographs: dict[str, Path]
) -> None:
    ten = v2.Compose([v2.Resize(256), v2.CenterCrop(256), v2.TenCrop(224)])
    for path in photographs.values():
        crops = torch.stack([NORMALIZE(crop) for crop in ten(Image.open(path).convert("RGB"))])
        want = net(crops).softmax(-1)
        pixels, _ = decode(path.read_bytes(), classifier.file.metadata.contract)
        mean, each = classifier.forward(pixels[None])
        np.testing.assert_allclose(mean[0], want.mean(0).numpy(), rtol=0, atol=1e-4)
        assert np.ptp(each[0], axis=0).max() > 1e-2  # the views differ, so another mean fails


def test_imported_net_is_served_under_the_name_of_its_folder(
    classifier: Classifier, photographs: dict[str, Path]
) -> None:
    pixels, _ = decode(photographs["china"].read_bytes(), classifier.file.metadata.contract)
    mean, _ = classifier.forward(pixels[None])
    with TestClient(create_app([classifier], Settings())) as client:
        reply = client.post("/v1/predict?top=1", content=photographs["china"].read_bytes()).json()
        drawn = client.get("/page/kernels.png")
    best = int(mean[0].argmax())
    assert (
        reply["model"] == "mine"
        and reply["top"][0]["id"] == f"n{best:08}"
        and reply["top"][0]["label"] == f"the {best}th"
    )
    assert drawn.status_code == 200 and drawn.content.startswith(b"\x89PNG")


def test_imported_net_is_evaluated(
    imported: Path,
    net: nn.Module,
    photographs: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    preset = v2.Compose([v2.Resize(256), v2.CenterCrop(224), NORMALIZE])
    right = {}
    for name, path in photographs.items():  # china gets the class that the net answers, flower another one
        with torch.inference_mode():
            best = int(net(preset(Image.open(path).convert("RGB"))[None]).argmax())
        right[name] = best if name == "china" else (best + 1) % CLASSES
        folder = tmp_path / "photos" / f"n{right[name]:08}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / path.name).write_bytes(path.read_bytes())
    data = ["evaluate", str(tmp_path / "photos"), "--model", str(imported), "--precision", "fp32", "--json"]
    monkeypatch.setattr("sys.argv", ["tencrop", *data])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    summary = json.loads(capsys.readouterr().out)
    assert (
        ended.value.code == 0
        and summary["n"] == 2
        and summary["center"]["top1_error"] == 0.5
        and summary["model"]["name"] == "mine"
    )


def make_thin_weights(**changes: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """A state dict of torchvision's layers with eight kernels each."""
    generator = torch.Generator().manual_seed(1)
    shapes = {
        "features.0": (8, 3, 11, 11),
        "features.3": (8, 8, 5, 5),
        "classifier.1": (8, 288),
        "classifier.4": (8, 8),
        "classifier.6": (5, 8),
    }
    shapes |= {f"features.{i}": (8, 8, 3, 3) for i in (6, 8, 10)} | changes
    made = {}
    for layer, shape in shapes.items():
        made[f"{layer}.weight"] = torch.randn(shape, generator=generator) * (2 / np.prod(shape[1:])) ** 0.5
        made[f"{layer}.bias"] = torch.randn(shape[:1], generator=generator)
    return made


def wrap_as_lightning(state_dict: dict[str, torch.Tensor], **hyper_parameters: object) -> dict[str, object]:
    """The entries that pytorch-lightning 2.6 saves beside the weights (its Trainer.save_checkpoint)."""
    score: dict[str, object] = {
        "monitor": None,
        "best_model_score": torch.tensor(0.5),
        "best_model_path": "x.ckpt",
        "best_k_models": {},
    }
    return {
        "epoch": 1,
        "global_step": 1,
        "pytorch-lightning_version": "2.6.6",
        "state_dict": OrderedDict(state_dict),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 1}}}},
        "callbacks": {"ModelCheckpoint{'monitor': None}": score},
        "optimizer_states": [{"state": {0: {"momentum_buffer": torch.zeros(2)}}, "param_groups": [{"lr": 0.01}]}],
        "lr_schedulers": [{"step_size": 1, "_last_lr": [0.01]}],
        "hparams_name": "kwargs",
        "hyper_parameters": {"lr": 0.01, **hyper_parameters},
    }


def test_every_file_of_the_same_weights_gives_the_same_net(tmp_path: Path) -> None:
    weights = make_thin_weights()
    torch.save(weights, tmp_path / "a.pth")
    torch.save({"model": {f"module.{name}": value for name, value in weights.items()}, "epoch": 3}, tmp_path / "b.pt")
    features = {name.replace("features.", "features.module."): value for name, value in weights.items()}
    torch.save({"state_dict": features}, tmp_path / "e.pth.tar")  # the form of PyTorch's ImageNet script
    torch.save({"state_dict": weights}, tmp_path / "c.pth", _use_new_zipfile_serialization=False)
    save_file(weights, tmp_path / "d.safetensors")
    save_file({f"_orig_mod.{name}": value for name, value in weights.items()}, tmp_path / "f.safetensors")
    compiled = {name.replace("features.", "features._orig_mod."): value for name, value in weights.items()}
    torch.save({"model_state_dict": compiled, "optimizer_state_dict": {"state": {}}}, tmp_path / "g.pt")
    torch.save({f"_orig_mod.module.{name}": value for name, value in weights.items()}, tmp_path / "h.pth")
    averaged = {"n_averaged": torch.tensor(7), **{f"module.{name}": value for name, value in weights.items()}}
    torch.save({"model_ema": averaged}, tmp_path / "i.pth")
    torch.save(wrap_as_lightning({f"model.{name}": value for name, value in weights.items()}), tmp_path / "j.ckpt")
    torch.save(wrap_as_lightning({f"net._orig_mod.{k}": v for k, v in weights.items()}), tmp_path / "k.ckpt")
    assert len(list(tmp_path.iterdir())) == 11
    graphs = {read_alexnet(path, InputConvention()).model.SerializeToString() for path in sorted(tmp_path.iterdir())}
    assert len(graphs) == 1


def test_which_of_two_state_dicts_was_taken_is_said(tmp_path: Path) -> None:
    weights = make_thin_weights()
    averaged = {name: value + 1 for name, value in weights.items()}
    torch.save({"model_ema": averaged, "model": weights}, tmp_path / "both.pth")
    torch.save(weights, tmp_path / "one.pth")
    both, one = (read_alexnet(tmp_path / name, InputConvention()) for name in ("both.pth", "one.pth"))
    assert both.model == one.model
    assert both.assumed == ("the weights 'model'; the file also holds 'model_ema'",) and one.assumed == ()


class Harm:
    """An object whose pickle runs code."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return exec, ("raise SystemExit(3)",)


def save(content: object) -> Callable[[Path], None]:
    return lambda path: torch.save(content, path)


def write_truncated(path: Path) -> None:
    torch.save(make_thin_weights(), path)
    path.write_bytes(path.read_bytes()[:5000])


def write_truncated_safetensors(path: Path) -> None:
    save_file(make_thin_weights(), path)
    path.write_bytes(path.read_bytes()[:5000])


def write_complex_safetensors(path: Path) -> None:
    save_file(make_thin_weights() | {"features.0.weight": torch.zeros(8, 3, 11, 11, dtype=torch.complex64)}, path)


def save_with_first(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Path], None]:
    return lambda path: torch.save(
        make_thin_weights() | {"features.0.weight": change(make_thin_weights()["features.0.weight"])}, path
    )


def quantise(kernels: torch.Tensor) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates quantised tensors, but files hold them
        return torch.quantize_per_tensor(kernels, 0.1, 0, torch.qint8)


def prefix_names(prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in make_thin_weights().items()}


def save_endless(path: Path) -> None:
    endless: dict[str, object] = {}
    endless["model"] = endless
    torch.save(endless, path)


REFUSED: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "another net in capitals": ("x.PTH", save({"conv.weight": torch.zeros(1)}), "not torchvision's alexnet"),
    "another net of a training script": (
        "x.pth.tar",
        save({"state_dict": {"conv.weight": torch.zeros(1)}}),
        "not torchvision's alexnet",
    ),
    "weights of no device": (
        "x.pth",
        save_with_first(lambda kernels: kernels.to("meta")),
        "'features.0.weight' is meta",
    ),
    "sparse weights": (
        "x.pth",
        save_with_first(lambda kernels: kernels.to_sparse()),
        "'features.0.weight' is sparse_coo float32",
    ),
    "quantised weights": ("x.pth", save_with_first(quantise), "'features.0.weight' is strided qint8"),
    "complex weights": (
        "x.pth",
        save_with_first(lambda kernels: kernels.to(torch.complex64)),
        "'features.0.weight' is strided complex64",
    ),
    "complex safetensors": ("x.safetensors", write_complex_safetensors, "'features.0.weight' is complex64"),
    "another net": ("x.pth", save({"conv.weight": torch.zeros(1)}), "not torchvision's alexnet"),
    "a part of another net": (
        "x.ckpt",
        save({"state_dict": {"model.conv1.weight": torch.zeros(1)}}),
        "'classifier.1.bias' is missing; 'model.conv1.weight' is not one of its layers",
    ),
    "a weight of the loss": (
        "x.ckpt",
        save(wrap_as_lightning({"loss.weight": torch.zeros(1), **prefix_names("model.")})),
        "'loss.weight' is not one of its layers); save the net's state_dict()",
    ),
    "two prefixes": (
        "x.pth",
        save({**prefix_names("model."), **prefix_names("ema.")}),
        "'ema.classifier.1.bias' is not one of its layers",
    ),
    "the same name twice": (
        "x.pth",
        save({**prefix_names(""), **prefix_names("module.")}),
        "holds two weights 'features.0.weight', one as 'module.features.0.weight'",
    ),
    "parameters of a foreign class": (
        "x.ckpt",
        save(wrap_as_lightning(prefix_names("model."), folder=Path("x"))),
        "it holds pathlib.PosixPath, and such a pickle can run code; where you trust it, load it with",
    ),
    "a dict that holds itself": ("x.pth", save_endless, "holds no state dict"),
    "weights that are no numbers": (
        "x.pth",
        save_with_first(lambda kernels: kernels.index_fill(0, torch.tensor(2), torch.nan)),
        "'features.0.weight' holds values that are no float32 numbers",
    ),
    "weights beyond float32": (
        "x.pth",
        save_with_first(lambda kernels: kernels.double() * 1e300),
        "'features.0.weight' holds values that are no float32 numbers",
    ),
    "safetensors beyond float32": (
        "x.safetensors",
        lambda path: save_file(
            make_thin_weights() | {"classifier.4.bias": torch.full((8,), 1e300, dtype=torch.float64)}, path
        ),
        "'classifier.4.bias' holds values that are no float32 numbers",
    ),
    "a layer too many": (
        "x.pth",
        save(make_thin_weights() | {"classifier.9.weight": torch.zeros(1)}),
        "'classifier.9.weight' is not one",
    ),
    "wrong shapes": (
        "x.pth",
        save(make_thin_weights(**{"classifier.1": (8, 300)})),
        "classifier.1 has weights [8, 300]",
    ),
    "a whole module": ("x.pth", save(nn.Linear(1, 1)), "weights only"),
    "a list": ("x.pth", save([torch.zeros(1)]), "no state dict"),
    "hostile": ("x.pth", lambda path: path.write_bytes(pickle.dumps(Harm())), "weights only"),
    "hostile archive": ("x.pth", save({"features.0.weight": Harm()}), "weights only"),
    "truncated": ("x.pth", write_truncated, "weights only"),
    "missing": ("x.pth", lambda path: None, "No such file"),
    "a text as safetensors": ("x.safetensors", lambda path: path.write_bytes(b"not at all"), "not a safetensors file"),
    "truncated safetensors": ("x.safetensors", write_truncated_safetensors, "not a safetensors file"),
    "missing safetensors": ("x.safetensors", lambda path: None, "not a safetensors file"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_bad_weights_are_refused_and_nothing_is_written(what: str, tmp_path: Path) -> None:
    name, write, message = REFUSED[what]
    write(tmp_path / name)
    with pytest.raises(BadInput) as refused:
        import_net(tmp_path / name, tmp_path / "out", InputConvention(), None)
    assert message in str(refused.value) and "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_crop_that_leaves_other_maps_is_refused(tmp_path: Path) -> None:
    torch.save(make_thin_weights(), tmp_path / "a.pth")
    with pytest.raises(BadInput, match="maps of 8x8"):
        import_net(tmp_path / "a.pth", tmp_path / "out", InputConvention(crop=288), None)
