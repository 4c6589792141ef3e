"""What makes one doubt that label maps mean what their owner thinks.

None of it is an error: a folder may really be so. Each doubt is one line with its numbers.

Sizes: H x W pixels.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Integer

from escnet.data.classes_json import SourceLabels
from escnet.data.folder import FolderDataset
from escnet.data.image import orientation_of
from escnet.data.label_table import Row
from escnet.data.labelled_picture import LabelledPicture
from escnet.errors import EscnetError

_MOST_NAMED = 5
_MOST_IGNORED = 0.5  # share of the pixels
_NARROW = 3  # pixels
_FEWEST_BETWEEN = 20  # narrow runs between two labels, below which nothing is said
_MOST_BETWEEN = 0.3  # share of such runs among the steps from one label to another
_SAME_SIZE_TURNED = {2, 3, 4}  # EXIF orientations that keep height and width


class Doubts:
    """Looks at the truth of one source, picture by picture.

    Args:
        labels: What its label maps mean.
        ignore_index: The label of pixels that nobody labelled.
        background_index: The label of pixels of none of the classes.
    """

    def __init__(self, labels: SourceLabels, ignore_index: int, background_index: int) -> None:
        self._classes = classes = labels.classes
        self._annotated = [classes[index] for index in labels.annotated]
        self._ignore_index, self._background_index = ignore_index, background_index
        self._num_shown = np.zeros(len(classes), np.int64)  # pictures with the class
        self._num_pixels = np.zeros(len(classes), np.int64)
        self._num_ignored = self._num_all = self._num_pictures = 0
        self._between: list[str] = []
        self._turned: list[tuple[str, int]] = []

    def look_at(self, item: LabelledPicture, labels: Integer[np.ndarray, "H W"]) -> None:
        """Take note of a picture's truth."""
        counts = np.bincount(labels.ravel(), minlength=len(self._classes))
        self._num_pixels += counts[: len(self._classes)]
        self._num_shown += counts[: len(self._classes)] > 0
        self._num_ignored += int((labels == self._ignore_index).sum())
        self._num_all += labels.size
        self._num_pictures += 1
        if _has_values_between(labels, (self._ignore_index, self._background_index)):
            self._between.append(item.stem)
        orientation = orientation_of(item.image_path)
        if orientation in _SAME_SIZE_TURNED or (
            orientation > 4 and labels.shape[0] == labels.shape[1]
        ):
            self._turned.append((item.stem, orientation))

    @property
    def counts(self) -> list[tuple[str, int, int]]:
        """Each class with the pictures that show it, and its pixels in them."""
        rows = zip(self._classes, self._num_shown, self._num_pixels, strict=True)
        return [(name, int(pictures), int(pixels)) for name, pictures, pixels in rows]

    def lines(self, *, is_whole: bool = True) -> list[str]:
        """The doubts.

        Args:
            is_whole: Whether all pictures were looked at: else a class may be in the others.
        """
        if not self._num_pictures:
            return []
        doubts = self._about_ignored(is_whole)
        if self._between:
            doubts.append(
                f"{self._of_pictures(self._between)} values that lie between those beside them: "
                "they were resized with smoothing or saved as JPEG; make them again, with nearest "
                "neighbours and as PNG"
            )
        if self._turned:
            stem, orientation = self._turned[0]
            doubts.append(
                f"{len(self._turned)} of {self._num_pictures} pictures have an EXIF orientation "
                f"that their label map's size cannot confirm (first: {stem}, orientation "
                f"{orientation}): label maps must lie on the picture as displayed"
            )
        doubts += [
            f"class {index} is called {name!r} and is scored like any other: if its pixels are to "
            f"count nowhere, add --ignore {index}"
            for index, name in enumerate(self._classes)
            if Row(name).is_rest and name.strip(" _").casefold() != "background"
        ]
        return doubts

    def _about_ignored(self, is_whole: bool) -> list[str]:
        share = self._num_ignored / self._num_all
        ignored = f"{100 * share:.3g} % of the pixels are ignored"
        shown = {name for name, pictures, _ in self.counts if pictures}
        absent = [name for name in self._annotated if name not in shown] if is_whole else []
        if share > 0 and len(shown) <= 1 and len(self._classes) <= 2:
            value, name = self._ignore_index, (absent or self._annotated)[-1]
            nowhere = f" and no label map shows {absent[0]}" if absent else ""
            return [
                f"{ignored} ({value}){nowhere}: is {value} the foreground? Then say so with "
                f'--id-map FILE, of lines such as "0: background" and "{value}: {name}"'
            ]
        doubts = []
        if share > _MOST_IGNORED:
            doubts.append(f"{ignored}: is the ignored value right?")
        if absent:
            named = ", ".join(absent[:_MOST_NAMED]) + (", ..." if len(absent) > _MOST_NAMED else "")
            doubts.append(
                f"{len(absent)} of {len(self._annotated)} classes are in no label map: {named}"
            )
        return doubts

    def _of_pictures(self, stems: Sequence[str]) -> str:
        return f"{len(stems)} of {self._num_pictures} label maps have (first: {stems[0]})"


def doubts_about(dataset: FolderDataset, most: int) -> list[str]:
    """The doubts about a folder's truth, with the source's name where it has several.

    Pictures that cannot be read are left out here: whoever uses them says what is wrong.

    Args:
        dataset: The folder.
        most: Pictures of each source that are looked at, evenly spread.
    """
    all_lines = []
    for source in dataset.sources:
        items = [item for item in dataset if item.source == source]
        chosen = _spread(items, most)
        doubts = doubts_of_source(dataset, source)
        for item in chosen:
            try:
                doubts.look_at(item, item.read_truth())
            except EscnetError:
                continue
        lines = doubts.lines(is_whole=len(chosen) == len(items))
        prefix = f"{source}: " if len(dataset.sources) > 1 else ""
        all_lines += [f"{prefix}{line}" for line in lines]
    return all_lines


def doubts_of_source(dataset: FolderDataset, source: str) -> Doubts:
    """Nothing looked at yet, of a source."""
    return Doubts(dataset.source(source), dataset.ignore_index, dataset.background_index)


def _spread(items: Sequence[LabelledPicture], most: int) -> Sequence[LabelledPicture]:
    if len(items) <= most:
        return items
    return [items[index] for index in np.linspace(0, len(items) - 1, most).round().astype(int)]


def _has_values_between(labels: Integer[np.ndarray, "H W"], special: Iterable[int]) -> bool:
    """Whether outlines often are narrow runs of a label that is between those on both sides.

    Smoothing and JPEG leave such runs; hardly anything else does.
    """
    values = labels.astype(np.int32)
    values[np.isin(values, list(special))] = -1  # no step from or to a class
    outlines = between = 0
    for lines in (values, values.T):
        row = np.pad(lines, ((0, 0), (0, 1)), constant_values=-1).ravel()
        starts = np.flatnonzero(np.diff(row, prepend=-2))
        run, length = row[starts], np.diff(starts, append=row.size)
        left, here, right = run[:-2], run[1:-1], run[2:]
        is_between = ((left < here) & (here < right)) | ((left > here) & (here > right))
        is_between &= (length[1:-1] <= _NARROW) & (np.minimum(left, right) >= 0)
        between += int(is_between.sum())
        outlines += int(((run[:-1] >= 0) & (run[1:] >= 0)).sum())
    return between >= _FEWEST_BETWEEN and between > _MOST_BETWEEN * outlines
