"""dataset/webdataset.py: reads tars of samples with labels beside the images."""

import io
import json
import tarfile
from pathlib import Path

import pytest
from archives import SORTED, jpeg, read_by_threads, tar

from tencrop.common.errors import BadInput
from tencrop.dataset.account import Account
from tencrop.dataset.layouts import open_source
from tencrop.dataset.sample_names import split_name
from tencrop.dataset.source import Source
from tencrop.dataset.source_options import SourceOptions
from tencrop.images.errors import ImageMissing
from tencrop.model.contract import Label


def shard(first: int, count: int, suffix: str = "jpg") -> dict[str, bytes]:
    """Images of two classes by turns; every third label is in a json."""
    files: dict[str, bytes] = {}
    for n in range(first, first + count):
        label = (
            {f"{n:05d}.json": json.dumps({"label": n % 2, "width": 3}).encode()}
            if n % 3 == 0
            else {f"{n:05d}.cls": f"{n % 2}\n".encode()}
        )
        files |= {f"{n:05d}.{suffix}": jpeg(n), f"{n:05d}.txt": b"a caption"} | label
    return files


def write(root: Path, tars: dict[str, dict[str, bytes]], classes: str | None = "ant\nbumble bee\n") -> Path:
    for name, files in tars.items():
        (root / name).write_bytes(tar(files))
    if classes is not None:
        (root / "classes.txt").write_text(classes)
    return root


def told(source: Source) -> list[str]:
    """The account of a run that could decode every image."""
    return Account.close(source.inventory, len(source.entries), ()).format()


def test_every_image_is_read_as_it_was_packed_by_several_threads(tmp_path: Path) -> None:
    root = write(
        tmp_path, {"train-000.tar": shard(0, 5), "train-001.tar": shard(5, 4, "PNG"), "val-000.tar": shard(50, 3)}
    )
    expected = {f"train-000.tar/{n:05d}.jpg": (n % 2, False, jpeg(n)) for n in range(5)}
    expected |= {f"train-001.tar/{n:05d}.PNG": (n % 2, False, jpeg(n)) for n in range(5, 9)}
    expected |= {f"val-000.tar/{n:05d}.jpg": (n % 2, True, jpeg(n)) for n in range(50, 53)}
    source = open_source(root)
    assert source.labels == (Label("ant", "ant"), Label("bumble bee", "bumble bee"))
    assert read_by_threads(source) == expected


@pytest.mark.parametrize(
    ("name", "validation"),
    [
        ("val-0.tar", True),
        ("validation_0.tar", True),
        ("imagenet1k-validation-00.tar", True),
        ("dev-0.tar", True),
        ("train-valley-0.tar", False),
    ],
)
def test_the_name_of_a_tar_gives_its_split(tmp_path: Path, name: str, validation: bool) -> None:
    entries = open_source(write(tmp_path, {"train-0.tar": shard(0, 2), name: shard(2, 2)})).entries
    assert {bool(entry.validation) for entry in entries if entry.id.startswith(name)} == {validation}


def test_a_test_split_without_labels_is_left_out(tmp_path: Path) -> None:
    root = write(tmp_path, {"train-0.tar": shard(0, 4), "test-0.tar": {"a.jpg": jpeg(0)}})
    assert [(entry.id, entry.validation) for entry in open_source(root).entries] == [
        (f"train-0.tar/{n:05d}.jpg", None) for n in range(4)
    ]


def test_files_of_a_sample_may_lie_anywhere_in_its_tar(tmp_path: Path) -> None:
    files = {
        "b/1.cls": b"1",
        "a/1.jpg": b"A",
        "b/1.jpg": b"B",
        "a/1.cls": b"0",
        "./c.d.jpg": b"without a label: its key is c.d",
    }
    source = open_source(write(tmp_path, {"x.tar": files}))
    assert [(entry.id, entry.label, source.read(entry)) for entry in source.entries] == [
        ("x.tar/b/1.jpg", 1, b"B"),
        ("x.tar/a/1.jpg", 0, b"A"),
    ]


def test_classnames_txt_is_read_as_well(tmp_path: Path) -> None:
    root = write(tmp_path, {"x.tar": shard(0, 2)}, None)
    (root / "classnames.txt").write_text("one\ntwo\n")
    assert [label.name for label in open_source(root).labels] == ["one", "two"]


def test_a_labels_file_names_the_classes_by_its_lines(tmp_path: Path) -> None:
    root = write(tmp_path, {"x.tar": shard(0, 2)}, None)
    (tmp_path / "words").write_text("n01440764 tench\nn02119789 kit fox\n")
    assert open_source(root, SourceOptions(names=tmp_path / "words")).labels == (
        Label("n01440764", "tench"),
        Label("n02119789", "kit fox"),
    )


def test_a_labels_file_in_the_devkits_order_is_bad_input(tmp_path: Path) -> None:
    root = write(tmp_path, {"x.tar": shard(0, 2)}, None)
    (tmp_path / "words").write_text("n02119789 kit fox\nn01440764 tench\n")
    with pytest.raises(BadInput, match="words: n01440764 comes after n02119789"):
        open_source(root, SourceOptions(names=tmp_path / "words"))


def named_after_wnids(*labels: int) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for wnid, label in zip(SORTED, labels, strict=True):
        files |= {f"{wnid}_1.jpg": jpeg(label), f"{wnid}_1.cls": str(label).encode()}
    return files


def test_labels_are_checked_against_wnids_in_the_images_names(tmp_path: Path) -> None:
    names = tmp_path / "words"
    names.write_text("".join(f"{wnid} words\n" for wnid in SORTED))
    write(tmp_path, {"train-0.tar": named_after_wnids(0, 1, 2)}, "a\nb\nc\n")
    assert open_source(tmp_path, SourceOptions(names=names)).labels == tuple(Label(wnid, "words") for wnid in SORTED)
    assert open_source(tmp_path).labels == tuple(map(Label, SORTED, "abc"))
    write(tmp_path, {"train-0.tar": named_after_wnids(1, 0, 2)})
    with pytest.raises(BadInput, match="label 0 is class n01440764, but its images are named n02119789"):
        open_source(tmp_path, SourceOptions(names=names))


MISFITS: dict[str, tuple[dict[str, bytes], str]] = {
    "no label": ({"1.jpg": b"0"}, r"hold no images with a label, but \.jpg; expected a label in KEY\.cls"),
    "no image": ({"1.cls": b"0", "2.cls": b"1"}, r"hold no images with a label, but 2 x \.cls"),
    "two parts": ({"a.left.jpg": b"0", "a.cls": b"1"}, r"hold no images with a label, but \.cls, \.jpg"),
    "class that is not named": ({"1.jpg": b"0", "1.cls": b"2"}, "1.cls holds 2, which is none of the 2 named classes"),
    "negative label": ({"1.jpg": b"0", "1.cls": b"-1"}, "1.cls holds '-1', which is none"),
    "label of words": ({"1.jpg": b"0", "1.cls": b"wasp"}, "1.cls holds 'wasp', which is none"),
    "label of bytes": ({"1.jpg": b"0", "1.cls": b"\xff"}, "1.cls holds no label"),
    "caption": ({"1.jpg": b"0", "1.txt": b"an ant"}, "1.txt holds 'an ant', which is none"),
    "json without label": ({"1.jpg": b"0", "1.json": b"{}"}, r"hold no images with a label, but \.jpg, \.json"),
    "json that is a list": ({"1.jpg": b"0", "1.json": b"[]"}, r"1.json holds \[\], which is none"),
    "json with a fraction": ({"1.jpg": b"0", "1.json": b'{"label": 1.5}'}, "1.json holds 1.5, which is none"),
    "json with true": ({"1.jpg": b"0", "1.json": b'{"label": true}'}, "1.json holds True, which is none"),
    "damaged json": ({"1.jpg": b"0", "1.json": b"{"}, "1.json holds no label"),
    "nothing": ({}, "hold no images with a label, but nothing"),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_a_mismatch_is_one_line_of_bad_input(tmp_path: Path, misfit: str) -> None:
    files, message = MISFITS[misfit]
    with pytest.raises(BadInput, match=message):
        open_source(write(tmp_path, {"train.tar": files}))


def test_evaluation_takes_the_classes_from_the_training_images(tmp_path: Path) -> None:
    """Names of ILSVRC's training images have a wnid, those of its validation images have none."""
    train = {
        f"{wnid}_1.{kind}": data
        for k, wnid in enumerate(SORTED[:2])
        for kind, data in (("jpg", jpeg(k)), ("cls", b"%d" % k))
    }
    val = {
        f"ILSVRC2012_val_0000000{k}.{kind}": data
        for k in range(2)
        for kind, data in (("jpg", jpeg(k)), ("cls", b"%d" % k))
    }
    root = write(tmp_path, {"train.tar": train, "val.tar": val})
    assert [label.id for label in open_source(root, training=False).labels] == [*SORTED[:2]]


def test_tars_may_lie_in_folders_named_after_their_splits(tmp_path: Path) -> None:
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
    write(tmp_path, {"train/0.tar": shard(0, 3), "train/1.tar": shard(3, 2), "test/0.tar": shard(5, 2)})
    (tmp_path / "classes.txt").rename(tmp_path / "classnames.txt")  # as the hub's clip-benchmark sets have it
    ids = {entry.id: entry.validation for entry in open_source(tmp_path).entries}
    assert [held for id, held in ids.items() if id.startswith("test/0.tar/")] == [True, True]
    assert [held for id, held in ids.items() if id.startswith("train/")] == [False] * 5


def test_of_two_files_with_one_name_the_later_counts(tmp_path: Path) -> None:
    write(tmp_path, {})
    (tmp_path / "x.tar").write_bytes(tar([("1.jpg", b"0"), ("1.cls", b"0"), ("1.jpg", b"1")]))
    source = open_source(tmp_path)
    assert [source.read(entry) for entry in source.entries] == [b"1"]
    assert told(source) == ["2 seen: 1 taken", "  1 passed over by name: an earlier x.tar/1.jpg"]


@pytest.mark.parametrize(
    ("name", "key", "field"),
    [
        ("img_0.5.jpg", "img_0.5", "jpg"),
        ("v1.2/img_0.5.JPEG", "v1.2/img_0.5", "jpeg"),
        ("a.seg.png", "a", "seg.png"),
        ("a.1.mask.png", "a.1", "mask.png"),
        ("a.0.cls.txt", "a.0", "cls.txt"),
        ("a.label.cls", "a", "label.cls"),
        ("a.1.npy", "a.1", "npy"),
        ("photo.jpg.cls", "photo", "jpg.cls"),
        ("jpg.cls", "jpg", "cls"),
        ("README", "README", ""),
    ],
)
def test_a_key_ends_where_a_known_suffix_begins(name: str, key: str, field: str) -> None:
    assert split_name(name) == (key, field)


def test_keys_with_dots_are_read_beside_plain_ones(tmp_path: Path) -> None:
    files = {f"{key}.{kind}": b"1" for key in ("img_1", "img_0.5", "img_0.25.b", "d.x/2") for kind in ("jpg", "cls")}
    source = open_source(write(tmp_path, {"x.tar": files}))
    assert [entry.id for entry in source.entries] == [f"x.tar/{name}" for name in files if name.endswith("jpg")]
    assert told(source) == ["4 seen: 4 taken"]


def test_what_has_no_pair_is_counted_and_listed(tmp_path: Path) -> None:
    names = ("1.jpg", "1.cls", "2.cls", "0.5.jpg", "1.png", "1.seg.png", "x.bin", "._1.jpg", "__MACOSX/._1.cls")
    files = dict.fromkeys(names, b"0")
    assert told(open_source(write(tmp_path, {"x.tar": files}))) == [
        "7 seen: 1 taken",
        "  4 passed over by name: .*, .bin, .png, __MACOSX/",
        "  2 without a pair: x.tar/0.5.jpg, x.tar/2",
    ]


@pytest.mark.parametrize("name", ["@eaDir", ".ipynb_checkpoints", "lost+found"])
def test_folders_of_other_programs_in_a_tar_hold_no_images(tmp_path: Path, name: str) -> None:
    folders = ("./ant/", f"ant/{name}/", f"{name}/", f"../x/{name}/deep/")
    files = {f"{folder}1.{field}": b"0" for folder in folders for field in ("jpg", "cls")}
    source = open_source(write(tmp_path, {"x.tar": files}))
    assert [entry.id for entry in source.entries] == ["x.tar/ant/1.jpg"]
    assert told(source) == ["7 seen: 1 taken", f"  6 passed over by name: 6 x {name}/"]


LABELS: dict[str, dict[str, bytes]] = {
    "number in txt": {"1.txt": b"1\n"},
    "name in txt": {"1.txt": b"bumble bee\n"},
    "id in txt": {"1.txt": b"n2"},
    "name in cls": {"1.cls": b"bumble bee"},
    "number in JSON": {"1.json": b'{"label": 1}'},
    "name in JSON": {"1.json": b'{"label": "bumble bee"}'},
    "cls in JSON": {"1.json": b'{"id": 7, "label": null, "cls": 1}'},
    "JSON alone": {"1.json": b'"n2"'},
    "cls.txt": {"1.cls.txt": b"1", "1.txt": b"a caption"},
    "label.cls": {"1.label.cls": b"1"},
    "label": {"1.label": b"n2"},
    "a file's name with .cls": {"1.jpg.cls": b"1"},
    "cls before JSON": {"1.json": b'{"label": 0}', "1.cls": b"1"},
    "txt behind JSON about other things": {"1.json": b'{"width": 3}', "1.txt": b"1"},
}


@pytest.mark.parametrize("kind", LABELS)
def test_a_label_is_a_number_an_id_or_a_name(tmp_path: Path, kind: str) -> None:
    root = write(tmp_path, {"x.tar": {"1.jpg": b"0", **LABELS[kind]}}, None)
    (tmp_path / "words").write_text("n1 ant\nn2 bumble bee\n")
    assert [entry.label for entry in open_source(root, SourceOptions(tmp_path / "words")).entries] == [1]


def test_a_number_in_cls_is_an_index_and_in_txt_a_name_first(tmp_path: Path) -> None:
    files = {"1.jpg": b"0", "1.cls": b"10", "2.jpg": b"0", "2.txt": b"10"}
    root = write(tmp_path, {"x.tar": files}, "\n".join(sorted(map(str, range(12)))))
    assert [entry.label for entry in open_source(root).entries] == [10, 2]


def test_a_test_split_may_hold_captions_and_unknown_labels(tmp_path: Path) -> None:
    test = {"1.jpg": b"0", "1.txt": b"an ant", "2.jpg": b"0", "2.cls": b"-1", "3.jpg": b"0", "3.cls": b"1"}
    source = open_source(write(tmp_path, {"test-0.tar": test}))
    assert told(source) == ["3 seen: 1 taken", "  2 without a label: test-0.tar/1.jpg, test-0.tar/2.jpg"]


def test_links_in_a_tar_are_followed(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, kind, target in (
            ("hard.jpg", tarfile.LNKTYPE, "./d/1.jpg"),
            ("d/soft.jpg", tarfile.SYMTYPE, "../hard.jpg"),
            ("d/gone.jpg", tarfile.SYMTYPE, "/etc/hostname"),
            ("d/circle.jpg", tarfile.SYMTYPE, "circle.jpg"),
            (".hidden.jpg", tarfile.SYMTYPE, "hard.jpg"),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
        for key in ("d/1", "hard", "d/soft", "d/gone", "d/circle"):
            for name, content in ((f"{key}.cls", b"1"), (f"{key}.jpg", b"image")):
                if content == b"1" or key == "d/1":
                    info = tarfile.TarInfo(f"./{name}")
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
    source = open_source(write(tmp_path, {}))
    images = {entry.id: entry for entry in source.entries}
    for name in ("d/1.jpg", "hard.jpg", "d/soft.jpg"):
        assert source.read(images.pop(f"x.tar/{name}")) == b"image"
    for entry in images.values():
        with pytest.raises(ImageMissing, match="a link to a file that is not in the tar"):
            source.read(entry)
    assert [*images] == ["x.tar/d/gone.jpg", "x.tar/d/circle.jpg"]
    assert told(source) == ["6 seen: 5 taken", "  1 passed over by name: .*"]


def test_tars_without_names_of_classes_are_bad_input(tmp_path: Path) -> None:
    with pytest.raises(
        BadInput, match=r"give the class names with --labels FILE, or one per line in .*classes\.txt; unpack"
    ):
        open_source(write(tmp_path, {"x.tar": shard(0, 2)}, None))
