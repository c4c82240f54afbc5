"""SourceOptions: what the user says about a data set besides its folder."""

from dataclasses import dataclass, fields
from pathlib import Path

from tencrop.common.errors import BadInput


@dataclass(frozen=True)
class SourceOptions:
    """The options for what a folder may not tell by itself. By default its contents alone decide."""

    names: Path | None = None  # file of class names (dataset/names_file.py), which every layout reads
    list: Path | None = None  # file of paths and labels (dataset/list_file.py)
    config: str | None = None  # one of several configurations in the folder
    image_root: Path | None = None  # folder of the image files that rows name
    image_column: str | None = None
    label_column: str | None = None

    def check_read(self, root: Path, layout: str, *read: str) -> None:
        """Check that a layout reads every option that is given: none is ignored in silence.

        `layout` is what the folder `root` holds, in words; `read` are the fields that are read there beside `names`.
        Raises BadInput.
        """
        for field in fields(self):
            if field.name not in ("names", *read) and getattr(self, field.name) is not None:
                option = field.name.replace("_", "-")
                raise BadInput(f"--{option}: does not apply to {root}, which holds {layout}", "leave the option out")
