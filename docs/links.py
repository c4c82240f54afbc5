"""python docs/links.py: fails where a link of the documentation leads to no file or heading of this repository.

Links to other hosts are not followed.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).parents[1]
PAGES = ("*.md", "docs/*.md", "deploy/*.md", "training/records/**/*.md")
FENCED = re.compile(r"^ *(`{3,}|~{3,}).*?^ *\1[`~]*$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(?<!`)(`+)(?!`)(?:[^\n]|\n(?! *\n))+?(?<!`)\1(?!`)")  # within a paragraph
TARGETS = (
    re.compile(r"\]\(\s*((?:[^\s()<]|\([^\s()]*\))*)(?:\s[^)]*)?\)"),  # [text](target "title"), an image with ! before
    re.compile(r"\]\(\s*<([^<>\n]*)>"),  # [text](<a target>)
    re.compile(r"^[ >]*\[[^\]]+\]:\s*([^\s<]+)", re.MULTILINE),  # [label]: target
    re.compile(r"^[ >]*\[[^\]]+\]:\s*<([^<>\n]*)>", re.MULTILINE),  # [label]: <a target>
    re.compile(r"<\w[^>]*\b(?:href|src|srcset)=[\"']?([^\"'\s>]+)"),  # HTML
)


def find_pages(root: Path = ROOT) -> list[Path]:
    """Find the pages whose links are checked."""
    return sorted(page for pattern in PAGES for page in root.glob(pattern))


def find_links(page: Path) -> Iterator[tuple[int, str]]:
    """Find (line, target) of each link and image that does not lead to another host. Code has no links."""
    text = _blank(CODE, _blank(FENCED, page.read_text(encoding="utf-8")))
    for pattern in TARGETS:
        for found in pattern.finditer(text):
            if not re.match(r"[a-z][a-z\d+.-]*:|//", found[1]):
                yield text.count("\n", 0, found.start(1)) + 1, found[1]


def find_fault(page: Path, target: str, root: Path = ROOT) -> str:
    """Say why a link of the page leads nowhere; empty where it leads to a file and, after a #, to a heading of it."""
    if not target:
        return "the link is empty"
    name, _, anchor = target.partition("#")
    path = (page.parent / unquote(name)).resolve() if name else page
    if not path.is_relative_to(root.resolve()) or not path.exists():
        return "there is no such file"
    if path.is_dir():
        return "a folder: name a file in it"  # the site has no listings
    if anchor and (path.suffix != ".md" or unquote(anchor) not in find_anchors(path.read_text(encoding="utf-8"))):
        return "the file has no such heading"
    return ""


def find_anchors(text: str) -> set[str]:
    """Find the anchors of a page: GitHub's of its headings, and those that are written as HTML."""
    anchors, uses = set(re.findall(r"<[^>]*\b(?:id|name)=[\"']([^\"']+)", text)), Counter[str]()
    for heading in re.findall(r"^ {0,3}#{1,6} +(.+?)(?: +#+)? *$", _blank(FENCED, text), re.MULTILINE):
        slug = anchor = slugify(heading)
        while anchor in uses:  # a heading that is there already
            uses[slug] += 1
            anchor = f"{slug}-{uses[slug]}"
        uses[anchor] = 0
    return anchors | uses.keys()


def slugify(heading: str) -> str:
    """Turn a heading into its anchor by GitHub's rules (github-slugger)."""
    shown = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", lambda link: "" if link[0][0] == "!" else link[1], heading)
    shown = re.sub(r"`[^`]*`|<[^>]+>", lambda part: part[0] if part[0][0] == "`" else "", shown)
    return re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")


def _blank(pattern: re.Pattern[str], text: str) -> str:
    """Remove what the pattern finds, and keep the number of lines."""
    return pattern.sub(lambda found: "\n" * found[0].count("\n"), text)


def main(root: Path = ROOT) -> int:
    """Print each link that leads nowhere; returns the exit code."""
    faults = [
        f"{page.relative_to(root)}:{line}: {target}: {fault}"
        for page in find_pages(root)
        for line, target in find_links(page)
        if (fault := find_fault(page, target, root))
    ]
    sys.stderr.writelines(f"{fault}\n" for fault in faults)
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
