"""Packages that only some commands need: the extras that install them, and the line that says so."""

import json
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec

from tencrop.common.errors import WorkFailed

EVALUATE = ("pyarrow", "scipy", "jinja2", "yaml")
MODULES = {  # that the extras of pyproject.toml install
    "cpu": ("onnxruntime",),
    "gpu": ("onnxruntime",),
    "evaluate": EVALUATE,
    "grpc": ("grpc", "grpc_health", "grpc_reflection"),
    "heif": ("pillow_heif",),
    "otel": ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"),
    "train": (*EVALUATE, "torch", "tensorboard", "matplotlib", "tomli_w", "sklearn"),
    "ray": (*EVALUATE, "ray"),
}


def require(*extras: str) -> None:
    """Check that the packages of these extras are installed, before any is imported.

    Raises WorkFailed with the missing modules and one line that installs them.
    """
    lacking = {extra: [name for name in MODULES[extra] if not _is_installed(name)] for extra in extras}
    if missing := dict.fromkeys(name for names in lacking.values() for name in names):
        wanted = [extra for extra, names in lacking.items() if names]
        raise WorkFailed(f"not installed: {', '.join(missing)}", install_line(wanted))


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a package that would hold it
        return False


def install_line(extras: Iterable[str] = ()) -> str:
    """The command that adds extras to this installation.

    pip finds tencrop on an index, or in the checkout that this installation leads to.
    """
    wanted = f"[{','.join(extras)}]".replace("[]", "")
    return f"pip install -e '.{wanted}'" if _is_checkout() else f"pip install 'tencrop{wanted}'"


def _is_checkout() -> bool:
    """Return whether Python runs the files of a checkout: by an editable installation (PEP 610), or without one."""
    try:
        origin = distribution("tencrop").read_text("direct_url.json")
    except PackageNotFoundError:
        return True
    return bool(json.loads(origin or "{}").get("dir_info", {}).get("editable"))
