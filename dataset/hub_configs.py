"""Configurations: data sets side by side in one folder, as in a repository of the Hugging Face hub. One is chosen.

README.md names them in its YAML header, with globs of their files. Without it they are the folders above the splits:
cropped/train-00000-of-00001.parquet and cropped/train/0000.parquet are of `cropped`, train/0000.parquet is of `.`.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from tencrop.common.did_you_mean import did_you_mean
from tencrop.common.errors import BadInput, one_line
from tencrop.dataset.account import Inventory
from tencrop.dataset.split_from_path import Split, find_word, infer_splits

CARD = "README.md"
MAX_HEADER = 1 << 18  # characters of the card that are read
MAX_GLOBS = 2000
TOP = "."  # the configuration of files that lie in no folder of one

Files = dict[str, str | None]  # paths below the root, each with the name of its split where the card tells


def choose_files(root: Path, found: Sequence[str], config: str | None, inventory: Inventory) -> dict[str, Split]:
    """Choose the files of one configuration, with their splits; the others are noted as unread.

    `found` are paths below the root. `config` may also be a folder above several configurations, all of which count.
    Raises BadInput where there are several and none is named, or where there is none of this name.
    """
    configs = _read_configs(root / CARD, found) or _group_by_folder(found)
    names = one_line(", ".join(sorted(configs)))
    if config is None and len(configs) > 1:
        raise BadInput(
            f"{root}: holds {len(configs)} configurations: {names}",
            "they may share images, so choose one with --config NAME",
        )
    wanted = [name for name in configs if config is None or name == config or name.startswith(f"{config}/")]
    if not wanted:
        advice = did_you_mean(str(config), configs, f"--config takes one of {names}")
        raise BadInput(f"{root}: holds no configuration {config!r}", advice)
    files = {path: split for name in wanted for path, split in configs[name].items()}
    for path in found:
        if path not in files:
            inventory.note_unread(path)
    if None in files.values():
        return infer_splits(root, files)
    splits = infer_splits(root / CARD, {str(split) for split in files.values()})
    return {path: splits[str(split)] for path, split in files.items()}


def _group_by_folder(found: Sequence[str]) -> dict[str, Files]:
    """Group files by the folders above those of splits."""
    configs: dict[str, Files] = defaultdict(dict)
    for path in found:
        folders = path.split("/")[:-1]
        configs["/".join(takewhile(lambda folder: not find_word(folder), folders)) or TOP][path] = None
    return configs


def _read_configs(card: Path, found: Sequence[str]) -> dict[str, Files]:
    """Read the configurations that the card names and that have files. Raises BadInput for one of too many globs."""
    configs: dict[str, Files] = defaultdict(dict)
    for number, (name, split, glob) in enumerate(_iter_globs(card)):
        if number == MAX_GLOBS:
            raise BadInput(f"{card}: names more than {MAX_GLOBS} globs of files", "shorten or remove its `configs`")
        for path in found:
            if _matches(path.split("/"), [part for part in glob.split("/") if part not in ("", ".")]):
                configs[name].setdefault(path, split)
    return configs


def _iter_globs(card: Path) -> Iterator[tuple[str, str | None, str]]:
    """Yield configuration, split and glob of each `data_files` in the card's header; nothing where it has none."""
    header = _read_header(card)
    configs = header.get("configs") if isinstance(header, dict) else None
    for config in configs if isinstance(configs, list) else ():
        if not isinstance(config, dict):
            continue
        name, folder = str(config.get("config_name", "default")), str(config.get("data_dir", ""))
        for item in _as_list(config.get("data_files", "**" if folder else None)):
            split, globs = (item.get("split"), item.get("path")) if isinstance(item, dict) else (None, item)
            for glob in _as_list(globs):
                if isinstance(glob, str):
                    yield name, split if isinstance(split, str) else None, f"{folder}/{glob}"


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _read_header(card: Path) -> Any:
    """Read the YAML between the lines --- at the top, every scalar as a text; None where there is none."""
    try:
        with card.open(encoding="utf-8-sig", errors="replace") as lines:
            text = lines.read(MAX_HEADER)
        before, _, rest = text.partition("---\n")
        header, end, _ = rest.partition("\n---")
        return yaml.load(header, Loader=yaml.BaseLoader) if end and not before.strip() else None
    except (OSError, yaml.YAMLError, RecursionError):
        return None


def _matches(path: Sequence[str], glob: Sequence[str]) -> bool:
    """Return whether a path, in parts, matches a glob, in parts; ** stands for any number of them."""
    ends = {0}  # numbers of parts that the glob may match so far
    for part in glob:
        if part == "**":
            ends = set(range(min(ends), len(path) + 1))
        else:
            ends = {end + 1 for end in ends if end < len(path) and fnmatchcase(path[end], part)}
        if not ends:
            return False
    return len(path) in ends
