"""Provenance: the bytes that an answer comes from, besides the image's."""

from typing import NamedTuple

from tencrop.images.decoder_version import decoder_version
from tencrop.runtime.ensemble import Predictor


class Provenance(NamedTuple):
    """The hashes of the model's file and of its contract, and the decoder. Names of fields are those of answers."""

    model_sha256: str
    contract_sha256: str
    decoder: str

    @classmethod
    def of(cls, model: Predictor) -> "Provenance":
        """The provenance of the model's answers in this process."""
        return cls(model.sha256, model.contract.sha256, decoder_version())
