"""ServedModel: a model as the Open Inference Protocol names and describes it."""

from typing import Any, NamedTuple

from tencrop.server.pipeline import Pipeline

OUTPUT = "probabilities"
VERSION = "1"  # of every model
DYNAMIC = -1  # a dimension of any length
PIXELS = "-pixels"  # ends the name under which a model takes decoded squares
PLATFORM = "tencrop_onnx"
CONFIG_TYPES = {"BYTES": "TYPE_STRING", "UINT8": "TYPE_UINT8", "FP32": "TYPE_FP32"}


class TensorMetadata(NamedTuple):
    """A model's one input or its output: name, datatype, and shape."""

    name: str
    datatype: str
    shape: tuple[int, ...]


ENCODED_IMAGES = TensorMetadata("image", "BYTES", (DYNAMIC,))


class ServedModel:
    """A model under one of its two names: NAME takes encoded images, NAME-pixels takes decoded squares."""

    def __init__(self, pipeline: Pipeline, name: str) -> None:
        contract, side = pipeline.model.contract, pipeline.model.contract.resize
        takes_pixels = name != pipeline.model.name
        self.pipeline, self.name, self.engine_info = pipeline, name, pipeline.batcher.engine_info
        self.input = TensorMetadata("images", "UINT8", (DYNAMIC, side, side, 3)) if takes_pixels else ENCODED_IMAGES
        self.output = TensorMetadata(OUTPUT, "FP32", (DYNAMIC, len(contract.labels)))

    def describe(self) -> dict[str, Any]:
        """The model's input and output, and its engine, device and precision."""
        return {
            "name": self.name,
            "versions": [VERSION],
            "platform": PLATFORM,
            "inputs": [self.input._asdict()],
            "outputs": [self.output._asdict()],
            "parameters": self.engine_info._asdict(),
        }

    def describe_config(self) -> dict[str, Any]:
        """The same in the form of Triton's model configuration."""
        kind = "KIND_CPU" if self.engine_info.device.startswith("cpu") else "KIND_GPU"
        devices = self.engine_info.device.split(",")
        return {
            "name": self.name,
            "platform": PLATFORM,
            "backend": self.engine_info.engine,
            "max_batch_size": 0,
            "input": [_describe_tensor(self.input)],
            "output": [_describe_tensor(self.output)],
            "instance_group": [{"name": device, "kind": kind, "count": 1} for device in devices],
        }

    def describe_statistics(self) -> dict[str, Any]:
        """Images, forward passes and seconds so far. Both names of a model count together."""
        metrics, model = self.pipeline.batcher.metrics, self.pipeline.model.name
        images = int(metrics.get_value("images_total", model))
        forwards = int(metrics.get_value("engine_seconds_count", model))
        times = {"queue": (images, "queue_seconds_sum"), "compute_infer": (forwards, "engine_seconds_sum")}
        return {
            "name": self.name,
            "version": VERSION,
            "inference_count": images,
            "execution_count": forwards,
            "inference_stats": {
                key: {"count": count, "ns": int(metrics.get_value(seconds, model) * 1e9)}
                for key, (count, seconds) in times.items()
            },
        }


def _describe_tensor(tensor: TensorMetadata) -> dict[str, Any]:
    return {"name": tensor.name, "data_type": CONFIG_TYPES[tensor.datatype], "dims": list(tensor.shape)}
