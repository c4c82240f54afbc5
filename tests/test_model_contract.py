"""model/contract.py: the ten views, the JSON stored with the weights, and the hash in reports."""

import json
from dataclasses import replace

import pytest
import torch
from torchvision.transforms import CenterCrop, TenCrop

from tencrop.common.errors import BadInput
from tencrop.common.strict_config import dump, parse
from tencrop.model.contract import CENTER_VIEW, DECODING, FULL_DECODING, Contract, Decoding, Label, View

LABELS = (Label("n01440764", "tench"), Label("n01443537", "goldfish, Carassius auratus"), Label("ñ", "naïve 猫"))


def test_the_ten_views_are_the_2012_programs_in_its_order() -> None:
    corners = [(0, 0), (0, 32), (16, 16), (32, 0), (32, 32)]
    expected = [View(*corner, False) for corner in corners] + [View(*corner, True) for corner in corners]
    assert list(Contract().views) == expected


def test_the_center_view_is_the_unmirrored_central_crop() -> None:
    assert Contract().views[CENTER_VIEW] == View(16, 16, False)


def test_an_odd_margin_puts_the_center_at_its_floor() -> None:
    views = Contract(resize=257, crop=224).views
    assert views[CENTER_VIEW] == View(16, 16, False)
    assert views[4] == View(33, 33, False)


@pytest.mark.parametrize(("resize", "crop"), [(183, 160), (37, 32), (256, 224), (227, 224)])
def test_half_even_views_are_those_of_torchvision(resize: int, crop: int) -> None:
    places = torch.arange(resize * resize).reshape(1, resize, resize)
    cut = [places[0, v.top : v.top + crop, v.left : v.left + crop] for v in half_even(resize, crop).views]
    views = [part.flip(-1) if v.mirrored else part for part, v in zip(cut, half_even(resize, crop).views, strict=True)]
    by_corner = [view[0, 0].item() for view in views]
    assert sorted(by_corner) == sorted(view[0, 0, 0].item() for view in TenCrop(crop)(places))
    assert by_corner[CENTER_VIEW] == CenterCrop(crop)(places)[0, 0, 0].item()


def half_even(resize: int, crop: int) -> Contract:
    return Contract(resize=resize, crop=crop, center_rounding="half_even")


def test_defaults_are_those_of_section_two() -> None:
    contract = Contract()
    assert (contract.resize, contract.crop, contract.filter, contract.channels) == (256, 224, "bilinear", "rgb")


def test_round_trip_keeps_everything() -> None:
    contract = Contract(resize=200, crop=180, labels=LABELS)
    assert parse(Contract, json.loads(json.dumps(dump(contract))), "x") == contract


def test_order_of_the_keys_changes_no_hash() -> None:
    contract = Contract(labels=LABELS)
    shuffled = dict(reversed(list(dump(contract).items())))
    assert parse(Contract, shuffled, "x").sha256 == contract.sha256


def test_two_labels_of_one_id_are_bad_input() -> None:
    """ILSVRC has two classes called crane. Where ids are words, an image could be of either."""
    cranes = (Label("crane", "a bird"), Label("crane", "a machine"))
    with pytest.raises(BadInput, match=r"^two classes have the id 'crane'; rename one$"):
        Contract(labels=cranes)
    with pytest.raises(BadInput, match=r"^file: two classes have the id 'crane'; rename one$"):
        parse(Contract, {"labels": [dump(crane) for crane in cranes]}, "file")


def test_labels_keep_their_order() -> None:
    assert dump(Contract(labels=LABELS))["labels"] == [{"id": label.id, "name": label.name} for label in LABELS]


@pytest.mark.parametrize(
    "change",
    [
        {"labels": LABELS[:2]},
        {"labels": (LABELS[1], LABELS[0], LABELS[2])},
        {"labels": (Label("n01440764", "Tench"), *LABELS[1:])},
        {"labels": (Label("n01440765", "tench"), *LABELS[1:])},
        {"resize": 257},
        {"crop": 223},
        {"decode": DECODING},
        {"filter": "bicubic"},
        {"center_rounding": "half_even"},
        {"decode": Decoding(icc_profile="srgb")},
    ],
)
def test_the_hash_changes_with_anything_in_the_contract(change: dict[str, object]) -> None:
    contract = Contract(labels=LABELS)
    assert replace(contract, **change).sha256 != contract.sha256  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("decoding", "digest"),
    [(FULL_DECODING, "5cdf6c40fa981900"), (Decoding(jpeg_scale_from=1024), "6cd2a302d64f1894")],
    ids=["0.1", "0.2"],
)
def test_contracts_of_older_versions_keep_their_hashes(decoding: Decoding, digest: str) -> None:
    assert Contract(labels=(Label("a", "A"),), decode=decoding).sha256.startswith(digest)


def test_equal_contracts_have_equal_hashes() -> None:
    again = Contract(labels=tuple(Label(label.id, label.name) for label in LABELS))
    assert Contract(labels=LABELS).sha256 == again.sha256


@pytest.mark.parametrize(
    "document",
    [
        {"resize": "256"},
        {"resize": 256.5},
        {"filter": "nearest"},
        {"center_rounding": "up"},
        {"channels": "bgr"},
        {"labels": ["tench"]},
        {"labels": [{"id": "a"}]},
        {"resize": 256, "colour": "rgb"},
        [],
        None,
    ],
)
def test_a_document_that_is_no_contract_is_bad_input_naming_the_source(document: object) -> None:
    with pytest.raises(BadInput, match=r"somewhere\.onnx"):
        parse(Contract, document, "somewhere.onnx")


def test_an_unknown_key_is_named() -> None:
    with pytest.raises(BadInput, match="colour"):
        parse(Contract, {"colour": "rgb"}, "x")
