"""A picture with its truth: the one type that everything labelled is handed around as.

Sizes: H x W pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Integer

from escnet.data.label_map import read_label_map
from escnet.files import display_path

ReadLabels = Callable[[Path], Integer[np.ndarray, "H W"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledPicture:
    """One picture with its truth, neither of them opened yet.

    Attributes:
        stem: Its name, unique among the pictures that it comes with.
        image_path: The picture.
        label_path: The file that holds its truth; one file may hold that of many pictures.
        source: The part of a data set that it belongs to; a data set of one kind has one source.
        read: From the file to the picture's label map, in the labels of the picture's data set.
    """

    stem: str
    image_path: Path
    label_path: Path
    source: str = ""
    read: ReadLabels = field(default=read_label_map, compare=False, repr=False)

    def read_truth(self) -> Integer[np.ndarray, "H W"]:
        """The label of every pixel.

        Raises:
            DatasetError: If the file cannot be read, or holds a label of no meaning.
        """
        return self.read(self.label_path)

    @property
    def truth_name(self) -> str:
        """What messages call the truth."""
        return f"label map {display_path(self.label_path)}"
