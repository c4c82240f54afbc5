"""Opens the models of a server and their shadow, each on its devices, and runs every batch size once."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from tencrop.common.did_you_mean import did_you_mean
from tencrop.common.errors import BadInput
from tencrop.model.embedded import EMBEDDED
from tencrop.runtime.classifier import open_classifier
from tencrop.runtime.engine_choice import EngineOptions
from tencrop.runtime.ensemble import Ensemble, Predictor
from tencrop.server.batcher import warm_up
from tencrop.server.model_folder import FILE, ModelFile
from tencrop.server.oip.served_model import PIXELS
from tencrop.server.open_shadow import OpenShadow, open_shadow
from tencrop.server.settings import Settings


class NamedFile(NamedTuple):
    """A file of a model, and the model's name; None: the file's own."""

    name: str | None
    path: Path


class OpenModels(NamedTuple):
    """The served models, and the shadow of the first."""

    served: Sequence[Predictor]
    shadow: OpenShadow | None = None


def open_models(
    paths: Sequence[Path],
    options: EngineOptions,
    ensembles: Sequence[str],
    settings: Settings,
    repository: Mapping[str, ModelFile] = MappingProxyType({}),
) -> OpenModels:
    """Open files, the models of a repository, and ensembles "NAME=A,B" of all, on every device of the options.

    Without any file there is the embedded model. Raises BadInput, WorkFailed.
    """
    files = _name_files(paths, repository) or [NamedFile(None, EMBEDDED)]
    models = [model for device in _devices(options) for model in _open_on(files, ensembles, device)]
    for model in models:
        warm_up(model, settings.forward_images(model))
    return OpenModels(models, open_shadow(settings, options, models))


def open_model(name: str, path: Path, options: EngineOptions, settings: Settings) -> list[Predictor]:
    """Open a file by a name on every device of the options. Raises BadInput, WorkFailed."""
    models: list[Predictor] = [open_classifier(path, device, name=name) for device in _devices(options)]
    for model in models:
        warm_up(model, settings.forward_images(model))
    return models


def _devices(options: EngineOptions) -> list[EngineOptions]:
    return [replace(options, device=device) for device in options.device.split(",")]


def _name_files(paths: Sequence[Path], repository: Mapping[str, ModelFile]) -> list[NamedFile]:
    """The files of the command line, then those of the repository that are not among them."""
    given = {(path / FILE if path.is_dir() else path).resolve() for path in paths}
    found = [NamedFile(name, file.check()) for name, file in repository.items() if file.path.resolve() not in given]
    return [*(NamedFile(None, path) for path in paths), *found]


def _open_on(files: Sequence[NamedFile], ensembles: Sequence[str], options: EngineOptions) -> list[Predictor]:
    """Open models, then ensembles of them, on one device. Members are opened anew. Raises BadInput, WorkFailed."""
    models: list[Predictor] = [open_classifier(file.path, options, name=file.name) for file in files]
    by_name = {model.name: file.path for model, file in zip(models, files, strict=True)}
    for text in ensembles:
        name, _, members = text.partition("=")
        wanted = members.split(",")
        unknown = [member for member in wanted if member not in by_name]
        if not name or unknown:
            what = f"--ensemble {text}: expected NAME=A,B with served models"
            raise BadInput(what, did_you_mean("".join(unknown[:1]), by_name, f"served are {', '.join(by_name)}"))
        models.append(Ensemble(name, tuple(open_classifier(by_name[member], options) for member in wanted)))
    check_names([model.name for model in models])
    return models


def check_names(models: Sequence[str]) -> None:
    """Check that no two models have one name. Each has two (server/oip/served_model.py). Raises BadInput."""
    names = [name + end for name in models for end in ("", PIXELS)]
    if len(set(names)) < len(names):
        raise BadInput(f"two models are named {max(names, key=names.count)!r}", "rename a file")
