"""docs/links.py: finds every link of a page but those of code, and says which lead nowhere."""

from pathlib import Path

import pytest
from support.scripts import load_script

ROOT = Path(__file__).parents[1]
links = load_script("docs/links.py")

PAGE = """# A page

See [one](a.md), [two](b%20c.md#part "with a title"), ![picture](d.png) and
[three lines
long](e.md).

`[code](no.md)` and ``[more ` code](no.md)`` are code, [`code`](f.md) is a link.

- item

  ```md
  [fenced](no.md)
  ```

~~~
[fenced](no.md)
```
[fenced](no.md)
~~~

[elsewhere](https://example.com/x.md), [mail](mailto:a@example.com), [host](//example.com), [here](#a-page)

<img alt="" src="g.png"> <a class="x" href='h.md#i'>j</a>

[label]: k.md
> [other]: <l m.md>

[space]( n.md ), [title](o.md (a title)), [angle](<p q.md>), [brackets](r(1).md), [nothing](), <img src=s.png>
"""


def write(folder: Path, **pages: str) -> Path:
    """Write pages, and return the first."""
    for name, text in pages.items():
        (folder / f"{name}.md").write_text(text, encoding="utf-8")
    return folder / f"{next(iter(pages))}.md"


def test_every_link_is_found_with_its_line_and_none_in_code(tmp_path: Path) -> None:
    found = sorted(links.find_links(write(tmp_path, page=PAGE)))
    lines = {"a.md": 3, "b%20c.md#part": 3, "d.png": 3, "e.md": 5, "f.md": 7, "#a-page": 21, "g.png": 23, "h.md#i": 23}
    last = dict.fromkeys(("n.md", "o.md", "p q.md", "r(1).md", "", "s.png"), 28)
    assert {target: line for line, target in found} == lines | {"k.md": 25, "l m.md": 26} | last
    assert len(found) == len(lines | last) + 2


@pytest.mark.parametrize(
    ("target", "fault"),
    [
        ("other.md", ""),
        ("other.md#a-part", ""),
        ("#top", ""),
        ("../page.md", "there is no such file"),
        ("absent.md", "there is no such file"),
        ("Other.md", "there is no such file"),
        ("/other.md", "there is no such file"),
        ("folder/", "a folder: name a file in it"),
        ("folder", "a folder: name a file in it"),
        ("folder/with%20space.txt", ""),
        ("folder/with%20space.txt#part", "the file has no such heading"),
        ("other.md#part", "the file has no such heading"),
        ("#a-part", "the file has no such heading"),
        ("", "the link is empty"),
    ],
)
def test_a_link_leads_to_a_file_and_a_heading(tmp_path: Path, target: str, fault: str) -> None:
    (tmp_path / "root" / "folder").mkdir(parents=True)
    (tmp_path / "root" / "folder" / "with space.txt").touch()
    (tmp_path / "page.md").touch()
    page = write(tmp_path / "root", page="# Top\n", other="# Top\n\n## A part\n")
    assert links.find_fault(page, target, page.parent) == fault


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("## Two commands", "two-commands"),
        ("## 3.1 ReLU Nonlinearity", "31-relu-nonlinearity"),
        ("# The `tencrop` file, version_2", "the-tencrop-file-version_2"),
        ("### [1.0.0] - 2026-11-29", "100---2026-11-29"),
        ("## What is served is what was *evaluated*!", "what-is-served-is-what-was-evaluated"),
        ("## A [link](to.md#x) and an ![image](i.png)", "a-link-and-an-"),
        ("## Zürich — naïve", "zürich--naïve"),
        ("## Closed ##", "closed"),
        ("## `GET /v1/models/<name>`", "get-v1modelsname"),
        ("## Raw <b>HTML</b>", "raw-html"),
    ],
    ids=str,
)
def test_anchors_are_those_of_github(heading: str, anchor: str) -> None:
    assert links.find_anchors(f"{heading}\n\ntext\n") == {anchor}


def test_equal_headings_are_counted_and_code_has_none() -> None:
    text = "# A\n\n## A\n\n```sh\n# no heading\n```\n\n## A-1\n\n## A\n\n#no heading\n\n<a id='own'></a>\n"
    assert links.find_anchors(text) == {"a", "a-1", "a-1-1", "a-2", "own"}


def test_the_pages_are_those_of_the_root_docs_deploy_and_the_records() -> None:
    pages = {str(page.relative_to(ROOT)) for page in links.find_pages()}
    assert {"README.md", "CHANGELOG.md", "docs/paper.md", "training/records/README.md"} <= pages
    assert "training/records/2026-11-24-figure1/README.md" in pages


def test_a_fault_is_one_line_and_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, README="# A\n\n[good](#a)\n[bad](b.md)\n")
    assert links.main(tmp_path) == 1
    assert capsys.readouterr().err == "README.md:4: b.md: there is no such file\n"
    write(tmp_path, b="")
    assert links.main(tmp_path) == 0
    assert capsys.readouterr().err == ""
