"""Opens the models of a server and their shadow, each on its devices, and runs every batch size once."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tencrop.common.did_you_mean import did_you_mean
from tencrop.common.errors import BadInput
from tencrop.model.embedded import EMBEDDED
from tencrop.runtime.classifier import open_classifier
from tencrop.runtime.engine_choice import EngineOptions
from tencrop.runtime.ensemble import Ensemble, Predictor
from tencrop.server.batcher import warm_up
from tencrop.server.open_shadow import OpenShadow, open_shadow
from tencrop.server.settings import Settings


class OpenModels(NamedTuple):
    """The served models, and the shadow of the first."""

    served: Sequence[Predictor]
    shadow: OpenShadow | None = None


def open_models(
    paths: Sequence[Path], options: EngineOptions, ensembles: Sequence[str], settings: Settings
) -> OpenModels:
    """Open files (none: the embedded model) and ensembles "NAME=A,B" of their models, on every device of the options.

    Raises BadInput, WorkFailed.
    """
    devices = [replace(options, device=device) for device in options.device.split(",")]
    models = [model for device in devices for model in _open_on(paths or (EMBEDDED,), ensembles, device)]
    for model in models:
        warm_up(model, settings.forward_images(model))
    return OpenModels(models, open_shadow(settings, options, models))


def _open_on(paths: Sequence[Path], ensembles: Sequence[str], options: EngineOptions) -> list[Predictor]:
    """Open models, then ensembles of them, on one device. Members are opened anew. Raises BadInput, WorkFailed."""
    models: list[Predictor] = [open_classifier(path, options) for path in paths]
    by_name = {model.name: path for model, path in zip(models, paths, strict=True)}
    for text in ensembles:
        name, _, members = text.partition("=")
        wanted = members.split(",")
        unknown = [member for member in wanted if member not in by_name]
        if not name or unknown:
            what = f"--ensemble {text}: expected NAME=A,B with served models"
            raise BadInput(what, did_you_mean("".join(unknown[:1]), by_name, f"served are {', '.join(by_name)}"))
        models.append(Ensemble(name, tuple(open_classifier(by_name[member], options) for member in wanted)))
    names = [model.name for model in models]
    if len(set(names)) < len(names):
        raise BadInput(f"two models are named {max(names, key=names.count)!r}", "rename a file")
    return models
