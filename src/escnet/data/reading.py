"""One way in which pictures with label maps lie on disk, as a finder found it.

The truth of its pictures is raw: the values of the files, whose meaning is the list of names' and
the conventions'.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from escnet.data.conventions import IGNORED, Conventions
from escnet.data.label_table import LabelTable, find_table
from escnet.data.labelled_picture import LabelledPicture, ReadLabels


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderOptions:
    """What is said about a folder beside its path.

    Attributes:
        layout: The reading that is meant, where a folder allows several.
        split: The part that is meant, such as "val", where it has several.
        class_file: The list of class names, where it is not beside the label maps.
        conventions: What the values of its label maps mean.
    """

    layout: str | None = None
    split: str | None = None
    class_file: Path | None = None
    conventions: Conventions = Conventions()  # noqa: RUF009 -- frozen


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a finder found.

    Attributes:
        layout: Its name, as `FolderOptions.layout` takes it.
        said: What it is, for one line.
        pictures: With raw truth.
        table: The names; None if there is no list.
        usual: What values are that no class has.
        read_others: What reads a label map that is not the truth, in class indices; None where it
            is read like the truth.
        without_truth: Pictures that have none, and are left out.
        split: The part that was read, where the folder has parts.
    """

    layout: str
    said: str
    pictures: tuple[LabelledPicture, ...]
    table: LabelTable | None
    usual: Mapping[int, int] = field(default_factory=lambda: {255: IGNORED})
    read_others: ReadLabels | None = None
    without_truth: int = 0
    split: str | None = None


def table_of(options: FolderOptions, *folders: Path) -> LabelTable | None:
    """The list of names that is given, or else beside the label maps.

    Raises:
        DatasetError: If it cannot be read, or two differ.
    """
    if options.class_file is not None:
        return LabelTable.read(options.class_file)
    return find_table(folders)
