"""LoadedModel: what the server says and needs to know of a model, without the engine that computes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from tencrop.model.calibration import Calibration
from tencrop.model.contract import Contract
from tencrop.model.feature_output import read_widths
from tencrop.model.measured_errors import MeasuredErrors, read_measured_errors
from tencrop.model.tencropfile import TenCropFile
from tencrop.runtime.ensemble import Ensemble, Predictor
from tencrop.runtime.provenance import Provenance
from tencrop.server.settings import Settings


class EngineInfo(NamedTuple):
    """The engine, the devices ("cuda:0,cuda:1") and the precision that compute a model's answers."""

    engine: str
    device: str
    precision: str


@dataclass(frozen=True)
class LoadedModel:
    """A model on its engines, which may run in another process."""

    name: str
    sha256: str
    contract: Contract
    nets: tuple[TenCropFile, ...]  # without their graphs
    is_ensemble: bool
    engine_info: EngineInfo
    provenance: Provenance
    errors: MeasuredErrors | None  # of the summary.json beside the file
    forward_images: int  # the largest batch of a forward pass
    queue_images: int  # that may be admitted at once
    features: Mapping[str, int]  # number of features of each layer that the file gives; an ensemble gives none

    @property
    def calibration(self) -> Calibration | None:
        """The net's confidences and sets of labels; None where it is not calibrated, as an ensemble never is."""
        return None if self.is_ensemble else self.nets[0].metadata.calibration

    @property
    def parameters(self) -> dict[str, str]:
        """Engine, device, precision and provenance: what an answer says of the model besides its name."""
        return {**self.engine_info._asdict(), **self.provenance._asdict()}

    def describe_status(self) -> dict[str, Any]:
        """The fields of a ModelStatus."""
        _, contract_sha256, decoder = self.provenance
        coverages = list(self.calibration.coverages) if self.calibration else []
        names = {"sha256": self.sha256, "contract_sha256": contract_sha256, "decoder": decoder}
        known = {"coverages": coverages, "features": list(self.features)}
        return {"name": self.name, **self.engine_info._asdict(), **names, **known}


def describe_model(engines: Sequence[Predictor], settings: Settings) -> LoadedModel:
    """Describe a model that `engines` compute, each on its own device. Raises BadInput for a bad summary.json."""
    model = engines[0]
    devices = ",".join(each.engine.device for each in engines)
    return LoadedModel(
        name=model.name,
        sha256=model.sha256,
        contract=model.contract,
        nets=tuple(replace(member.file, graph=b"") for member in model.members),
        is_ensemble=isinstance(model, Ensemble),
        engine_info=EngineInfo(model.engine.name, devices, model.engine.precision),
        provenance=Provenance.of(model),
        errors=read_measured_errors(model.members[0].file.folder, model.sha256),
        forward_images=settings.forward_images(model),
        queue_images=settings.queue_images(model),
        features=read_widths(model.members[0].file) if len(model.members) == 1 else {},
    )
