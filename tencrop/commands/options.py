"""Arguments and options that several commands have."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tencrop.runtime.engine_choice import EngineOptions

DATA_HELP = (
    "a folder per class, ILSVRC's tars or folders, parquet, WebDataset tars, or images with metadata.csv or labels.json"
)
Data = Annotated[Path, typer.Argument(metavar="DATA", help=DATA_HELP)]
Words = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help='class names: lines "id words", one name a line, or JSON of Keras or Hugging Face'
    ),
]
ListFile = Annotated[
    Path | None,
    typer.Option(
        "--list",
        metavar="FILE",
        help='lines "path label" or a .csv, paths below DATA; labels are ids, or with --labels numbers from 0',
    ),
]
Config = Annotated[str | None, typer.Option(metavar="NAME", help="one of several configurations of tables in DATA")]
ImageRoot = Annotated[Path | None, typer.Option(metavar="DIR", help="folder of the files that rows without bytes name")]
ImageColumn = Annotated[str | None, typer.Option(metavar="NAME", help="column of the images in tables")]
LabelColumn = Annotated[str | None, typer.Option(metavar="NAME", help="column of the labels in tables")]
Workers = Annotated[
    int | None,
    typer.Option(metavar="N", min=0, help="processes that decode; 0: threads do"),
]
Model = Annotated[
    Path | None, typer.Option(metavar="MODEL", help="a tencrop.onnx, or its folder; default: the embedded model")
]
Hub = Annotated[
    bool, typer.Option("--hub", help="also write what the Hugging Face hub expects, such as README.md and config.json")
]
Device = Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda or cuda:N")]
EngineChoice = Annotated[str, typer.Option(metavar="NAME", help="auto, onnxruntime, openvino, tensorrt")]
PrecisionChoice = Annotated[
    str,
    typer.Option(metavar="NAME", help="auto, fp32, bf16; on a GPU tf32, fp16"),
]
Streams = Annotated[int, typer.Option(metavar="N", min=1, help="forward passes that run at once")]
Deterministic = Annotated[bool, typer.Option("--deterministic", help="same bits, whatever shares a forward pass")]


def engine_options(
    device: str, engine: str, precision: str, streams: int = 1, deterministic: bool = False
) -> "EngineOptions":
    """Join the options of a command's engine."""
    from tencrop.runtime.engine_choice import EngineOptions

    return EngineOptions(device, engine, precision, streams, deterministic)
