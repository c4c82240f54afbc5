"""The front door: `tencrop COMMAND`. Each room is imported only when its command runs."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tencrop.common.errors import BadInput, Stopped, WorkFailed
from tencrop.model.embedded import EMBEDDED
from tencrop.progress_bar import progress_bar
from tencrop.runtime.disable_telemetry import disable_telemetry

if TYPE_CHECKING:
    from tencrop.dataset.source import Source
    from tencrop.runtime.engine_choice import EngineOptions

UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # of all wrong flags; typer exports only this child of it

Data = Annotated[
    Path, typer.Argument(help="a folder per class, ILSVRC-2012's tars, Kaggle's folders, parquet, or WebDataset tars")
]
Words = Annotated[Path | None, typer.Option(help='the classes, a file of lines "id words"')]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")]
EngineChoice = Annotated[str, typer.Option(help="auto, onnxruntime, tensorrt or openvino")]
PrecisionChoice = Annotated[
    str, typer.Option(help="auto, fp32, tf32 (onnxruntime on a GPU), bf16 (openvino) or fp16 (tensorrt)")
]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.command()
def prepare(
    data: Data,
    out: Annotated[Path, typer.Argument(help="where the prepared form goes; begun ones are finished")],
    labels: Words = None,
    holdout: Annotated[
        float, typer.Option(min=0, max=0.9, help="share of each class for validation, if DATA has no split")
    ] = 0.15,
) -> None:
    """Turn a data set into 256x256 JPEGs with its mean image and colour PCA."""
    from tencrop.dataset.prepare import prepare as run

    source = _listed(data, labels)
    with progress_bar("preparing", len(source.entries)) as progress:
        document = run(source, out, holdout, progress)
    typer.echo(
        f"{out}: {len(source.labels)} classes, {document['training']} training and {document['validation']} validation images, "
        f"{len(document['undecodable'])} undecodable, {document['bytes_per_image']} bytes an image as JPEG of quality {document['quality']}"
    )


@app.command()
def train(
    recipe: Annotated[
        str, typer.Argument(help="one of training/recipes (paper, source145, caltech101, ...) or a TOML file")
    ],
    data: Annotated[Path, typer.Option(help="a prepared data set")],
    out: Annotated[Path, typer.Option(help="the run folder")],
    resume: Annotated[bool, typer.Option(help="go on after the run's last checkpoint")] = False,
    set: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="change a field of the recipe")] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="processes that decode; as many as there are cores to spare")
    ] = None,
    columns: Annotated[
        bool, typer.Option("--columns", help="the net's two columns on two devices, under torchrun")
    ] = False,
) -> None:
    """Train by the paper's regimen; under torchrun on several devices."""
    from tencrop.dataset.prepared_store import PreparedStore
    from tencrop.training.loop import train as run
    from tencrop.training.recipe import load

    plan = load(recipe, set or ())
    prepared = PreparedStore.open(data)
    first = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun started; the one that reports
    with progress_bar("training", plan.epochs, first) as bar:

        def progress(epoch: int, share: float, shown: Mapping[str, float]) -> None:
            bar(epoch - 1 + share, f"loss {shown['loss']:.3f}, {shown['images_per_s']:.0f} images/s")
            if share == 1:
                typer.echo(f"epoch {epoch}: loss {shown['loss']:.3f}, {shown['images_per_s']:.0f} images/s", err=True)

        history = run(plan, prepared, out, resume, workers, progress, columns)
    last = history[-1]
    if first:
        errors = f"center top-1 error {last['center_top1_error']:.2%}, top-5 {last['center_top5_error']:.2%}"
        typer.echo(f"{out}: {len(history)} epochs, {errors}")


@app.command()
def export(
    checkpoint: Annotated[
        Path, typer.Argument(help="a checkpoint folder; the embedded one where none is named")
    ] = EMBEDDED / "checkpoint",
    out: Annotated[Path, typer.Argument(help="where the files go")] = Path("out"),
    weights: Annotated[str, typer.Option(help="fp32 (as they are), fp16 or int8")] = "fp32",
    fc_rank: Annotated[int, typer.Option(min=0, help="factorise fc6 and fc7 to this rank; 0 leaves them")] = 0,
    images: Annotated[
        Path | None, typer.Option(help="a folder of photographs to compare on, and to calibrate int8 on")
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="compute each view by itself, even where they can share the first layers")
    ] = False,
) -> None:
    """Write net.onnx and tencrop.onnx, proven equal to torch by onnxruntime and OpenVINO on the CPU (int8: near)."""
    from tencrop.export.parity import format_parity
    from tencrop.export.run import export as run

    typer.echo(format_parity(run(checkpoint, out, weights, fc_rank, images, plain)))
    for name in ("net.onnx", "tencrop.onnx"):
        typer.echo(f"{out / name}: {(out / name).stat().st_size / 1e6:.1f} MB")


@app.command("import")
def import_(
    source: Annotated[
        Path, typer.Argument(help="an ONNX classifier, torchvision's alexnet (.pth, .safetensors), or a .caffemodel")
    ],
    out: Annotated[Path, typer.Argument(help="where the files go")],
    mean: Annotated[
        str | None, typer.Option(help="what is subtracted, as 0.485,0.456,0.406, or Caffe's .binaryproto")
    ] = None,
    std: Annotated[str | None, typer.Option(help="what the difference is divided by, as 0.229,0.224,0.225")] = None,
    scale: Annotated[float | None, typer.Option(help="what pixels 0..255 are multiplied by first")] = None,
    channels: Annotated[str | None, typer.Option(help="rgb or bgr; mean and std are in this order")] = None,
    layout: Annotated[str | None, typer.Option(help="nchw or nhwc")] = None,
    crop: Annotated[
        int | None, typer.Option(help="pixels a side of what the net sees, where the file does not tell")
    ] = None,
    resize: Annotated[int | None, typer.Option(help="pixels a side of the image that crops are cut from")] = None,
    labels: Annotated[
        Path | None, typer.Option(help='the classes in the order of the outputs: lines "wnid words", or a name each')
    ] = None,
    output: Annotated[str | None, typer.Option(help="logits or probabilities")] = None,
) -> None:
    """Make a net that you already have into net.onnx and tencrop.onnx, proven equal to it on two engines."""
    from tencrop.export.importers.input_convention import parse_input_convention
    from tencrop.export.importers.run import format_import, import_net

    options = parse_input_convention(
        mean, std, scale=scale, channels=channels, layout=layout, crop=crop, resize=resize, output=output
    )
    typer.echo("\n".join(format_import(import_net(source, out, options, labels))))
    for name in ("net.onnx", "tencrop.onnx"):
        typer.echo(f"{out / name}: {(out / name).stat().st_size / 1e6:.1f} MB")


@app.command()
def info(
    file: Annotated[Path, typer.Argument(help="an ONNX file, a folder with a tencrop.onnx, or a checkpoint folder")],
    as_json: Annotated[bool, typer.Option("--json", help="as one JSON object")] = False,
) -> None:
    """Tell what a file is: contract, labels, recipe, parity, norms, opset, bytes, parameters."""
    import json

    from tencrop.export.describe_file import describe_file, format_description

    described = describe_file(file)
    typer.echo(
        json.dumps(described, indent=1, ensure_ascii=False) if as_json else "\n".join(format_description(described))
    )


@app.command()
def serve(
    models: Annotated[
        list[Path] | None, typer.Argument(metavar="[MODEL]...", help="tencrop.onnx files; the embedded one by default")
    ] = None,
    host: Annotated[str | None, typer.Option(help="127.0.0.1 where nothing is said")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="8000 where nothing is said")] = None,
    data_root: Annotated[
        str | None, typer.Option(metavar="DIR", help="data sets in it may be validated over HTTP")
    ] = None,
    state_dir: Annotated[
        str | None, typer.Option(metavar="DIR", help="where those validations are kept; ./tencrop-state")
    ] = None,
    api_key_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="answer only who has a key of it; see `tencrop key`")
    ] = None,
    ensemble: Annotated[
        list[str] | None, typer.Option(metavar="NAME=A,B", help="serve the mean of several models too")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N, or several as cuda:0,cuda:1")] = "auto",
    engine: EngineChoice = "auto",
    precision: PrecisionChoice = "auto",
) -> None:
    """Answer POSTed images with their five labels."""
    from tencrop.server.run import serve as run
    from tencrop.server.settings import read_settings

    settings = read_settings(host=host, port=port, data_root=data_root, state_dir=state_dir, api_key_file=api_key_file)
    run(models or (), _options(device, engine, precision), ensemble or (), settings)


@app.command()
def key(name: Annotated[str, typer.Argument(help="whose it is; the log tells it")]) -> None:
    """Make an API key: the key on stderr, shown once, and on stdout the line that `serve --api-key-file` reads."""
    from tencrop.server.keys import generate_key, hash_key

    if name.split() != [name] or "#" in name:
        raise BadInput(f"{name!r}: a key's name is one word")
    made = generate_key()
    typer.echo(f"{name} {hash_key(made)}")
    typer.echo(made, err=True)


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="image files")],
    model: Annotated[Path, typer.Option(help="a tencrop.onnx, or its folder")] = EMBEDDED,
    top: Annotated[int, typer.Option(min=1, help="how many labels")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a line")] = False,
    device: Device = "auto",
    engine: EngineChoice = "auto",
    precision: PrecisionChoice = "auto",
) -> None:
    """Name what is in images."""
    import json

    from tencrop.runtime.classifier import open_classifier

    with open_classifier(model, _options(device, engine, precision)) as classifier:
        for path in images:
            guesses = classifier.predict(path, top).top
            if as_json:
                found = [{"id": guess.id, "label": guess.label, "probability": guess.probability} for guess in guesses]
                typer.echo(json.dumps({"image": str(path), "top": found}, ensure_ascii=False))
            else:
                typer.echo(f"{path}")
                for guess in guesses:
                    typer.echo(f"  {guess.probability:6.1%}  {guess.label}")


@app.command()
def evaluate(
    data: Data,
    model: Annotated[
        list[Path] | None, typer.Option(help="a tencrop.onnx; several are an ensemble; the embedded one if none")
    ] = None,
    labels: Words = None,
    out: Annotated[Path | None, typer.Option(help="the report's folder; without one nothing is kept")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="this many images, evenly spread")] = None,
    holdout: Annotated[
        float, typer.Option(min=0, max=1, help="only the share that `prepare --holdout` keeps, if DATA has no split")
    ] = 1,
    resume: Annotated[bool, typer.Option(help="go on with a run that was stopped")] = False,
    ray: Annotated[
        bool, typer.Option("--ray", help="on all machines of RAY_ADDRESS's cluster, which share DATA and --out")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print summary.json")] = False,
    device: Device = "auto",
    engine: EngineChoice = "auto",
    precision: PrecisionChoice = "auto",
) -> None:
    """State center-crop and ten-crop errors over labelled images: the data set's own validation images where it has some."""
    import json

    from tencrop.evaluation.evaluate import evaluate as run
    from tencrop.evaluation.plan import plan_evaluation
    from tencrop.evaluation.text_report import text_report
    from tencrop.runtime.ensemble import open_predictor

    models = model or [EMBEDDED]
    if ray and not out:
        raise BadInput("--ray: needs --out DIR, a folder that every machine of the cluster sees")
    if resume and not out:
        raise BadInput("--resume: needs --out DIR, the folder of the run to go on with")
    source = _listed(data, labels, training=False)
    predictor = open_predictor(models, _options(device, engine, precision))
    plan = plan_evaluation(source, predictor, holdout, limit)
    runner = None
    if ray and out:
        from tencrop.evaluation.ray import make_ray_runner

        runner = make_ray_runner(plan, predictor, models, out)
    with progress_bar("evaluating", len(plan.entries)) as progress:
        summary = run(plan, predictor, out, resume, progress, runner)
    if as_json:
        typer.echo(json.dumps(summary.to_json(), indent=1))
        return
    typer.echo(text_report(summary))


@app.command()
def compare(
    run_a: Annotated[Path, typer.Argument(help="a folder that `evaluate --out` wrote")],
    run_b: Annotated[Path, typer.Argument(help="another one, of the same images")],
    show: Annotated[int, typer.Option(min=0, help="this many of the images with another top-1 label")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="as one JSON object")] = False,
) -> None:
    """Tell how two validations of the same images differ: errors with intervals, McNemar's test, the images that changed."""
    import json

    from tencrop.evaluation.compare import compare as run
    from tencrop.evaluation.compare import text_comparison
    from tencrop.evaluation.finished_run import open_run

    found = run(open_run(run_a), open_run(run_b), show)
    typer.echo(json.dumps(found, indent=1, ensure_ascii=False) if as_json else text_comparison(found))


def _listed(data: Path, labels: Path | None, training: bool = True) -> "Source":
    from tencrop.dataset.layouts import open_source

    with progress_bar("listing", None) as progress:
        return open_source(data, labels, progress, training)


def _options(device: str, engine: str, precision: str) -> "EngineOptions":
    from tencrop.runtime.engine_choice import EngineOptions

    return EngineOptions(device, engine, precision)


def main() -> None:
    """Run a command; bad input and failed work are one line on stderr and an exit code."""
    disable_telemetry()
    try:
        code = app(args=sys.argv[1:] or ["--help"], standalone_mode=False)
    except UsageError as error:
        sys.exit(_fail(error.format_message(), 2))  # type: ignore[attr-defined]
    except BadInput as error:
        sys.exit(_fail(error, 2))
    except WorkFailed as error:
        sys.exit(_fail(error, 1))
    except Stopped as end:
        sys.exit(_fail(f"{end}; what was done is saved: go on with --resume", 0))
    except OSError as error:  # a disk that is full, an --out that cannot be written
        sys.exit(_fail(f"{error.filename or 'a file'}: {error.strerror or error}", 1))
    except ModuleNotFoundError as error:
        install = {"ray": "'tencrop[ray]'", "tencrop": "-e ."}.get(str(error.name), "'tencrop[train]'")
        sys.exit(_fail(f"this command needs {error.name}, which is not installed: pip install {install}", 1))
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    sys.exit(code or 0)


def _fail(error: object, code: int) -> int:
    print(f"tencrop: {' '.join(str(error).split())}", file=sys.stderr)
    return code
