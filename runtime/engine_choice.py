"""Engine, device and precision of a model: which combinations a user may ask for, and in which order they are tried."""

import re
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from tencrop.common.did_you_mean import did_you_mean
from tencrop.common.errors import BadInput

ENGINES = ("auto", "onnxruntime", "tensorrt", "openvino")
SUPPORTED_PRECISIONS = {  # besides "auto"
    ("openvino", "cpu"): ("fp32", "bf16"),
    ("onnxruntime", "cpu"): ("fp32",),
    ("onnxruntime", "cuda"): ("fp32", "tf32", "fp16"),
    ("tensorrt", "cuda"): ("fp32", "fp16"),
}
PRECISIONS = ("auto", *dict.fromkeys(chain.from_iterable(SUPPORTED_PRECISIONS.values())))


@dataclass(frozen=True)
class EngineOptions:
    """The user's wishes: device auto, cpu, cuda or cuda:N; one of ENGINES; one of PRECISIONS.

    `streams` is the number of forward passes that run at once. `deterministic` asks for an answer to an image whose
    bits do not depend on the other images of its batch.
    """

    device: str = "auto"
    engine: str = "auto"
    precision: str = "auto"
    streams: int = 1
    deterministic: bool = False


class EngineChoice(NamedTuple):
    """One engine on one device at one precision; `streams` and `deterministic` as in EngineOptions.

    Precision "auto" is bf16 on a CPU and TF32 on a GPU where the hardware has them, else fp32.
    """

    engine: str
    device: str
    precision: str
    streams: int = 1
    deterministic: bool = False


def device_kind(device: str) -> str:
    """cpu or cuda, without the number."""
    return device.partition(":")[0]


def engine_choices(options: EngineOptions) -> list[EngineChoice]:
    """List the choices that fit the options, in the order of trying. The order is fixed and never depends on a timing.

    Raises BadInput for an unknown device, engine or precision, for no stream, or where no choice fits.
    """
    _check_known(options)
    by_engine = [choice for choice in _all_choices(options) if _fits(choice, options)]
    if not by_engine:
        raise BadInput(f"engine {options.engine} does not run on device {options.device}")
    if options.precision == "auto":
        return by_engine
    capable = [choice for choice in by_engine if options.precision in _precisions(choice)]
    if not capable:
        offered = sorted({precision for choice in by_engine for precision in _precisions(choice)})
        raise BadInput(
            f"precision {options.precision}: not offered by engine {options.engine} on device {options.device}, "
            f"which computes in {' or '.join(offered)}"
        )
    return list(dict.fromkeys(choice._replace(precision=options.precision) for choice in capable))


def _check_known(options: EngineOptions) -> None:
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3})?", options.device):
        advice = did_you_mean(options.device, ("auto", "cpu", "cuda"))
        raise BadInput(f"device {options.device}: expected auto, cpu, cuda or cuda:N", advice)
    for option, value, known in (("engine", options.engine, ENGINES), ("precision", options.precision, PRECISIONS)):
        if value not in known:
            raise BadInput(f"{option} {value}: expected {', '.join(known)}", did_you_mean(value, known))
    if options.streams < 1:
        raise BadInput(f"streams {options.streams}: expected at least 1")
    if options.deterministic and options.engine == "tensorrt":
        raise BadInput("engine tensorrt is not deterministic, for it chooses its kernels by trial", "name another one")


def _all_choices(options: EngineOptions) -> list[EngineChoice]:
    cuda = f"cuda:{options.device.partition(':')[2] or 0}"
    triples = [
        ("onnxruntime", cuda, "auto"),
        ("onnxruntime", cuda, "fp32"),  # for a net that TF32 moves too far
        ("openvino", "cpu", "auto"),
        ("onnxruntime", "cpu", "auto"),
        ("tensorrt", cuda, "auto"),  # only when asked for
    ]
    return [EngineChoice(*triple, options.streams, options.deterministic) for triple in triples]


def _fits(choice: EngineChoice, options: EngineOptions) -> bool:
    on_device = device_kind(options.device) in ("auto", device_kind(choice.device))
    by_engine = choice.engine == options.engine or (options.engine == "auto" and choice.engine != "tensorrt")
    return on_device and by_engine


def _precisions(choice: EngineChoice) -> tuple[str, ...]:
    return SUPPORTED_PRECISIONS[choice.engine, device_kind(choice.device)]
