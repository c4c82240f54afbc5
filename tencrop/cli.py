"""The command line, `tencrop COMMAND`. A command imports its room when it runs."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tencrop.common.errors import BadInput, Stopped, WorkFailed
from tencrop.common.standard_streams import open_closed_streams
from tencrop.common.terminal_text import dump_json, escape_output, escape_text
from tencrop.images.pillow_warnings import filter_pillow_warnings, silence_libtiff
from tencrop.model.embedded import EMBEDDED
from tencrop.progress_bar import progress_bar
from tencrop.runtime.allocator import give_back_large_blocks
from tencrop.runtime.disable_telemetry import disable_telemetry

if TYPE_CHECKING:
    from tencrop.dataset.source import Source
    from tencrop.dataset.source_options import SourceOptions
    from tencrop.runtime.engine_choice import EngineOptions

UsageError: type[Exception] = typer.BadParameter.__mro__[
    1
]  # click's base of all usage errors, which typer does not export

Data = Annotated[
    Path,
    typer.Argument(
        help="a folder per class, ILSVRC's tars or folders, parquet, WebDataset tars, or images with metadata.csv or "
        "labels.json"
    ),
]
Words = Annotated[
    Path | None,
    typer.Option(help='file of class names: lines "id words", one name a line, or JSON of Keras or Hugging Face'),
]
ListFile = Annotated[
    Path | None,
    typer.Option(
        "--list",
        help='list of images: lines "path label" or a .csv, with paths relative to DATA, and labels that are ids of '
        "classes or, with --labels, numbers from 0",
    ),
]
Config = Annotated[
    str | None, typer.Option(metavar="NAME", help="one of several configurations of parquet or Arrow files in DATA")
]
ImageRoot = Annotated[
    Path | None, typer.Option(metavar="DIR", help="folder of the image files that rows without bytes name")
]
ImageColumn = Annotated[str | None, typer.Option(metavar="NAME", help="column of the images in parquet or Arrow files")]
LabelColumn = Annotated[str | None, typer.Option(metavar="NAME", help="column of the labels in parquet or Arrow files")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")]
EngineChoice = Annotated[str, typer.Option(help="auto, onnxruntime, tensorrt or openvino")]
PrecisionChoice = Annotated[
    str, typer.Option(help="auto, fp32, tf32 (onnxruntime on a GPU), bf16 (openvino) or fp16 (tensorrt)")
]

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, help="Train, export, serve and measure the 2012 AlexNet."
)


@app.command()
def prepare(
    data: Data,
    out: Annotated[Path, typer.Argument(help="folder for the prepared data set; an unfinished one is continued")],
    labels: Words = None,
    list_: ListFile = None,
    config: Config = None,
    image_root: ImageRoot = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    holdout: Annotated[
        float, typer.Option(min=0, max=0.9, help="share of each class kept for validation, if DATA has no split")
    ] = 0.15,
) -> None:
    """Turn a data set into 256x256 JPEGs with its mean image and colour PCA."""
    from tencrop.dataset.account import Account
    from tencrop.dataset.prepare import prepare as run
    from tencrop.dataset.source_options import SourceOptions

    source = _open_source(data, SourceOptions(labels, list_, config, image_root, image_column, label_column))
    with progress_bar("preparing", len(source.entries)) as progress:
        document = run(source, out, holdout, progress)
    _echo(
        f"{out}: {len(source.labels)} classes, "
        f"{document.training} training and {document.validation} validation images, "
        f"{len(document.undecodable)} undecodable, "
        f"{document.bytes_per_image} bytes an image as JPEG of quality {document.quality}",
        *Account.from_json(document.account).format(),
    )


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="name of a recipe (paper, source145, caltech101, ...) or a TOML file")],
    data: Annotated[Path, typer.Option(help="a prepared data set")],
    out: Annotated[Path, typer.Option(help="the run folder")],
    resume: Annotated[bool, typer.Option(help="continue after the run's last checkpoint")] = False,
    resume_from: Annotated[
        Path | None,
        typer.Option(metavar="CHECKPOINT", help="continue after this checkpoint of the run, and rename newer ones"),
    ] = None,
    set: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="change a field of the recipe")] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="number of decoding processes; default: one per spare core")
    ] = None,
    columns: Annotated[
        bool, typer.Option("--columns", help="put the net's two columns on two devices, under torchrun")
    ] = False,
) -> None:
    """Train by the paper's regimen; on several devices under torchrun."""
    from tencrop.dataset.prepared_store import PreparedStore
    from tencrop.training.recipe import load
    from tencrop.training.train import train as run

    plan = load(recipe, set or ())
    prepared = PreparedStore.open(data)
    is_reporter = os.environ.get("RANK", "0") == "0"  # one of the processes that torchrun started
    with progress_bar("training", plan.epochs, is_reporter) as bar:

        def progress(epoch: int, share: float, shown: Mapping[str, float]) -> None:
            bar(epoch - 1 + share, f"loss {shown['loss']:.3f}, {shown['images_per_s']:.0f} images/s")
            if share == 1:
                typer.echo(f"epoch {epoch}: loss {shown['loss']:.3f}, {shown['images_per_s']:.0f} images/s", err=True)

        history = run(plan, prepared, out, resume, workers, progress, columns, resume_from)
    last = history[-1]
    if is_reporter:
        errors = f"center top-1 error {last.center_top1_error:.2%}, top-5 {last.center_top5_error:.2%}"
        _echo(f"{out}: {len(history)} epochs, {errors}")


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Argument(help="a checkpoint folder; by default the embedded model's")] = EMBEDDED
    / "checkpoint",
    out: Annotated[Path, typer.Argument(help="folder for the files")] = Path("out"),
    weights: Annotated[str, typer.Option(help="fp32 (as they are), fp16 or int8")] = "fp32",
    fc_rank: Annotated[int, typer.Option(min=0, help="factorise fc6 and fc7 to this rank; 0 leaves them")] = 0,
    images: Annotated[
        Path | None, typer.Option(help="folder of photographs that parity is measured on and int8 is calibrated on")
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="compute each view by itself, even where views can share the first layers")
    ] = False,
) -> None:
    """Write net.onnx and tencrop.onnx, only if onnxruntime and OpenVINO give torch's answers (int8: nearly)."""
    from tencrop.export.run import export as run

    _echo(*run(checkpoint, out, weights, fc_rank, images, plain).format().split("\n"))
    _echo_sizes(out)


@app.command("import")
def import_(
    source: Annotated[
        Path,
        typer.Argument(
            help="an ONNX classifier, its folder with Hugging Face's config.json and preprocessor_config.json, "
            "torchvision's alexnet (.pth, .ckpt, .safetensors), or a .caffemodel"
        ),
    ],
    out: Annotated[Path, typer.Argument(help="folder for the files")],
    mean: Annotated[
        str | None, typer.Option(help="mean that is subtracted, such as 0.485,0.456,0.406, or Caffe's .binaryproto")
    ] = None,
    std: Annotated[str | None, typer.Option(help="divisor after the mean, such as 0.229,0.224,0.225")] = None,
    scale: Annotated[float | None, typer.Option(help="factor on pixels 0..255, before the mean")] = None,
    channels: Annotated[str | None, typer.Option(help="rgb or bgr: the order of the input, of mean and of std")] = None,
    layout: Annotated[str | None, typer.Option(help="nchw or nhwc")] = None,
    crop: Annotated[
        int | None, typer.Option(help="side of the net's input in pixels, where the file does not say")
    ] = None,
    resize: Annotated[int | None, typer.Option(help="side in pixels of the image that crops are cut from")] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help='class names by output: lines "wnid words", one name a line, or JSON of Keras or Hugging Face'
        ),
    ] = None,
    output: Annotated[str | None, typer.Option(help="logits or probabilities")] = None,
) -> None:
    """Convert a trained net into net.onnx and tencrop.onnx, only if onnxruntime and OpenVINO give the net's answers."""
    from tencrop.export.importers.input_convention import parse_input_convention
    from tencrop.export.importers.run import format_import, import_net

    options = parse_input_convention(
        mean, std, scale=scale, channels=channels, layout=layout, crop=crop, resize=resize, output=output
    )
    _echo(*format_import(import_net(source, out, options, labels)))
    _echo_sizes(out)


@app.command()
def info(
    file: Annotated[
        Path,
        typer.Argument(
            help="an ONNX file, a folder with a tencrop.onnx, or a checkpoint folder; by default the embedded model"
        ),
    ] = EMBEDDED,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Print what a file holds: contract, labels, recipe, parity, norms, opset, bytes, parameters."""
    from tencrop.export.describe_file import describe_file, format_description

    described = describe_file(file)
    if as_json:
        _echo_json(described, indent=1)
    else:
        _echo(*format_description(described))


@app.command()
def serve(
    models: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[MODEL]...", help="tencrop.onnx files or their folders; by default the embedded model"),
    ] = None,
    host: Annotated[str | None, typer.Option(help="default: 127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="default: 8000")] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="also answer requests for this host name; by default a server on loopback answers only for localhost "
            "and addresses",
        ),
    ] = None,
    root_path: Annotated[
        str | None, typer.Option(metavar="PATH", help="sub-path below which a proxy shows the server, such as /tencrop")
    ] = None,
    data_root: Annotated[
        str | None, typer.Option(metavar="DIR", help="folder of data sets that may be validated over HTTP")
    ] = None,
    state_dir: Annotated[
        str | None, typer.Option(metavar="DIR", help="folder that keeps those validations; default: ./tencrop-state")
    ] = None,
    keep_validations: Annotated[
        int | None, typer.Option(min=1, help="finished validations to keep, the oldest go first; default: 100")
    ] = None,
    api_key_file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="answer only requests with a key from this file; `tencrop key` makes one"),
    ] = None,
    ensemble: Annotated[
        list[str] | None, typer.Option(metavar="NAME=A,B", help="also serve the mean of several models")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N, or several GPUs as cuda:0,cuda:1")] = "auto",
    engine: EngineChoice = "auto",
    precision: PrecisionChoice = "auto",
) -> None:
    """Answer POSTed images with their five most probable labels."""
    from tencrop.server.run import serve as run
    from tencrop.server.settings import read_settings

    settings = read_settings(
        host=host,
        port=port,
        allowed_host=allowed_host or None,
        root_path=root_path,
        data_root=data_root,
        state_dir=state_dir,
        keep_validations=keep_validations,
        api_key_file=api_key_file,
    )
    run(models or (), _options(device, engine, precision), ensemble or (), settings)


@app.command()
def key(
    name: Annotated[str, typer.Argument(help="owner of the key, as the log names it")],
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="append the line to this file, made readable to you alone")
    ] = None,
) -> None:
    """Make an API key. Prints the key on stderr, once, and its line for `serve --api-key-file` on stdout."""
    from tencrop.server.keys import add_key, generate_key, hash_key

    if name.split() != [name] or "#" in name or escape_text(name) != name:
        raise BadInput(f"{name!r}: a key's name is one word")
    secret = generate_key()
    if to:
        add_key(to, name, secret)
    else:
        typer.echo(f"{name} {hash_key(secret)}")
    typer.echo(secret, err=True)


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="image files")],
    model: Annotated[Path, typer.Option(help="a tencrop.onnx, or its folder")] = EMBEDDED,
    top: Annotated[int, typer.Option(min=1, help="number of labels")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object per image")] = False,
    device: Device = "auto",
    engine: EngineChoice = "auto",
    precision: PrecisionChoice = "auto",
) -> None:
    """Name what images show."""
    from tencrop.runtime.classifier import open_classifier

    silence_libtiff()
    with open_classifier(model, _options(device, engine, precision)) as classifier:
        for path in images:
            guesses = classifier.predict(path, top).top
            if as_json:
                found = [{"id": guess.id, "label": guess.label, "probability": guess.probability} for guess in guesses]
                _echo_json({"image": str(path), "top": found})
            else:
                _echo(str(path), *(f"  {guess.probability:6.1%}  {guess.label}" for guess in guesses))


@app.command()
def evaluate(
    data: Data,
    model: Annotated[
        list[Path] | None, typer.Option(help="a tencrop.onnx; several make an ensemble; by default the embedded model")
    ] = None,
    labels: Words = None,
    list_: ListFile = None,
    config: Config = None,
    image_root: ImageRoot = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    out: Annotated[Path | None, typer.Option(help="folder for the report; without it nothing is kept")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="evaluate this many images, evenly spread")] = None,
    holdout: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="share of each class to evaluate if DATA has no split; give the value that `prepare` had",
        ),
    ] = 1,
    resume: Annotated[bool, typer.Option(help="continue a stopped run")] = False,
    ray: Annotated[
        bool, typer.Option("--ray", help="use all machines of RAY_ADDRESS's cluster; each must see DATA and --out")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print summary.json")] = False,
    device: Device = "auto",
    engine: EngineChoice = "auto",
    precision: PrecisionChoice = "auto",
) -> None:
    """Measure center-crop and ten-crop errors over labelled images: the data set's validation images, if it has any."""
    from tencrop.dataset.source_options import SourceOptions
    from tencrop.evaluation.evaluate import evaluate as run
    from tencrop.evaluation.plan import plan_evaluation
    from tencrop.evaluation.text_report import text_report
    from tencrop.runtime.ensemble import open_predictor

    models = model or [EMBEDDED]
    if ray and not out:
        raise BadInput("--ray: needs --out DIR, a folder that every machine of the cluster sees")
    if resume and not out:
        raise BadInput("--resume: needs --out DIR, the folder of the run to continue")
    options = SourceOptions(labels, list_, config, image_root, image_column, label_column)
    source = _open_source(data, options, training=False)
    predictor = open_predictor(models, _options(device, engine, precision))
    plan = plan_evaluation(source, predictor, holdout, limit)
    runner = None
    if ray and out:
        from tencrop.evaluation.ray import make_ray_runner

        runner = make_ray_runner(plan, predictor, models, out)
    with progress_bar("evaluating", len(plan.entries)) as progress:
        summary = run(plan, predictor, out, resume, progress, runner)
    if as_json:
        _echo_json(summary.to_json(), indent=1)
        return
    _echo(*text_report(summary).split("\n"))


@app.command()
def compare(
    run_a: Annotated[Path, typer.Argument(help="a folder that `evaluate --out` wrote")],
    run_b: Annotated[Path, typer.Argument(help="another such folder, of the same images")],
    show: Annotated[int, typer.Option(min=0, help="list this many of the images whose top-1 label changed")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Compare two validations of the same images: errors with intervals, McNemar's test, changed images."""
    from tencrop.evaluation.compare import compare as run
    from tencrop.evaluation.compare import text_comparison
    from tencrop.evaluation.finished_run import open_run

    found = run(open_run(run_a), open_run(run_b), show)
    if as_json:
        _echo_json(found, indent=1)
    else:
        typer.echo(text_comparison(found))


def _open_source(data: Path, options: "SourceOptions", training: bool = True) -> "Source":
    from tencrop.dataset.layouts import open_source

    silence_libtiff()
    give_back_large_blocks()
    with progress_bar("listing", None) as progress:
        return open_source(data, options, progress, training)


def _echo(*lines: str) -> None:
    """Print lines that may hold names of files and labels, which others chose."""
    typer.echo("\n".join(map(escape_text, lines)))


def _echo_json(value: object, indent: int | None = None) -> None:
    """Print JSON in UTF-8, whatever the locale's encoding is."""
    typer.echo(dump_json(value, indent).encode())


def _echo_sizes(out: Path) -> None:
    _echo(*(f"{out / name}: {(out / name).stat().st_size / 1e6:.1f} MB" for name in ("net.onnx", "tencrop.onnx")))


def _options(device: str, engine: str, precision: str) -> "EngineOptions":
    from tencrop.runtime.engine_choice import EngineOptions

    return EngineOptions(device, engine, precision)


def main() -> None:
    """Run a command. An error is one line on stderr and an exit code.

    The code is 2 for bad input, 1 for failed work, and 128 + the signal's number for a command that a signal stopped.
    """
    open_closed_streams()
    disable_telemetry()
    filter_pillow_warnings()
    escape_output()
    try:
        code = app(args=sys.argv[1:] or ["--help"], standalone_mode=False)
    except UsageError as error:
        sys.exit(_fail(error.format_message(), 2))  # type: ignore[attr-defined]
    except BadInput as error:
        sys.exit(_fail(error, 2))
    except WorkFailed as error:
        sys.exit(_fail(error, 1))
    except Stopped as end:
        sys.exit(_fail(f"{end}; what was done is saved: go on with --resume", 128 + end.number))
    except OSError as error:  # a disk that is full, an --out that cannot be written
        sys.exit(_fail(f"{error.filename or 'a file'}: {error.strerror or error}", 1))
    except ModuleNotFoundError as error:
        install = {"ray": "'tencrop[ray]'", "tencrop": "-e ."}.get(str(error.name), "'tencrop[train]'")
        sys.exit(_fail(f"this command needs {error.name}, which is not installed: pip install {install}", 1))
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    sys.exit(code or 0)


def _fail(error: object, code: int) -> int:
    print(f"tencrop: {escape_text(' '.join(str(error).split()))}", file=sys.stderr)
    return code
