"""`tencrop serve`: the HTTP server."""

from pathlib import Path
from typing import Annotated

import typer

from tencrop.commands.options import Deterministic, EngineChoice, PrecisionChoice, Streams, engine_options


def serve(
    models: Annotated[
        list[Path] | None,
        typer.Argument(metavar="MODEL", help="tencrop.onnx files or their folders; by default the embedded model"),
    ] = None,
    host: Annotated[str | None, typer.Option(metavar="HOST", help="address to listen on; default: 127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(metavar="N", min=0, max=65535, help="default: 8000")] = None,
    grpc_port: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, max=65535, help="also answer gRPC on this port"),
    ] = None,
    workers: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="processes that decode for one with the engines; 0: one process does all; default: auto, 0 on up to 4 "
            "cores without a GPU, else half the cores",
        ),
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="also answer for this host name; by default a server on loopback answers only for localhost and "
            "addresses",
        ),
    ] = None,
    root_path: Annotated[
        str | None, typer.Option(metavar="PATH", help="sub-path that a proxy shows, such as /tencrop")
    ] = None,
    data_root: Annotated[
        str | None, typer.Option(metavar="DIR", help="folder of data sets that may be validated over HTTP")
    ] = None,
    state_dir: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="folder that keeps validations and what a shadow keeps; default: ./tencrop-state"
        ),
    ] = None,
    keep_validations: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="finished validations to keep; default: 100"),
    ] = None,
    api_key_file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="answer only requests with a key from this file; `tencrop key` makes one"),
    ] = None,
    model_repository: Annotated[
        str | None, typer.Option(metavar="DIR", help="also serve, load and unload the models of a folder")
    ] = None,
    poll: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0.1, help="follow the files of the repository")
    ] = None,
    ensemble: Annotated[
        list[str] | None, typer.Option(metavar="NAME=A,B", help="also serve the mean of several models")
    ] = None,
    shadow: Annotated[
        str | None,
        typer.Option(metavar="NAME=MODEL", help="compare the first model with this, in spare time"),
    ] = None,
    feedback: Annotated[bool, typer.Option("--feedback", help="keep what both answer, for POST /v1/feedback")] = False,
    keep_disagreements: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="squares to keep where both disagree, the newest; default: none"),
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:N, or several GPUs as cuda:0,cuda:1")
    ] = "auto",
    engine: EngineChoice = "auto",
    precision: PrecisionChoice = "auto",
    streams: Streams = 1,
    deterministic: Deterministic = False,
) -> None:
    """Answer POSTed images with their most probable labels."""
    from tencrop.server.run import serve as run
    from tencrop.server.settings import read_settings

    settings = read_settings(
        host=host,
        port=port,
        grpc_port=grpc_port,
        workers=workers,
        allowed_host=allowed_host or None,
        root_path=root_path,
        data_root=data_root,
        state_dir=state_dir,
        keep_validations=keep_validations,
        api_key_file=api_key_file,
        model_repository=model_repository,
        poll=poll,
        shadow=shadow,
        feedback=feedback or None,
        keep_disagreements=keep_disagreements,
    )
    run(models or (), engine_options(device, engine, precision, streams, deterministic), ensemble or (), settings)
