"""Opens the templates of the reports' pages, which escape whatever they are given."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jinja2


@cache
def open_template(file: Path) -> "jinja2.Template":
    """Open the template in this file. A name that it uses and is not given is an error."""
    import jinja2  # takes 0.1 s, which a server shall not spend when it starts

    pages = jinja2.Environment(
        loader=jinja2.FileSystemLoader(file.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return pages.get_template(file.name)
