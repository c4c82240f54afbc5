"""The messages and methods of the Open Inference Protocol's gRPC service, and the classes that protobuf makes of them.

The numbers and names are the protocol's own. A field that this server neither reads nor writes is left out. The classes
lie in a pool of their own, so that a program may import a client's classes of the same names.
"""

from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"
MODEL = "1 name string; 2 version string"
PARAMETERS = "parameters map InferParameter"
CHANGE = "1 repository_name string; 2 model_name string; 3 parameters map ModelRepositoryParameter"

ENUMS = {
    "DataType": "TYPE_INVALID 0; TYPE_UINT8 2; TYPE_FP32 11; TYPE_STRING 13",
    "ModelInput.Format": "FORMAT_NONE 0; FORMAT_NHWC 1; FORMAT_NCHW 2",
    "ModelInstanceGroup.Kind": "KIND_AUTO 0; KIND_GPU 1; KIND_CPU 2",
}
MESSAGES = {  # number, name, type; * is repeated, `map` has strings for keys. A nested message follows its parent
    "ServerLiveRequest": "",
    "ServerLiveResponse": "1 live bool",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "1 ready bool",
    "ModelReadyRequest": MODEL,
    "ModelReadyResponse": "1 ready bool",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "1 name string; 2 version string; 3 extensions string*",
    "ModelMetadataRequest": MODEL,
    "ModelMetadataResponse": "1 name string; 2 versions string*; 3 platform string; "
    "4 inputs ModelMetadataResponse.TensorMetadata*; 5 outputs ModelMetadataResponse.TensorMetadata*",
    "ModelMetadataResponse.TensorMetadata": "1 name string; 2 datatype string; 3 shape int64*",
    "InferParameter": "1 bool_param bool; 2 int64_param int64; 3 string_param string; 4 double_param double; "
    "5 uint64_param uint64",
    "InferTensorContents": "1 bool_contents bool*; 2 int_contents int32*; 3 int64_contents int64*; "
    "4 uint_contents uint32*; 5 uint64_contents uint64*; 6 fp32_contents float*; 7 fp64_contents double*; "
    "8 bytes_contents bytes*",
    "ModelInferRequest": f"1 model_name string; 2 model_version string; 3 id string; 4 {PARAMETERS}; "
    "5 inputs ModelInferRequest.InferInputTensor*; 6 outputs ModelInferRequest.InferRequestedOutputTensor*; "
    "7 raw_input_contents bytes*",
    "ModelInferRequest.InferInputTensor": f"1 name string; 2 datatype string; 3 shape int64*; 4 {PARAMETERS}; "
    "5 contents InferTensorContents",
    "ModelInferRequest.InferRequestedOutputTensor": f"1 name string; 2 {PARAMETERS}",
    "ModelInferResponse": f"1 model_name string; 2 model_version string; 3 id string; 4 {PARAMETERS}; "
    "5 outputs ModelInferResponse.InferOutputTensor*; 6 raw_output_contents bytes*",
    "ModelInferResponse.InferOutputTensor": "1 name string; 2 datatype string; 3 shape int64*",
    "ModelStreamInferResponse": "1 error_message string; 2 infer_response ModelInferResponse",
    "ModelInput": "1 name string; 2 data_type DataType; 3 format ModelInput.Format; 4 dims int64*",
    "ModelOutput": "1 name string; 2 data_type DataType; 3 dims int64*",
    "ModelInstanceGroup": "1 name string; 4 kind ModelInstanceGroup.Kind; 2 count int32",
    "ModelConfig": "1 name string; 2 platform string; 17 backend string; 4 max_batch_size int32; 5 input ModelInput*; "
    "6 output ModelOutput*; 7 instance_group ModelInstanceGroup*",
    "ModelConfigRequest": MODEL,
    "ModelConfigResponse": "1 config ModelConfig",
    "ModelStatisticsRequest": MODEL,
    "StatisticDuration": "1 count uint64; 2 ns uint64",
    "InferStatistics": "1 success StatisticDuration; 2 fail StatisticDuration; 3 queue StatisticDuration; "
    "4 compute_input StatisticDuration; 5 compute_infer StatisticDuration; 6 compute_output StatisticDuration; "
    "7 cache_hit StatisticDuration; 8 cache_miss StatisticDuration",
    "InferBatchStatistics": "1 batch_size uint64; 2 compute_input StatisticDuration; "
    "3 compute_infer StatisticDuration; 4 compute_output StatisticDuration",
    "ModelStatistics": "1 name string; 2 version string; 3 last_inference uint64; 4 inference_count uint64; "
    "5 execution_count uint64; 6 inference_stats InferStatistics; 7 batch_stats InferBatchStatistics*",
    "ModelStatisticsResponse": "1 model_stats ModelStatistics*",
    "RepositoryIndexRequest": "1 repository_name string; 2 ready bool",
    "RepositoryIndexResponse": "1 models RepositoryIndexResponse.ModelIndex*",
    "RepositoryIndexResponse.ModelIndex": "1 name string; 2 version string; 3 state string; 4 reason string",
    "ModelRepositoryParameter": "1 bool_param bool; 2 int64_param int64; 3 string_param string; 4 bytes_param bytes",
    "RepositoryModelLoadRequest": CHANGE,
    "RepositoryModelLoadResponse": "",
    "RepositoryModelUnloadRequest": CHANGE,
    "RepositoryModelUnloadResponse": "",
}
ONEOF = dict.fromkeys(("InferParameter", "ModelRepositoryParameter"), "parameter_choice")  # fields exclude each other


class Method(NamedTuple):
    """A method of the service: the HTTP request that answers it, and the field that holds an answer that is no object.

    `unready` are the statuses that mean `ready: false`.
    """

    http: str
    path: str  # behind that of the model, where the request has its version; {} stands for a model's name alone
    wrap: str = ""
    unready: tuple[int, ...] = ()


METHODS = {
    "ServerLive": Method("GET", "/v2/health/live"),
    "ServerReady": Method("GET", "/v2/health/ready", unready=(503,)),
    "ServerMetadata": Method("GET", "/v2"),
    "ModelReady": Method("GET", "/ready", unready=(404, 503)),
    "ModelMetadata": Method("GET", ""),
    "ModelConfig": Method("GET", "/config", wrap="config"),
    "ModelStatistics": Method("GET", "/stats"),
    "RepositoryIndex": Method("POST", "/v2/repository/index", wrap="models"),
    "RepositoryModelLoad": Method("POST", "/v2/repository/models/{}/load"),
    "RepositoryModelUnload": Method("POST", "/v2/repository/models/{}/unload"),
}
INFER, STREAM = "ModelInfer", "ModelStreamInfer"
Field = descriptor_pb2.FieldDescriptorProto


def _describe_file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="grpc_service.proto", package=PACKAGE, syntax="proto3")
    found: dict[str, descriptor_pb2.DescriptorProto] = {}
    for name, fields in MESSAGES.items():
        parent, _, own = name.rpartition(".")
        message = found[name] = (found[parent].nested_type if parent else file.message_type).add(name=own)
        if name in ONEOF:
            message.oneof_decl.add(name=ONEOF[name])
        for field in fields.split("; ") if fields else ():
            _add_field(message, name, *field.split(" ", 2))
    for name, values in ENUMS.items():
        parent, _, own = name.rpartition(".")
        enum = (found[parent] if parent else file).enum_type.add(name=own)
        for value in values.split("; "):
            word, number = value.split()
            enum.value.add(name=word, number=int(number))
    service = file.service.add(name=SERVICE.rpartition(".")[2])
    for name in (*METHODS, INFER):
        service.method.add(name=name, input_type=_type(f"{name}Request"), output_type=_type(f"{name}Response"))
    streaming = {"client_streaming": True, "server_streaming": True}
    stream_types = {"input_type": _type(f"{INFER}Request"), "output_type": _type(f"{STREAM}Response")}
    service.method.add(name=STREAM, **stream_types, **streaming)
    return file


def _type(name: str) -> str:
    return f".{PACKAGE}.{name}"


def _add_field(message: descriptor_pb2.DescriptorProto, parent: str, number: str, name: str, kind: str) -> None:
    """Add a field. A map is a repeated message of a key and a value, nested in its parent."""
    field = message.field.add(name=name, number=int(number), label=Field.LABEL_OPTIONAL)
    if kind.startswith("map "):
        entry = message.nested_type.add(name="ParametersEntry")
        entry.options.map_entry = True
        _add_field(entry, "", "1", "key", "string")
        _add_field(entry, "", "2", "value", kind.removeprefix("map "))
        kind = f"{parent}.ParametersEntry*"
    if kind.endswith("*"):
        field.label, kind = Field.LABEL_REPEATED, kind.removesuffix("*")
    if kind in MESSAGES or kind.endswith("Entry"):
        field.type, field.type_name = Field.TYPE_MESSAGE, _type(kind)
    elif kind in ENUMS:
        field.type, field.type_name = Field.TYPE_ENUM, _type(kind)
    else:
        field.type = Field.Type.Value(f"TYPE_{kind.upper()}")
    if parent in ONEOF:
        field.oneof_index = 0


POOL = descriptor_pool.DescriptorPool()
POOL.AddSerializedFile(health_pb2.DESCRIPTOR.serialized_pb)
POOL.AddSerializedFile(reflection_pb2.DESCRIPTOR.serialized_pb)
POOL.AddSerializedFile(_describe_file().SerializeToString())


def message_class(name: str) -> Any:
    """The class of a message of the protocol."""
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))
