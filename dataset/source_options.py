"""SourceOptions: what the user says about a data set besides its folder."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SourceOptions:
    """What a folder may not tell by itself. With the defaults every layout is recognised by its contents."""

    names: Path | None = None  # file of class names (dataset/names_file.py)
