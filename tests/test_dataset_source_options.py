"""dataset/source_options.py: an option that the layout does not read is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from archives import jpeg

from tencrop.common.errors import BadInput
from tencrop.dataset.layouts import open_source
from tencrop.dataset.source_options import SourceOptions

OPTIONS: list[tuple[str, Any]] = [
    ("config", "x"),
    ("image_root", Path("x")),
    ("image_column", "x"),
    ("label_column", "x"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ant").mkdir()
    (tmp_path / "ant" / "1.jpg").write_bytes(jpeg(1))
    return tmp_path


@pytest.mark.parametrize(("name", "value"), OPTIONS)
def test_class_folders_read_no_option_of_parquet_files(folder: Path, name: str, value: Any) -> None:
    option = name.replace("_", "-")
    with pytest.raises(BadInput, match=rf"^--{option}: does not apply to .* no parquet or Arrow files; leave "):
        open_source(folder, replace(SourceOptions(), **{name: value}))


@pytest.mark.parametrize(("name", "value"), OPTIONS)
def test_an_option_that_the_layout_reads_is_accepted(folder: Path, name: str, value: Any) -> None:
    replace(SourceOptions(Path("names.txt")), **{name: value}).check_read(folder, "parquet files", name)
