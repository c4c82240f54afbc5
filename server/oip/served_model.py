"""ServedModel: a model as the Open Inference Protocol names and describes it."""

from typing import Any

from tencrop.server.answered import Engine
from tencrop.server.image_answer import ENCODED, SQUARES
from tencrop.server.oip.schemas import (
    InputConfig,
    InstanceGroup,
    ModelConfig,
    ModelMetadata,
    ModelStatistics,
    TensorConfig,
    TensorMetadata,
)
from tencrop.server.oip.statistics import describe_statistics
from tencrop.server.pipeline import Pipeline

OUTPUT, VIEWS = "probabilities", "view_probabilities"  # of the ten views together, and of each
VERSION = "1"  # of every model
DYNAMIC = -1  # a dimension of any length
PIXELS = "-pixels"  # ends the name under which a model takes decoded squares
PLATFORM = "tencrop_onnx"
CONFIG_TYPES = {"BYTES": "TYPE_STRING", "UINT8": "TYPE_UINT8", "FP32": "TYPE_FP32"}
FORMATS = {ENCODED: "FORMAT_NONE", SQUARES: "FORMAT_NHWC"}  # of Triton's model configuration

ENCODED_IMAGES = TensorMetadata(name="image", datatype="BYTES", shape=(DYNAMIC,))


class ServedModel:
    """A model under one of its two names: NAME takes encoded images, NAME-pixels takes decoded squares."""

    def __init__(self, pipeline: Pipeline, name: str) -> None:
        contract, side = pipeline.model.contract, pipeline.model.contract.resize
        takes_pixels = name != pipeline.model.name
        self.form, self.model_name = SQUARES if takes_pixels else ENCODED, pipeline.model.name
        self.pipeline, self.name, self.engine_info = pipeline, name, pipeline.model.engine_info
        self.parameters = pipeline.model.parameters
        self.input = (
            TensorMetadata(name="images", datatype="UINT8", shape=(DYNAMIC, side, side, 3))
            if takes_pixels
            else ENCODED_IMAGES
        )
        classes = len(contract.labels)
        self.outputs = [
            TensorMetadata(name=OUTPUT, datatype="FP32", shape=(DYNAMIC, classes)),
            TensorMetadata(name=VIEWS, datatype="FP32", shape=(DYNAMIC, len(contract.views), classes)),
            *(
                TensorMetadata(name=layer, datatype="FP32", shape=(DYNAMIC, width))
                for layer, width in pipeline.model.features.items()
            ),
        ]
        # Triton's clients for images, as its image_client.py, take a model that batches and has one output
        self.max_batch_size = pipeline.admission.capacity if takes_pixels else 0
        self.listed_outputs = self.outputs[:1] if takes_pixels else self.outputs

    def describe(self) -> ModelMetadata:
        """The model's input and outputs, and what computes its answers."""
        return ModelMetadata(
            name=self.name,
            versions=[VERSION],
            platform=PLATFORM,
            inputs=[self.input],
            outputs=self.listed_outputs,
            parameters=Engine(**self.parameters),
        )

    def describe_config(self) -> ModelConfig:
        """The same in the form of Triton's model configuration."""
        kind = "KIND_CPU" if self.engine_info.device.startswith("cpu") else "KIND_GPU"
        devices = self.engine_info.device.split(",")
        return ModelConfig(
            name=self.name,
            platform=PLATFORM,
            backend=self.engine_info.engine,
            max_batch_size=self.max_batch_size,
            input=[InputConfig(**self._describe_tensor(self.input), format=FORMATS[self.form])],
            output=[TensorConfig(**self._describe_tensor(output)) for output in self.listed_outputs],
            instance_group=[InstanceGroup(name=device, kind=kind, count=1) for device in devices],
        )

    def describe_statistics(self) -> ModelStatistics:
        """The requests of this name so far; and the forward passes, which both names share."""
        return describe_statistics(self.name, VERSION, self.form, self.pipeline.metrics.list_samples(self.model_name))

    def _describe_tensor(self, tensor: TensorMetadata) -> dict[str, Any]:
        """The fields of a TensorConfig. A model that batches has no dimension for the batch there."""
        dims = tensor.shape[1:] if self.max_batch_size else tensor.shape
        return {"name": tensor.name, "data_type": CONFIG_TYPES[tensor.datatype], "dims": dims}
