"""Characters that act on a terminal are escaped; JSON stays readable by every parser and says the same."""

import json
import logging
import sys

import pytest

from tencrop.common.terminal_text import EscapingFormatter, dump_json, escape_lines, escape_text

HOSTILE = {
    "\x1b[2J": r"\x1b[2J",
    "a\nb\r": r"a\nb\r",
    "\x7f\x9b31m\x85": r"\x7f\x9b31m\x85",
    "\u202egpj.exe\u2066": r"\u202egpj.exe\u2066",
    "\u2028\u2029\ufeff\u200b": r"\u2028\u2029\ufeff\u200b",
    "\udcff": r"\udcff",
    "\U000e0041": r"\U000e0041",
}
HARMLESS = ["", "plain", "grüße 写真 \U0001f469\u200d\U0001f4bb", "C:\\images\\new", "a\u3000b"]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_is_escaped(text: str) -> None:
    assert escape_text(f"x{text}y") == f"x{HOSTILE[text]}y"


@pytest.mark.parametrize("text", HARMLESS)
def test_a_harmless_text_stays(text: str) -> None:
    assert escape_text(text) == escape_lines(text) == text


def test_lines_stay_lines() -> None:
    assert escape_lines("a\x1b\nb\u202e") == "a\\x1b\nb\\u202e"


@pytest.mark.parametrize("indent", [None, 1])
def test_json_keeps_every_character_and_is_printable(indent: int | None) -> None:
    characters = " ".join(map(chr, range(sys.maxunicode + 1)))
    value = {"all": [characters], characters: None}
    text = dump_json(value, indent)
    assert json.loads(text.encode()) == value  # valid UTF-8, surrogates too
    assert escape_lines(text) == text and (indent or "\n" not in text)


def test_a_logged_message_is_one_line() -> None:
    record = logging.makeLogRecord({"msg": "%s: bad", "args": ("a\nb\x1b",)})
    assert EscapingFormatter().format(record) == "a\\nb\\x1b: bad"
