"""python docs/build_site.py [OUT]: builds the documentation as a static site, by default in site/.

A page has the same place in the site as in the repository, so that every link leads there as it leads on a forge.
"""

import logging
import sys
import tempfile
from pathlib import Path
from urllib.parse import unquote

from links import ROOT, find_links, find_pages
from mkdocs.commands.build import build
from mkdocs.config import load_config


def link_pages(folder: Path) -> None:
    """Link every page, and every file that a page leads to, at its own place below the folder."""
    pages = find_pages()
    names = ((page, unquote(target.partition("#")[0])) for page in pages for _, target in find_links(page))
    for path in {*pages, *((page.parent / name).resolve() for page, name in names if name)}:
        link = folder / path.relative_to(ROOT)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)


def main(out: Path = ROOT / "site") -> None:
    """Build the site. A link that leads nowhere and a page that the navigation lacks are errors."""
    with tempfile.TemporaryDirectory() as folder:
        link_pages(Path(folder))
        build(load_config(str(ROOT / "mkdocs.yml"), docs_dir=folder, site_dir=str(out), strict=True))


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")  # each warning of mkdocs is a fault
    main(*map(Path, sys.argv[1:]))
