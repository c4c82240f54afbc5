"""dataset/ilsvrc.py: reads ILSVRC-2012's two tars and devkit without unpacking them."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
from archives import (
    SORTED,
    SYNSETS,
    TRUE_LABELS,
    WORDS,
    devkit,
    ilsvrc,
    ilsvrc_2010,
    read_by_threads,
    tar,
    training_images,
    validation_images,
)

from tencrop.common.errors import BadInput
from tencrop.dataset.account import Account
from tencrop.dataset.holdout import choose_holdout
from tencrop.dataset.layouts import open_source
from tencrop.dataset.source_options import SourceOptions
from tencrop.model.contract import Label

TRAIN, VALIDATION, DEVKIT = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz"
LABELS = tuple(Label(wnid, words) for wnid, words in zip(SORTED, WORDS, strict=True))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return ilsvrc(tmp_path / "ilsvrc")


def expected(train: bool = True, validation: bool = True) -> dict[str, tuple[int, bool | None, bytes]]:
    found: dict[str, tuple[int, bool | None, bytes]] = {}
    for wnid, images in training_images().items() if train else ():
        found |= {
            f"train/{wnid}/{name}": (SORTED.index(wnid), False if validation else None, data)
            for name, data in images.items()
        }
    for name, data in validation_images().items() if validation else ():
        found[f"val/{name}"] = (TRUE_LABELS[int(name[15:23]) - 1], True, data)
    return found


def test_every_image_is_read_as_it_was_packed_by_several_threads(root: Path) -> None:
    assert read_by_threads(open_source(root)) == expected()


def test_labels_are_positions_among_the_sorted_wnids_not_the_devkits_ids(root: Path) -> None:
    """The classic mistake: the kit fox has ILSVRC2012_ID 1 and label 1 here, the tench has ID 2 and label 0."""
    source = open_source(root)
    assert source.labels == LABELS
    assert [number for number, *_ in SYNSETS[:3]] != [SORTED.index(wnid) + 1 for _, wnid, *_ in SYNSETS[:3]]
    labels = {entry.id: entry.label for entry in source.entries}
    assert [labels[f"val/ILSVRC2012_val_{number:08d}.JPEG"] for number in range(1, 6)] == [0, 1, 2, 0, 2]


def test_own_validation_images_are_held_out_for_any_share(root: Path) -> None:
    entries = open_source(root).entries
    for share in (0.0, 0.5):
        np.testing.assert_array_equal(
            choose_holdout(entries, share), [entry.id.startswith("val/") for entry in entries]
        )


def test_without_the_training_tar_the_data_set_can_be_evaluated(root: Path) -> None:
    (root / TRAIN).unlink()
    source = open_source(root)
    assert source.labels == LABELS
    assert read_by_threads(source) == expected(train=False)
    assert choose_holdout(source.entries, 1).all()


def test_without_the_validation_tar_a_share_is_held_out(root: Path) -> None:
    (root / VALIDATION).unlink()
    source = open_source(root)
    assert read_by_threads(source) == expected(validation=False)
    assert choose_holdout(source.entries, 0.25).sum() == 3


def test_tars_are_not_unpacked_and_nothing_is_written(root: Path) -> None:
    read_by_threads(open_source(root))
    assert sorted(path.name for path in root.iterdir()) == sorted([TRAIN, VALIDATION, DEVKIT])


def test_a_labels_file_may_give_other_words(root: Path, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("n01440764 Schleie\nn02119789 Kitfuchs\nn03000684 Kettensäge\n")
    assert [label.name for label in open_source(root, SourceOptions(names=tmp_path / "words.txt")).labels] == [
        "Schleie",
        "Kitfuchs",
        "Kettensäge",
    ]


def inner(**changes: bytes) -> bytes:
    """The training tar with some of its tars changed."""
    return tar(
        {f"{wnid}.tar": tar(images) for wnid, images in training_images().items()}
        | {f"{k}.tar": v for k, v in changes.items()}
    )


MISFITS = {
    "no devkit": (DEVKIT, None, "devkit_t12.tar.gz: missing"),
    "devkit that is no tar": (DEVKIT, b"no tar", "devkit_t12.tar.gz: not a whole, uncompressed tar"),
    "half a devkit": (DEVKIT, devkit()[:400], "devkit_t12.tar.gz: "),
    "devkit of other tasks": (DEVKIT, tar({"x/readme.txt": b""}, mode="w:gz"), "holds no data/meta.mat"),
    "short ground truth": (DEVKIT, devkit(truth=(1, 2, 3)), "holds 5 images, .*ground_truth.txt is of images 1 to 3"),
    "ground truth of no class": (DEVKIT, devkit(truth=(1, 2, 3, 4, 1)), "class 4, which meta.mat does not have"),
    "ground truth of no numbers": (
        DEVKIT,
        devkit(truth=(1, 2, "x")),  # type: ignore[arg-type]
        "ground truth cannot be read",
    ),
    "meta.mat without leaves": (DEVKIT, devkit(synsets=SYNSETS[3:]), "no synset without children"),
    "validation images twice": (
        VALIDATION,
        tar([*validation_images().items(), *validation_images().items()]),
        "holds 10 images",
    ),
    "validation tar cut short": (VALIDATION, tar(validation_images())[:2000], "img_val.tar: not a whole"),
    "validation tar cut at a header": (VALIDATION, tar(validation_images())[:1536], "img_val.tar: not a whole"),
    "unknown class": (TRAIN, inner(n09999999=tar({"a.JPEG": b""})), r"n09999999.tar is no class of ILSVRC2012_devkit"),
    "class without images": (TRAIN, inner(n03000684=tar({"readme.txt": b""})), "holds no image of n03000684"),
    "class that is missing": (
        TRAIN,
        tar({"n01440764.tar": tar(training_images()["n01440764"])}),
        r"no image of n02119789 \(2 of 3",
    ),
    "class tar cut short": (
        TRAIN,
        inner(n02119789=tar(training_images()["n02119789"])[:1000]),
        "n02119789.tar: not a whole",
    ),
    "class tar that is none": (TRAIN, inner(n02119789=b"\xff" * 4000), "n02119789.tar: not a whole"),
    "training tar cut short": (TRAIN, inner()[:15000], "img_train.tar: (n.*tar: )?not a whole"),
    "empty training tar": (TRAIN, b"", "img_train.tar: not a whole"),
    "gzipped training tar": (TRAIN, tar({}, mode="w:gz"), "img_train.tar: not a whole, uncompressed"),
    "an image twice": (
        TRAIN,
        inner(n02119789=tar([("a.JPEG", b"1"), ("a.JPEG", b"2")])),
        "'train/n02119789/a.JPEG' twice",
    ),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_a_mismatch_is_one_line_of_bad_input(root: Path, misfit: str) -> None:
    name, content, message = MISFITS[misfit]
    (root / name).unlink()
    if content is not None:
        (root / name).write_bytes(content)
    with pytest.raises(BadInput, match=message):
        open_source(root)


def test_the_devkit_alone_is_bad_input(root: Path) -> None:
    (root / TRAIN).unlink()
    (root / VALIDATION).unlink()
    with pytest.raises(BadInput, match="put them beside it"):
        open_source(root)


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_folders_hidden_and_other_files_are_skipped_and_long_or_odd_names_kept(root: Path, format: int) -> None:
    long = "x" * 180 + ".JPEG"
    files = {
        "./": b"",
        ".hidden.JPEG": b"0",
        "._a.JPEG": b"0",
        "notes.txt": b"0",
        "./b.JPEG": b"1",
        long: b"2",
        "caf\udce9.JPEG": b"3",
    }
    (root / TRAIN).write_bytes(inner(n02119789=tar(files, format)))
    source = open_source(root)
    read = {entry.id: source.read(entry) for entry in source.entries if "/n02119789/" in entry.id}
    assert read == {
        "train/n02119789/b.JPEG": b"1",
        f"train/n02119789/{long}": b"2",
        "train/n02119789/caf\\xe9.JPEG": b"3",
    }


def test_listing_reports_progress(root: Path) -> None:
    heard: list[int] = []
    open_source(root, progress=heard.append)
    assert heard == [17]


def test_a_tar_that_is_cut_after_it_was_listed_is_an_os_error(root: Path) -> None:
    source = open_source(root)
    (root / VALIDATION).write_bytes(b"")
    with pytest.raises(OSError, match="shorter"):
        source.read(source.entries[-1])


def expected_2010(*parts: str) -> dict[str, tuple[int, bool | None, bytes]]:
    found: dict[str, tuple[int, bool | None, bytes]] = {}
    for wnid, images in training_images().items() if "train" in parts else ():
        for name, data in images.items():
            found[f"train/{wnid}/{name}"] = (SORTED.index(wnid), False if len(parts) > 1 else None, data)
    for part, truth in (("val", TRUE_LABELS), ("test", TRUE_LABELS[::-1])):
        for name, data in validation_images(f"ILSVRC2010_{part}").items() if part in parts else ():
            found[f"{part}/{name}"] = (truth[int(name.rpartition("_")[2][:8]) - 1], True, data)
    return found


def test_the_challenge_of_2010_is_read_with_its_validation_images(tmp_path: Path) -> None:
    source = open_source(ilsvrc_2010(tmp_path))
    assert source.labels == LABELS
    assert read_by_threads(source) == expected_2010("train", "val")
    assert Account.close(source.inventory, len(source.entries), ()).seen == 17
    assert source.inventory.groups["not_read"].names == {"ILSVRC2010_images_test.tar": 1}
    assert read_by_threads(open_source(tmp_path, training=False)) == expected_2010("val")


def test_without_its_validation_tar_the_challenge_of_2010_is_read_with_its_test_images(tmp_path: Path) -> None:
    (ilsvrc_2010(tmp_path) / "ILSVRC2010_images_val.tar").unlink()
    assert read_by_threads(open_source(tmp_path)) == expected_2010("train", "test")
    assert read_by_threads(open_source(tmp_path, training=False)) == expected_2010("test")
    (tmp_path / "ILSVRC2010_images_train.tar").unlink()
    assert read_by_threads(open_source(tmp_path)) == expected_2010("test")
    (tmp_path / "ILSVRC2010_test_ground_truth.txt").unlink()
    with pytest.raises(BadInput, match=r"test_ground_truth.txt: cannot be read .*; put it beside the images"):
        open_source(tmp_path)


def test_patches_of_2010_replace_the_images_of_their_part_and_name(tmp_path: Path) -> None:
    ilsvrc_2010(tmp_path)
    wnid, name = SORTED[0], f"{SORTED[0]}_2.JPEG"
    held = "ILSVRC2010_val_00000003.JPEG"
    patches = {
        f"train/{name}": b"a",
        f"val/{held}": b"b",
        "val/another.JPEG": b"c",
        f"test/{held}": b"d",
    }
    (tmp_path / "patch_images.tar").write_bytes(tar({f"patch_images/{key}": data for key, data in patches.items()}))
    source = open_source(tmp_path)
    replaced = {f"train/{wnid}/{name}": b"a", f"val/{held}": b"b"}
    assert read_by_threads(source) == {
        id: (label, validation, replaced.get(id, data))
        for id, (label, validation, data) in expected_2010("train", "val").items()
    }
    account = Account.close(source.inventory, len(source.entries), ())
    assert account.groups["without_pair"].names == {"patch_images.tar/val/another.JPEG": 1}


def test_the_tars_of_two_challenges_in_a_folder_are_bad_input(root: Path) -> None:
    ilsvrc_2010(root)
    with pytest.raises(BadInput, match=r"holds tars of ILSVRC2012 and of ILSVRC2010; keep each challenge in a folder"):
        open_source(root)
