"""Two validations of the same images, image by image: `tencrop compare RUN_A RUN_B`.

For precision variants, engines, ensembles, and what was served against what was evaluated.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tencrop.common.errors import BadInput
from tencrop.evaluation.prediction_records import SCHEMA, pad_top5
from tencrop.evaluation.report import VIEWS, Z


@dataclass(frozen=True)
class Run:
    """A finished validation of n images, which are in order of ids."""

    folder: str  # as it was given
    about: Mapping[str, str]  # its summary's model, data set, engine, device, precision
    undecodable: int
    ids: pa.ChunkedArray  # [n]
    labels: np.ndarray  # [n]
    top: Mapping[str, np.ndarray]  # "center", "ten_crop": indices [n,TOP], -1 where undecodable
    best: Mapping[str, np.ndarray]  # "center", "ten_crop": probability [n] of the first of them


def open_run(folder: Path) -> Run:
    """What `evaluate` wrote to `folder`. Raises BadInput where a file is missing, damaged or of something else."""
    file, records = folder / "summary.json", folder / "predictions.parquet"
    if not file.exists() and (folder / "parts").is_dir():
        raise BadInput(f"{folder}: this run is not finished; `tencrop evaluate` with --resume goes on with it")
    if not file.exists():
        raise BadInput(
            f"{folder}: no validation here (no summary.json); `tencrop evaluate DATA --out {folder}` makes one"
        )
    try:
        summary = json.loads(file.read_text(encoding="utf-8"))
        n, model = int(summary["n"]), str(summary["model"]["name"])
        about = {"model": model} | {key: str(summary[key]) for key in ("dataset", "engine", "device", "precision")}
    except (OSError, ValueError, KeyError, TypeError):
        raise BadInput(f"{file}: damaged, or not of a validation; evaluate again") from None
    try:
        table = pq.read_table(records)
        table.validate(full=True)
        if table.schema != SCHEMA:
            raise BadInput(
                f"{records}: has other columns than {', '.join(SCHEMA.names)}; evaluate again with this version"
            )
        if not n or table.num_rows != n or table["id"].null_count:
            raise BadInput(f"{records}: not the {n} predictions that summary.json speaks of; evaluate again")
        table = table.sort_by("id").combine_chunks()
        top = {kind: pad_top5(table[f"{kind}_indices"]) for kind in VIEWS}
        best = {kind: pad_top5(table[f"{kind}_probabilities"])[:, 0] for kind in VIEWS}
        labels = table["label"].chunk(0).to_numpy()
    except (OSError, ValueError, pa.ArrowException):
        raise BadInput(f"{records}: missing or damaged; evaluate again") from None
    return Run(str(folder), about, int(pc.sum(table["undecodable"]).as_py()), table["id"], labels, top, best)


def compare(a: Run, b: Run, show: int) -> dict[str, Any]:
    """By center and ten views: the errors of both (`paired`), how many images have another top-1 label, and by how much the
    probability of each run's own top-1 label moves over the images that both decoded (None where there are none).
    Under "images" the first `show`, in order of ids, whose top-1 label by ten views is another.

    Raises BadInput where the two are of other images or other true classes.
    """
    _same_images(a, b)
    found: dict[str, Any] = {
        name: {"folder": run.folder, **run.about, "undecodable": run.undecodable} for name, run in (("a", a), ("b", b))
    }
    found["n"] = len(a.labels)
    for kind in VIEWS:
        top_a, top_b = a.top[kind], b.top[kind]
        hits_a, hits_b = (
            top_a == a.labels[:, None],
            top_b == a.labels[:, None],
        )  # as metrics.ErrorCounts: undecodable is wrong
        moved = np.abs(a.best[kind] - b.best[kind])[(top_a[:, 0] >= 0) & (top_b[:, 0] >= 0)]
        found[kind] = {
            "top1": paired(hits_a[:, 0], hits_b[:, 0]),
            "top5": paired(hits_a.any(1), hits_b.any(1)),
            "changed": int((top_a[:, 0] != top_b[:, 0]).sum()),
            "largest_move": float(moved.max()) if len(moved) else None,
            "median_move": float(np.median(moved)) if len(moved) else None,
        }
    rows = np.flatnonzero(a.top["ten_crop"][:, 0] != b.top["ten_crop"][:, 0])[:show]
    found["images"] = [
        {"id": a.ids[i].as_py(), "label": int(a.labels[i]), "a": _answer(a, i), "b": _answer(b, i)} for i in rows
    ]
    return found


def _same_images(a: Run, b: Run) -> None:
    """Raises BadInput with the first image, in order of ids, that only one of them has, or whose true class differs."""
    shared = min(len(a.ids), len(b.ids))
    at = pc.index(pc.not_equal(a.ids[:shared], b.ids[:shared]), True).as_py()
    if at >= 0 or len(a.ids) != len(b.ids):
        at = at if at >= 0 else shared
        image, has = min(
            (run.ids[at].as_py(), run.folder) for run in (a, b) if at < len(run.ids)
        )  # the larger id may yet be in both
        raise BadInput(
            f"{image}: only {has} has this image; compare runs over the same ones (DATA, --limit, --holdout)"
        )
    other = np.flatnonzero(a.labels != b.labels)
    if len(other):
        true_a, true_b = a.labels[other[0]], b.labels[other[0]]
        raise BadInput(
            f"{a.ids[other[0]]}: class {true_a} in {a.folder}, {true_b} in {b.folder}; compare runs with one list of classes"
        )


def paired(right_a: np.ndarray, right_b: np.ndarray) -> dict[str, Any]:
    """Of two bool [n], whether A and B are right on each image: both errors, B's minus A's with its interval, the images that
    only one has right, and the two-sided p of McNemar's exact test (a binomial test of those at 1/2; 1 where there are none)."""
    from scipy.stats import binomtest  # half a second, and only this command needs it

    n, only_a, only_b = len(right_a), int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    return {
        "error_a": int((~right_a).sum()) / n,
        "error_b": int((~right_b).sum()) / n,
        "difference": (only_a - only_b) / n,
        "interval": list(paired_interval(only_a, only_b, n)),
        "right_only_in_a": only_a,
        "right_only_in_b": only_b,
        "mcnemar_p": float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0,
    }


def paired_interval(only_a: int, only_b: int, n: int) -> tuple[float, float]:
    """95 % interval of B's error minus A's, where that many of n images are right in A only and in B only.

    The adjusted Wald interval of Bonett and Price (J. Educ. Behav. Stat. 37, 2012, 479-488), which Fagerland, Lydersen and Laake
    (Stat. Med. 33, 2014, 2850-2875) recommend for pairs of any number: an image more on either side, so that runs that never
    disagree have one of +-2.8 / n. Unlike Newcombe's (1998) it does not depend on how many images both have right.
    """
    share_a, share_b = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    middle = share_a - share_b
    spread = Z * sqrt((share_a + share_b - middle**2) / (n + 2))
    return max(middle - spread, -1.0), min(middle + spread, 1.0)


def _answer(run: Run, i: int) -> dict[str, Any] | None:
    """The top-1 of image i by ten views; None where undecodable."""
    index = int(run.top["ten_crop"][i, 0])
    return None if index < 0 else {"index": index, "probability": float(run.best["ten_crop"][i])}


def text_comparison(found: Mapping[str, Any]) -> str:
    """What `compare` found, for a terminal."""
    about = "{folder}: {model} on {dataset}, {engine} on {device}, {precision}, {undecodable} undecodable"
    lines = [f"{name.upper()}: {about.format(**found[name])}" for name in "ab"]
    lines.append(
        f"{found['n']:<6} images       error A  error B  B minus A (95 %)                right only in A   in B  McNemar's p"
    )
    for kind, words in VIEWS.items():
        for top, of in (("top-1", found[kind]["top1"]), ("top-5", found[kind]["top5"])):
            errors = f"{of['error_a']:8.2%} {of['error_b']:8.2%}  {of['difference']:+8.3%}"
            between = "({:+.3%} to {:+.3%})".format(*of["interval"])
            only = f"{of['right_only_in_a']:15} {of['right_only_in_b']:6}"
            lines.append(f"{words:<12} {top} {errors} {between:<22} {only} {of['mcnemar_p']:12.3g}")
    for kind, words in VIEWS.items():
        of = found[kind]
        moves = (
            "" if of["median_move"] is None else f"{of['median_move']:.2g} (median), {of['largest_move']:.2g} at most"
        )
        lines.append(
            f"{words:<12} another top-1 label: {of['changed']:5}; its probability moves by: {moves or 'nothing to compare'}"
        )
    if found["images"]:
        lines.append(
            f"another label by ten views, {len(found['images'])} of {found['ten_crop']['changed']} (classes by their index):"
        )
    for image in found["images"]:
        a, b = (
            "undecodable" if image[run] is None else "{index} ({probability:.4f})".format(**image[run]) for run in "ab"
        )
        lines.append(f"  {image['id']}: true {image['label']}, A {a}, B {b}")
    return "\n".join(lines)
