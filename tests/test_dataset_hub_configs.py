"""dataset/hub_configs.py: of several configurations in one folder one is chosen; none are merged in silence."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archives import jpeg

from tencrop.common.errors import BadInput
from tencrop.dataset.account import NOT_READ, Inventory
from tencrop.dataset.hub_configs import CARD, MAX_GLOBS, MAX_HEADER, choose_files
from tencrop.dataset.layouts import open_source
from tencrop.dataset.source_options import SourceOptions

TWO = ["default/train-0.parquet", "default/test-0.parquet", "cropped/train-0.parquet", "cropped/test-0.parquet"]
CHOSEN = {"cropped/train-0.parquet": "train", "cropped/test-0.parquet": "test"}


def choose(root: Path, found: Sequence[str], config: str | None = None) -> tuple[Mapping[str, str], list[str]]:
    """The chosen files with their splits, and the files that are not looked at."""
    inventory = Inventory()
    chosen = choose_files(root, found, config, inventory)
    return chosen, sorted(inventory.groups[NOT_READ].names) if inventory.groups else []


def write_card(root: Path, header: str) -> None:
    (root / CARD).write_text(f"---\nlicense: mit\n{header}\n---\n# Ants\n---\nconfigs: []\n---\n", encoding="utf-8")


@pytest.mark.parametrize(
    "found",
    [
        TWO,
        ["default/train/0.parquet", "cropped/train/0.parquet"],
        ["data/train-0.parquet", "other/train-0.parquet"],
        ["a.parquet", "cropped/b.parquet"],
        ["train/0.parquet", "cropped/train/0.parquet"],
        ["images/default/train-0.parquet", "images/cropped/train-0.parquet"],
        ["size_32/train-0.parquet", "size_64/train-0.parquet"],
    ],
    ids=[
        "splits in names",
        "splits in folders",
        "data and other",
        "top and folder",
        "split at the top",
        "deep",
        "sizes",
    ],
)
def test_configurations_in_folders_are_not_merged(tmp_path: Path, found: list[str]) -> None:
    with pytest.raises(
        BadInput, match=r"holds 2 configurations: (\S+), (\S+); they may share .*--config NAME"
    ) as raised:
        choose(tmp_path, found)
    names = str(raised.value).partition("configurations: ")[2].partition(";")[0].split(", ")
    parts = [set(choose(tmp_path, found, name)[0]) for name in names]
    assert all(parts) and not parts[0] & parts[1] and parts[0] | parts[1] == set(found)


@pytest.mark.parametrize(
    "found",
    [
        ["train-0.parquet", "val-0.parquet"],
        ["data/train-0.parquet", "data/val-0.parquet"],
        ["train/0.parquet", "val/0.parquet"],
        ["train/part-0/0.parquet", "train/part-1/0.parquet", "val/0.parquet"],
        ["default/partial-train/0000.parquet", "default/val/0000.parquet"],
    ],
    ids=["names", "data", "folders", "shards in folders", "the hub's conversion"],
)
def test_one_configuration_needs_no_option(tmp_path: Path, found: list[str]) -> None:
    chosen, unread = choose(tmp_path, found)
    assert chosen == {path: "validation" if "val" in path else "train" for path in found} and not unread


def test_the_files_of_another_configuration_are_told(tmp_path: Path) -> None:
    assert choose(tmp_path, TWO, "cropped") == (CHOSEN, ["default/test-0.parquet", "default/train-0.parquet"])


def test_a_folder_above_configurations_takes_all_of_them(tmp_path: Path) -> None:
    found = ["data/part-0/train-0.parquet", "data/part-1/train-0.parquet", "database/train-0.parquet"]
    assert set(choose(tmp_path, found, "data")[0]) == set(found[:2])


@pytest.mark.parametrize("name", ["", "crop", "cropped/", "Default", "../x"])
def test_an_unknown_configuration_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match=r"holds no configuration '.*'; .*--config takes one of cropped, default$"):
        choose(tmp_path, TWO, name)


def test_a_message_about_many_configurations_is_short(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as raised:
        choose(tmp_path, [f"{'x' * 99}{number}/train-0.parquet" for number in range(999)])
    assert len(str(raised.value)) < 500 + len(str(tmp_path))


SPLITS = """configs:
- config_name: default
  data_files:
  - split: train
    path: data/big*
  - split: dev
    path: [data/small-0.parquet, "data/small-[1-9].parquet"]
- config_name: 2024
  data_dir: cropped
  data_files: "**/*.parquet"
- config_name: elsewhere
  data_files: nothing/*
- config_name: in_a_folder
  data_dir: folder"""
NAMED = ["data/big-0.parquet", "data/big-1.parquet", "data/small-0.parquet", "data/small-7.parquet"]


def test_the_card_names_configurations_and_their_splits(tmp_path: Path) -> None:
    write_card(tmp_path, SPLITS)
    found = [*NAMED, "cropped/x/train-0.parquet", "data/small-x.parquet"]
    assert choose(tmp_path, ["folder/x/test.parquet", *found], "in_a_folder")[0] == {"folder/x/test.parquet": "test"}
    with pytest.raises(BadInput, match="holds 2 configurations: 2024, default;"):
        choose(tmp_path, found)
    splits = ["train", "train", "validation", "validation"]
    assert choose(tmp_path, found, "default") == (dict(zip(NAMED, splits, strict=True)), sorted(found[4:]))
    assert choose(tmp_path, found, "2024")[0] == {"cropped/x/train-0.parquet": "train"}


def test_the_only_configuration_of_the_card_that_has_files_is_taken(tmp_path: Path) -> None:
    write_card(tmp_path, SPLITS)
    assert choose(tmp_path, [*NAMED, "other/train-0.parquet"])[1] == ["other/train-0.parquet"]


@pytest.mark.parametrize(
    ("globs", "matches"),
    [
        ("data/train-*", ["data/train-0.parquet"]),
        ("./data/train-0.parquet", ["data/train-0.parquet"]),
        ("data/**", ["data/train-0.parquet", "data/x/train-1.parquet"]),
        ("**/train-*.parquet", ["data/train-0.parquet", "data/x/train-1.parquet", "train-2.parquet"]),
        ("**/x/**/*", ["data/x/train-1.parquet"]),
        ("*", ["train-2.parquet"]),
        ("**", ["data/train-0.parquet", "data/x/train-1.parquet", "train-2.parquet"]),
    ],
)
def test_globs_of_the_card_match_as_those_of_the_hub(tmp_path: Path, globs: str, matches: list[str]) -> None:
    found = ["data/train-0.parquet", "data/x/train-1.parquet", "train-2.parquet"]
    write_card(tmp_path, f'configs:\n- config_name: a\n  data_files: "{globs}"')
    assert sorted(choose(tmp_path, found, "a")[0]) == matches


def test_a_split_of_the_card_that_is_not_known_is_refused_beside_train(tmp_path: Path) -> None:
    write_card(tmp_path, SPLITS.replace("split: dev", "split: holdout"))
    with pytest.raises(BadInput, match=r"README\.md: train is named after a split, and holdout beside it after none"):
        choose(tmp_path, NAMED)


@pytest.mark.parametrize(
    "text",
    [
        "# Ants\n---\nconfigs:\n- config_name: x\n  data_files: nothing\n---\n",
        "---\nconfigs: [\n---\n",
        "---\nconfigs:\n- config_name: a\n  data_files: '*/*'\n",
        "---\nconfigs: 3\n---\n",
        "---\n- configs\n---\n",
        "---\nconfigs: [{config_name: a}]\n---\n",
        "---\nconfigs: [3, {data_files: {a: b}}, {data_files: [[3]]}, {data_files: [{path: {}}]}]\n---\n",
        "---\nconfigs:\n- config_name: a\n  data_files: elsewhere/*\n---\n",
        f"---\nconfigs: {'[' * 20_000}\n---\n",
        f"---\nx: {'x' * MAX_HEADER}\nconfigs:\n- config_name: a\n  data_files: '*/*'\n---\n",
    ],
    ids=["below", "damaged", "open", "number", "list", "no files", "odd", "other files", "deep", "long"],
)
def test_without_a_header_that_names_the_files_folders_are_the_configurations(tmp_path: Path, text: str) -> None:
    (tmp_path / CARD).write_text(text)
    assert choose(tmp_path, TWO, "cropped")[0] == CHOSEN


def test_a_card_that_repeats_itself_by_references_is_one_line(tmp_path: Path) -> None:
    """A header of 20 kB that holds a million globs."""
    globs, items = ", ".join(["x"] * 1000), ", ".join(["*a"] * 1000)
    write_card(tmp_path, f"a: &a {{split: train, path: [{globs}]}}\nconfigs:\n- data_files: [{items}]")
    with pytest.raises(BadInput, match=rf"README\.md: names more than {MAX_GLOBS} globs of files"):
        choose(tmp_path, TWO)


def test_a_card_in_windows_lines_is_read(tmp_path: Path) -> None:
    (tmp_path / CARD).write_bytes(
        b"\xef\xbb\xbf---\r\nconfigs:\r\n- config_name: a\r\n  data_files: cropped/*\r\n---\r\n"
    )
    assert choose(tmp_path, TWO)[0] == CHOSEN


def test_a_chosen_configuration_is_evaluated_alone(tmp_path: Path) -> None:
    features = {"label": {"names": ["ant", "bee"], "_type": "ClassLabel"}}
    metadata = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    for number, path in enumerate(TWO):
        image = [{"bytes": jpeg(10 * number + row), "path": f"{number % 2}{row}.jpg"} for row in range(2)]
        packed = io.BytesIO()
        pq.write_table(pa.table({"image": image, "label": [0, 1]}).replace_schema_metadata(metadata), packed)
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(packed.getvalue())
    with pytest.raises(BadInput, match="holds 2 configurations"):
        open_source(tmp_path)
    source = open_source(tmp_path, SourceOptions(config="cropped"))
    assert [source.read(entry) for entry in source.entries] == [jpeg(number) for number in (30, 31, 20, 21)]
    assert [entry.validation for entry in source.entries] == [True, True, False, False]
