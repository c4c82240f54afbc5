"""The JSON of the Open Inference Protocol."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tencrop.server.answered import Engine

REQUEST: dict[str, Any] = {
    "inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["an encoded image in base64"]}]
}


class Tensor(BaseModel):
    """An input as a request has it."""

    name: str
    datatype: str
    shape: list[int] = Field(max_length=8)
    data: list[Any] | None = None
    parameters: dict[str, Any] = {}


class RequestedOutput(BaseModel):
    """An output that a request names."""

    name: str
    parameters: dict[str, Any] = {}


class InferRequest(BaseModel):
    """The JSON of a request."""

    model_config = ConfigDict(json_schema_extra={"examples": [REQUEST]})

    id: str | None = None
    inputs: list[Tensor] = Field(min_length=1, max_length=1)
    outputs: list[RequestedOutput] | None = None
    parameters: dict[str, Any] = {}


class OutputTensor(BaseModel):
    """An output: `data`, or in `parameters` the number of its bytes behind the JSON."""

    name: str
    datatype: str
    shape: list[int]
    data: list[float] | list[str] | None = None
    parameters: dict[str, Any] | None = None


class InferResponse(BaseModel):
    """The JSON of an answer."""

    id: str | None = None
    model_name: str
    model_version: str
    outputs: list[OutputTensor]
    parameters: dict[str, str]


class ServerMetadata(BaseModel):
    """The answer of GET /v2."""

    name: str
    version: str
    extensions: list[str]
    models: dict[str, Engine]


class ModelReadiness(BaseModel):
    """The answer of GET /v2/models/NAME/ready."""

    name: str
    ready: bool


class TensorMetadata(BaseModel):
    """A model's one input or an output; a dimension of -1 has any length."""

    model_config = ConfigDict(frozen=True)

    name: str
    datatype: str
    shape: tuple[int, ...]


class ModelMetadata(BaseModel):
    """The answer of GET /v2/models/NAME."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    parameters: Engine


class TensorConfig(BaseModel):
    """A tensor in Triton's form."""

    name: str
    data_type: str
    dims: tuple[int, ...]


class InputConfig(TensorConfig):
    """An input in Triton's form. `format` is the order of an image's dimensions."""

    format: str


class InstanceGroup(BaseModel):
    """A device that a model runs on, in Triton's form."""

    name: str
    kind: str
    count: int


class ModelConfig(BaseModel):
    """The answer of GET /v2/models/NAME/config."""

    name: str
    platform: str
    backend: str
    max_batch_size: int
    input: list[InputConfig]
    output: list[TensorConfig]
    instance_group: list[InstanceGroup]


class IndexRequest(BaseModel):
    """The JSON of POST /v2/repository/index, which may be left out. `ready` asks for the served models alone."""

    ready: bool = False


class RepositoryRequest(BaseModel):
    """The JSON of a request to load or unload, which may be left out."""

    parameters: dict[str, Any] = {}


class ModelIndex(BaseModel):
    """A name of a model. `reason` is why its last change was refused."""

    name: str
    version: str
    state: str
    reason: str


class Duration(BaseModel):
    """A sum of nanoseconds over `count` events."""

    count: int
    ns: int


class InferStatistics(BaseModel):
    """Requests that were answered or failed, and the parts of the former, by their longest image."""

    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration
    cache_hit: Duration
    cache_miss: Duration


class BatchStatistics(BaseModel):
    """Forward passes of one number of images, and their parts."""

    batch_size: int
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration


class ModelStatistics(BaseModel):
    """The requests of one name of a model; its forward passes, which both names share."""

    name: str
    version: str
    last_inference: int
    inference_count: int
    execution_count: int
    inference_stats: InferStatistics
    response_stats: dict[str, Any] = {}
    batch_stats: list[BatchStatistics]
    memory_usage: list[Any] = []


class Statistics(BaseModel):
    """The answer of GET /v2/models/NAME/stats and /v2/models/stats."""

    model_stats: list[ModelStatistics]
