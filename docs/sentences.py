"""python docs/sentences.py: fails where a page at the top or in docs/ has a sentence of more than 25 words.

A piece of code is one word, and a link is its text. Headings, tables and blocks of code have no sentences.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ("*.md", "docs/*.md")
MOST = 25  # words

UNREAD = re.compile(r"^ *(`{3,}|~{3,}).*?^ *\1[`~]*$|<!--.*?-->", re.MULTILINE | re.DOTALL)  # fenced code, comments
CODE = re.compile(r"(?<!`)(`+)(?!`)(?:[^\n]|\n(?! *\n))+?(?<!`)\1(?!`)")  # within a paragraph
IMAGE_OR_TAG = re.compile(r"!\[[^\]]*\]\([^)]*\)|<[^>]+>")
LINK = re.compile(r"\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])")
ITEM = re.compile(r" *(?:[-*+]|\d+[.)]) +| *(?:> ?)+")  # begins an item of a list, or a line of a quotation
SPACE = "\0"  # inside of code, which is one word
END = re.compile(r"(?<!\.\.)[.!?][\"')\]*_]*\s+")
ABBREVIATION = re.compile(r"\b(?:e\.g|i\.e|cf|vs|al|approx|[Ff]ig|[Ss]ec|[Ee]q|No(?=\. \d)|etc(?=\.,?\s+[a-z]))\.")


def find_long_sentences(text: str, most: int = MOST) -> Iterator[tuple[int, int, str]]:
    """Find (line, number of words, sentence) of each sentence of a page that has more than `most` words."""
    for line, block in find_blocks(text):
        for sentence in split_sentences(block):
            if (words := count_words(sentence)) > most:
                yield line, words, " ".join(sentence.split()).replace(SPACE, " ")
            line += sentence.count("\n")


def find_blocks(text: str) -> Iterator[tuple[int, str]]:
    """Find (first line, text) of each paragraph and each item of a list."""
    block: list[str] = []
    is_code = False
    lines = UNREAD.sub(_lines, text).split("\n")
    for number, line in enumerate([*lines, ""], 1):
        item = ITEM.match(line)
        is_code = line.startswith("    ") and not item and (is_code or not block)  # else it continues a paragraph
        if block and (item or is_code or not line.strip() or line.lstrip()[0] in "#|"):
            yield number - len(block), "\n".join(block)
            block = []
        if line.strip() and not is_code and line.lstrip()[0] not in "#|":
            block.append(line[item.end() :] if item else line)


def split_sentences(block: str) -> Iterator[str]:
    """Split a block into sentences. A colon ends none, nor do an abbreviation's point and `...`."""
    shown = CODE.sub(lambda code: re.sub(r"\s", SPACE, code[0]) + _lines(code), block)
    shown = LINK.sub(r"\1", IMAGE_OR_TAG.sub(_lines, shown))
    points = {found.end() - 1 for found in ABBREVIATION.finditer(shown)}
    start = 0
    for end in [found for found in END.finditer(shown) if found.start() not in points]:
        yield shown[start : end.end()]
        start = end.end()
    yield shown[start:]


def count_words(sentence: str) -> int:
    """Count the words: what stands between spaces and has a letter or a digit."""
    return sum(bool(re.search(r"\w", word)) for word in sentence.split())


def _lines(found: re.Match[str]) -> str:
    return "\n" * found[0].count("\n")


def main() -> int:
    """Print each long sentence; returns the exit code."""
    pages = sorted(page for pattern in PAGES for page in ROOT.glob(pattern))
    found = [
        f"{page.relative_to(ROOT)}:{line}: {words} words: {sentence}"
        for page in pages
        for line, words, sentence in find_long_sentences(page.read_text(encoding="utf-8"))
    ]
    sys.stderr.writelines(f"{long}\n" for long in found)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
