"""The comparison of two validations for a terminal."""

from collections.abc import Mapping
from typing import Any

from tencrop.common.terminal_text import escape_text
from tencrop.model.measured_errors import VIEWS

TOPS = {"top-1": "top1", "top-5": "top5"}  # in words -> as a key
NAMES = {"nll": "NLL", "brier": "Brier", "ece": "ECE", "agreement": "agreement"}  # of scores -> in words


def text_comparison(found: Mapping[str, Any]) -> str:
    """Format a result of `compare` for a terminal. Names of folders, models and images are escaped."""
    lines = [f"{name.upper()}: {_text_run(found[name])}" for name in "ab"]
    lines.append(
        f"{found['n']:<6} images       error A  error B  "
        "B minus A (95 %)                right only in A   in B  McNemar's p"
    )
    for kind, words in VIEWS.items():
        lines += [f"{words:<12} {name} {_text_errors(found[kind][key])}" for name, key in TOPS.items()]
    for kind, words in VIEWS.items():
        means = found[kind]["mean_over_classes"]
        lines += [f"{words:<12} {name} {_text_interval(means[key])} (mean over classes)" for name, key in TOPS.items()]
    for kind, words in VIEWS.items():
        for key, of in (found[kind]["scores"] or {}).items():
            lines.append(f"{words:<12} {NAMES[key]:<9} {_text_score(of)}")
    for kind, words in VIEWS.items():
        changed, moves = found[kind]["changed"], _text_moves(found[kind])
        lines.append(f"{words:<12} another top-1 label: {changed:5}; its probability moves by: {moves}")
    if found["images"]:
        shown = f"{len(found['images'])} of {found['ten_crop']['changed']}"
        lines.append(f"another label by ten views, {shown} (classes by their index):")
    for image in found["images"]:
        a, b = (_text_answer(image[run]) for run in "ab")
        lines.append(f"  {image['id']}: true {image['label']}, A {a}, B {b}")
    return "\n".join(map(escape_text, lines))


def _text_run(run: Mapping[str, Any]) -> str:
    text = "{folder}: {model} on {dataset}, {engine} on {device}, {precision}, {undecodable} undecodable".format(**run)
    return text + (f", {run['no_answer']} without an answer" if run["no_answer"] else "")


def _text_errors(of: Mapping[str, Any]) -> str:
    return f"{_text_interval(of)} {of['right_only_in_a']:15} {of['right_only_in_b']:6} {of['mcnemar_p']:12.3g}"


def _text_interval(of: Mapping[str, Any]) -> str:
    between = "({:+.3%} to {:+.3%})".format(*of["interval"])
    return f"{of['error_a']:8.2%} {of['error_b']:8.2%}  {of['difference']:+8.3%} {between:<22}"


def _text_score(of: Mapping[str, Any]) -> str:
    between = "({:+.4f} to {:+.4f})".format(*of["interval"])
    return f"{of['a']:8.4f} {of['b']:8.4f}  {of['difference']:+8.4f} {between}"


def _text_moves(of: Mapping[str, Any]) -> str:
    if of["median_move"] is None:
        return "nothing to compare"
    return f"{of['median_move']:.2g} (median), {of['largest_move']:.2g} at most"


def _text_answer(answer: Mapping[str, Any] | None) -> str:
    return "no answer" if answer is None else f"{answer['index']} ({answer['probability']:.4f})"
