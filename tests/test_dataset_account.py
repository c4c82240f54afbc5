"""dataset/account.py: whatever a data set holds, each image is taken or left out for a reason, and the sums agree."""

import io
import json
import os
import tarfile
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archives import jpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from support.arrow_files import make_table, save

from tencrop.common.errors import BadInput, WorkFailed
from tencrop.dataset.account import NAMES, NOT_READ, REPEATED, WITHOUT_LABEL, Account, Group, Inventory, name_kind
from tencrop.dataset.layouts import open_source
from tencrop.dataset.prepare import prepare
from tencrop.dataset.source import Source
from tencrop.dataset.source_options import SourceOptions
from tencrop.images.errors import ImageMissing

CLASSES = ("ant", "bee")
EXAMPLES = settings(max_examples=40, deadline=None)
FILE = st.sampled_from(
    ["1.jpg", "2.JPEG", "3.png", ".4.jpg", "._1.jpg", "notes.txt", "README", "5.dng", "Thumbs.db", "6.JFIF", "x.tar"]
)
FOREIGN = ["lost+found", "__MACOSX", "@eaDir"]
FOLDER = st.sampled_from(["", "deep/", ".cache/", "deep/.git/", *(f"{name}/ant/" for name in FOREIGN)])
TOP = st.sampled_from(["", "ant/", "bee/", "train/ant/", "val/ant/", "dev/bee/", "x/", "test/"])
CONTENT = st.sampled_from([b"", b"no image", jpeg(1), jpeg(2), None])  # None: a link to nothing


def close(source: Source) -> Account:
    """The account of a run that could decode every image."""
    return Account.close(source.inventory, len(source.entries), ())


def check_sum(document: dict[str, object]) -> None:
    """An account in a file adds up by its own numbers."""
    undecodable = document["undecodable"]
    assert isinstance(undecodable, dict)
    reasons = ("taken", "passed_over", "without_label", "without_pair")
    assert document["seen"] == sum(int(str(document[reason])) for reason in reasons) + sum(undecodable.values())


@EXAMPLES
@given(st.sampled_from(["", "train/", "img_dev/"]), st.dictionaries(st.tuples(TOP, FOLDER, FILE), CONTENT))
def test_the_account_of_any_folders_adds_up(top: str, files: dict[tuple[str, str, str], bytes | None]) -> None:
    with TemporaryDirectory() as scratch:
        root = Path(scratch)
        for name in CLASSES:
            write(root / top / name / "always.jpg", jpeg(0))
        for path, content in files.items():
            write(root / "".join(path), content)
        try:
            source = open_source(root)
        except BadInput:
            return  # refused as a whole
        account = close(source)
        check_sum(account.to_json())
        unread = tuple(account.groups[NOT_READ].names) if account.count(NOT_READ) else ()
        images = [name for name in list_visible_images(root) if not name.startswith(unread)]
        assert len(source.entries) == account.taken == len(images) - account.count(WITHOUT_LABEL)
        assert {entry.id for entry in source.entries} <= set(images)


def list_visible_images(root: Path) -> list[str]:
    """The paths of all images that are in no folder of another program, links to nothing included."""
    names = [path.relative_to(root) for path in root.rglob("*") if os.path.isfile(path) or path.is_symlink()]
    shown = [name for name in names if not any(part.startswith(".") or part in FOREIGN for part in name.parts)]
    return [name.as_posix() for name in shown if name.suffix.lower() in (".jpg", ".jpeg", ".png", ".jfif")]


def write(path: Path, content: bytes | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        path.symlink_to("/nowhere/at/all.jpg")
    else:
        path.write_bytes(content)


KEY = st.sampled_from(["a", "b", "c.5", "d/c", "._a"])
SUFFIX = st.sampled_from(["jpg", "cls", "json", "txt", "png", "seg.png", "label.cls", "jpg.cls", "npy"])
TAR = st.sampled_from(["train-0.tar", "test-0.tar", "train-0.tar.gz"])


@EXAMPLES
@given(st.lists(st.tuples(KEY, SUFFIX, st.booleans())), TAR)
def test_the_account_of_any_tar_adds_up(members: list[tuple[str, str, bool]], name: str) -> None:
    contents = {"jpg": jpeg(1), "png": jpeg(2), "cls": b"1", "json": b'{"label": 1}', "txt": b"1", "npy": b""}
    always = [("always", "jpg", False), ("always", "cls", False)]
    with TemporaryDirectory() as scratch:
        root = Path(scratch)
        (root / "classes.txt").write_text("\n".join(CLASSES))
        with tarfile.open(root / name, "w:gz" if name.endswith(".gz") else "w") as opened:
            for key, suffix, is_link in [*always, *members]:
                info, content = tarfile.TarInfo(f"{key}.{suffix}"), contents[suffix.rpartition(".")[2]]
                if is_link:
                    info.type, info.linkname = tarfile.LNKTYPE, "a.jpg"
                else:
                    info.size = len(content)
                opened.addfile(info, None if is_link else io.BytesIO(content))
        try:
            source = open_source(root)
        except BadInput:
            return
        check_sum(close(source).to_json())


IMAGES: dict[str, pa.DataType] = {
    "bytes and path": pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    "bytes": pa.binary(),
    "path": pa.string(),
}
LABELS: dict[str, tuple[object, ...]] = {"numbers": (-1, 0, 1, None), "texts": ("", "ant", "bee", None)}


@EXAMPLES
@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 4))),
    st.sampled_from(["train-0", "test-0"]),
    st.sampled_from(sorted(IMAGES)),
    st.sampled_from(sorted(LABELS)),
    st.sampled_from(["parquet", "Arrow"]),
    st.booleans(),
)
def test_the_account_of_any_table_adds_up(
    rows: list[tuple[int, bool, int]], name: str, image: str, labels: str, kind: str, with_root: bool
) -> None:
    """A row: its label, whether it has bytes, and the number of the file that it names; 3 and 4 are not there."""
    features = {"label": {"names": list(CLASSES), "_type": "ClassLabel"}} if labels == "numbers" else {}
    rows = [(1, True, 0), *rows]
    full = [{"bytes": jpeg(n) if has_bytes else None, "path": f"{n}.jpg"} for _, has_bytes, n in rows]
    values = full if " and " in image else [row[image] for row in full]
    table = make_table(pa.array(values, IMAGES[image]), [LABELS[labels][label] for label, _, _ in rows], features)
    with TemporaryDirectory() as scratch:
        root = Path(scratch)
        for number in range(3):
            write(root / "photos" / f"{number}.jpg", jpeg(number))
        if kind == "Arrow":
            save(root / "tables" / name, table)
        else:
            (root / "tables").mkdir()
            pq.write_table(table, root / "tables" / f"{name}.parquet", row_group_size=3)
        try:
            source = open_source(root / "tables", SourceOptions(image_root=root / "photos" if with_root else None))
        except BadInput:
            return
        found = []
        for entry in source.entries:
            with suppress(ImageMissing):
                found.append(source.read(entry))
        undecodable = ["missing"] * (len(source.entries) - len(found))
        account = Account.close(source.inventory, len(source.entries), undecodable).to_json()
        check_sum(account)
        assert (account["seen"], account["taken"]) == (len(rows), len(found))
        assert set(found) <= {jpeg(number) for number in range(5)}
        assert with_root or not undecodable


LISTED = {  # paths in a list, and the ids of their images
    "a/1.jpg": "a/1.jpg",
    "./a/1.jpg": "a/1.jpg",
    "a/2": "a/2.jpg",
    "b.PNG": "b.PNG",
    "gone.jpg": "gone.jpg",
    ".x/3.png": ".x/3.png",
}
LINE = st.tuples(st.sampled_from(sorted(LISTED)), st.sampled_from("01"))


@EXAMPLES
@given(st.lists(LINE, min_size=1), st.dictionaries(st.sampled_from(["", "a/", ".x/"]), FILE), st.booleans())
def test_the_account_of_any_list_adds_up(lines: list[tuple[str, str]], files: dict[str, str], names: bool) -> None:
    with TemporaryDirectory() as scratch:
        root = Path(scratch)
        for path in ("a/1.jpg", "a/2.jpg", "b.PNG", *(folder + name for folder, name in files.items())):
            write(root / path, jpeg(len(path)))
        (root / "list.txt").write_text("".join(f"{path} {label}\n" for path, label in lines))
        (root / "names.txt").write_text("ant\nbee\n")
        options = SourceOptions(names=root / "names.txt" if names else None, list=root / "list.txt")
        try:
            source = open_source(root, options)
        except BadInput:
            return
        account = close(source)
        check_sum(account.to_json())
        assert {entry.id for entry in source.entries} == {LISTED[path] for path, _ in lines}
        assert account.count(REPEATED) == len(lines) - len(source.entries)


def test_each_thing_that_is_left_out_is_told(tmp_path: Path) -> None:
    for name in (
        "ant/1.jpg",
        "ant/2.dng",
        "ant/3.DNG",
        "ant/.DS_Store",
        "bee/1.jpg",
        "a.jpg",
        ".git/x",
        "README",
    ):
        write(tmp_path / name, b"")
    write(tmp_path / "bee" / "gone.jpg", None)
    source = open_source(tmp_path)
    account = Account.close(source.inventory, len(source.entries), ["missing", "damaged_image", "damaged_image"])
    assert account.format() == [
        "9 seen: 0 taken",
        "  5 passed over by name: 2 x .dng, .*, .git/, README",
        "  1 without a label: a.jpg",
        "  3 undecodable: 2 damaged image, 1 missing",
    ]
    assert Account.from_json(json.loads(json.dumps(account.to_json()))) == account


def test_a_split_that_is_not_looked_at_is_told(tmp_path: Path) -> None:
    for name in ("train/ant/1.jpg", "val/ant/2.jpg", "test/3.jpg"):
        write(tmp_path / name, b"")
    assert close(open_source(tmp_path, training=False)).format() == [
        "1 seen: 1 taken",
        "  2 not looked at, of another split or configuration: test/, train/",
    ]
    assert close(open_source(tmp_path)).format() == [
        "2 seen: 2 taken",
        "  1 not looked at, of another split or configuration: test/",
    ]


def test_an_account_that_does_not_add_up_fails_the_run() -> None:
    inventory = Inventory(seen=3)
    inventory.pass_over("x.txt")
    with pytest.raises(WorkFailed, match="does not add up: 4 images seen, 2 listed, 1 left out"):
        Account.close(inventory, 2, ())


def test_names_are_kept_up_to_a_limit_and_all_are_counted() -> None:
    group = Group()
    for number in range(3 * NAMES):
        group.add(str(number % (2 * NAMES)))
    assert group.count == 3 * NAMES and len(group.names) == NAMES


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a/b.DNG", ".dng"), ("a/@eaDir/", "@eaDir/"), ("._b.jpg", ".*"), ("README", "README"), ("a.tar.gz", ".gz")],
)
def test_names_are_told_by_kind(name: str, kind: str) -> None:
    assert name_kind(name) == kind


def test_names_that_are_not_utf_8_can_be_written(tmp_path: Path) -> None:
    write(tmp_path / "ant" / "1.jpg", b"")
    write(tmp_path / "ant" / os.fsdecode(b"x.\xff"), b"")
    json.dumps(close(open_source(tmp_path)).to_json()).encode()
    assert "\\xff" in close(open_source(tmp_path)).format()[1]


def test_prepare_finds_photographs_that_are_in_both_parts_of_a_split(tmp_path: Path) -> None:
    for number in range(4):
        for name in CLASSES:
            write(tmp_path / "data" / "train" / name / f"{number}.jpg", jpeg(10 * number + len(name)))
    write(tmp_path / "data" / "val" / "bee" / "again.jpg", jpeg(10 + len("bee")))
    write(tmp_path / "data" / "val" / "bee" / "other.jpg", jpeg(99))
    for split in ("train", "val"):
        write(tmp_path / "data" / split / "ant" / "broken.jpg", b"no image")
    document = prepare(open_source(tmp_path / "data"), tmp_path / "out", 0.2, lambda _: None)
    stored = json.loads((tmp_path / "out" / "prepared.json").read_text())["account"]
    assert stored == document.account
    check_sum(stored)
    assert (stored["duplicates"], stored["names"]["duplicates"]) == (1, {"val/bee/again.jpg": 1})
    assert stored["undecodable"] == {"unsupported_format": 2}
    assert list(stored["names"]) == ["duplicates"]
