"""docs/sentences.py: splits pages into sentences and counts their words as a reader would."""

import pytest
from support.scripts import load_script

script = load_script("docs/sentences.py")


def sentences(text: str) -> list[str]:
    """Every sentence of a page."""
    return [sentence for _, _, sentence in script.find_long_sentences(text, 0)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two? Three! Four", ["One.", "Two?", "Three!", "Four"]),
        ("It takes 0.94 s. bf16 takes 1.5 to 2.0 x.", ["It takes 0.94 s.", "bf16 takes 1.5 to 2.0 x."]),
        ("It stays below 0.87 of L. With 4 it does not.", ["It stays below 0.87 of L.", "With 4 it does not."]),
        ("The limit is 25. 26 is too much.", ["The limit is 25.", "26 is too much."]),
        ("Use one, e.g. the first (cf. No. 5, Fig. 2, etc. as here).", None),
        ("Use a, b etc. Then stop.", ["Use a, b etc.", "Then stop."]),
        ("The answer is no. Then it ends.", ["The answer is no.", "Then it ends."]),
        ("See docs/paper.md. It is long.", ["See docs/paper.md.", "It is long."]),
        ("Import `tencrop.x`. `a. b` is code.", ["Import `tencrop.x`.", "`a. b` is code."]),
        ("**Both learn.** Net 145 is first.", ["**Both learn.**", "Net 145 is first."]),
        ('They say "over 1%." It is more. (By hand.) End', ['They say "over 1%."', "It is more.", "(By hand.)", "End"]),
        ("One of a, b, ... and so on: it goes on; and on", None),
        ("See [the page. Yes](a.md#b.c) there", ["See the page.", "Yes there"]),
        ("Two lines\nmake one. Two", ["Two lines make one.", "Two"]),
        ("A paragraph\n\nand another", ["A paragraph", "and another"]),
        ("- one\n- two\n  lines\n\n  and more", ["one", "two lines", "and more"]),
        ("* one\n1. two\n2) three\n  + four", ["one", "two", "three", "four"]),
        ("> quoted\n> twice", ["quoted", "twice"]),
        ("# A heading. Two\ntext\n## Another", ["text"]),
        ("| a. b | c |\n|---|---|\n| d. | e |\n\ntext", ["text"]),
        ("```sh\necho one. two\n```\ntext\n~~~\ncode\n```\ncode\n~~~\nmore", ["text", "more"]),
        ("text:\n\n    code of two. lines\n\n    # code\n\nmore", ["text:", "more"]),
        ("- item\n    goes on", ["item goes on"]),
        ("<!-- a note. -->![A picture. Two](a.png) text <b>bold</b>", ["text bold"]),
    ],
)
def test_a_page_is_split_as_it_is_read(text: str, expected: list[str] | None) -> None:
    assert sentences(text) == (expected or [text])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The error is 23.42 % / 10.34 % (two kinds).", 7),
        ("Run `curl -F image=@photo.jpg localhost:8000/v1/predict` now.", 3),
        ("See [the long page](serve.md#a b) - or not.", 6),
        ("ten-crop evaluation of x +- y", 5),
        ("`a\nb` c", 2),
    ],
)
def test_words_are_counted_with_code_as_one(text: str, words: int) -> None:
    assert [number for _, number, _ in script.find_long_sentences(text, 0)] == [words]


def test_a_sentence_of_25_words_passes_and_one_of_26_is_named_with_its_line() -> None:
    text = f"# Page\n\nShort `a\nb` ![c\nd](e.png) one. {'word ' * 24}end.\nShort. {'word ' * 25}end. Short.\n"
    assert list(script.find_long_sentences(text)) == [(6, 26, "word " * 25 + "end.")]
