"""Label maps on disk as answers: of any program, or of a person.

A label map belongs to the picture of its name. Its values mean what they mean in the truth, unless
the folder holds a list of names of its own, or `escnet segment` wrote a JSON file beside the label
map: then the names decide. Pixels of no class count as wrong wherever the truth has one.

Sizes: H x W pixels, N classes.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Integer, UInt

from escnet.data.conventions import BACKGROUND_LABEL, IGNORED, UNKNOWN_LABEL, Conventions, Labelling
from escnet.data.image import image_size_hw
from escnet.data.label_map import check_same_size, read_coloured_map, read_label_map
from escnet.data.label_table import LabelTable, Row, find_table
from escnet.data.labelled_picture import LabelledPicture
from escnet.data.pairing import label_maps_below, paired
from escnet.errors import DatasetError
from escnet.evaluation.result import ModelUsed
from escnet.evaluation.target import EvalTarget
from escnet.files import display_path
from escnet.small_file import SmallFile
from escnet.vocabulary import Vocabulary

_OWN_ENDING = ".labels"  # of the label maps that `escnet segment` writes
_RESULT = SmallFile(noun="", error=DatasetError, cure="delete it, or segment the picture again")


class PredictedFolder:
    """A folder of label maps, paired with the pictures of some targets.

    Args:
        folder: The folder; folders in it are looked into.
        targets: All that is scored.
        limit: How many of each target's pictures are.
        may_lack: Whether a picture without prediction is none of an error here.

    Raises:
        DatasetError: If it lacks the label map of a picture, holds one of no picture, or has a
            list of names that are not the targets'.
    """

    def __init__(
        self,
        folder: Path,
        targets: Sequence[EvalTarget],
        *,
        limit: int | None = None,
        may_lack: bool = False,
    ) -> None:
        self.folder = folder
        self._table = find_table((folder,))
        self._files = _paired(folder, targets)
        wanted = [item for target in targets for item in target.items[:limit]]
        lacking = [item.stem for item in wanted if item.stem not in self._files]
        if lacking and (not may_lack or len(lacking) == len(wanted)):
            raise DatasetError(
                f"{display_path(folder)} lacks the label maps of {len(lacking)} of {len(wanted)} "
                f"pictures, the first is {lacking[0]}: add them, or leave these out with --skip-bad"
            )
        for target in targets:
            if self._table is not None:
                _codes_of(self._table, target)  # refuses names that the target lacks

    @property
    def values(self) -> str:
        """What decides about the classes of its label maps' values."""
        if self._table is not None:
            return f"names by {Path(self._table.shown).name}"
        return (
            "as in the truth's label maps (where it has none, a value is the place of a class in "
            "its list, from 0), or by the names that escnet segment wrote"
        )

    def model_of(self, target: EvalTarget) -> ModelUsed:
        """What a result tells of where its predictions came from."""
        digest = sha256()
        for item in target.items:
            if (path := self._files.get(item.stem)) is not None:
                digest.update(f"{item.stem} {sha256(_content(path)).hexdigest()} ".encode())
        return ModelUsed(
            name=self.folder.resolve().name,
            method="label maps on disk",
            weights_hash=digest.hexdigest(),
            settings={"values": self.values},
        )

    def predict(self, target: EvalTarget) -> "FolderPredictor":
        """What answers for a target's pictures."""
        return FolderPredictor(self, target)

    def labels_of(self, target: EvalTarget, item: LabelledPicture) -> Integer[np.ndarray, "H W"]:
        """The class of every pixel of a picture; N where it has none.

        Raises:
            DatasetError: If there is no label map, it cannot be read or used, or is of another
                size than the picture.
        """
        path = self._files.get(item.stem)
        if path is None:
            raise DatasetError(
                f"{display_path(self.folder)} has no label map of {item.stem}: add it"
            )
        shown = f"prediction {display_path(path)}"
        table = self._table or _own_names(path)
        if table is None:
            labels = target.read_labels(path).astype(np.int64)
        else:
            labels = _by_names(path, table, target, shown)
        check_same_size(shown, labels.shape, image_size_hw(item.image_path))
        num_classes = len(target.classes)
        return np.where((labels >= 0) & (labels < num_classes), labels, num_classes)


class FolderPredictor:
    """Gives the label maps on disk where an evaluation asks a model."""

    def __init__(self, folder: PredictedFolder, target: EvalTarget) -> None:
        self._folder, self._target = folder, target

    def __call__(self, item: LabelledPicture, vocabulary: Vocabulary) -> UInt[np.ndarray, "H W"]:
        del vocabulary  # nothing is asked: the answers are there
        return self._folder.labels_of(self._target, item).astype(np.uint16)


def _paired(folder: Path, targets: Sequence[EvalTarget]) -> dict[str, Path]:
    """The label map of each picture's stem.

    Raises:
        DatasetError: If one is of no picture.
    """
    files = label_maps_below(folder)
    own = {key: path for key, path in files.items() if key.endswith(_OWN_ENDING)}
    files = own or files  # beside the overlays and confidences of a folder job
    pictures = {item.stem: item.image_path for target in targets for item in target.items}
    pairs, alone = paired(pictures, files)
    if alone and not pairs:  # pictures in folders within folders, label maps in one
        by_name = {stem.rpartition("/")[2]: stem for stem in pictures}
        if len(by_name) == len(pictures):
            paths, alone = paired({name: pictures[by_name[name]] for name in by_name}, files)
            pairs = {by_name[name]: path for name, path in paths.items()}
    if alone:
        raise DatasetError(
            f"{display_path(folder)} holds {len(alone)} label maps of no picture, the first is "
            f"{alone[0]}: name them like the pictures, or move them away"
        )
    return pairs


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(
            f"prediction {display_path(path)} cannot be read ({error.strerror}): check it"
        ) from None


def _own_names(path: Path) -> LabelTable | None:
    """The names that `escnet segment` wrote beside its label map; None if there are none."""
    if not path.stem.endswith(_OWN_ENDING):
        return None
    beside = path.with_name(f"{path.stem.removesuffix(_OWN_ENDING)}.json")
    if not beside.is_file():
        return None
    content: Mapping[str, Any] = _RESULT.object_of(beside)
    try:
        rows = tuple(Row(str(entry["name"]), int(entry["index"])) for entry in content["names"])
    except (KeyError, TypeError, ValueError):
        raise DatasetError(
            f"{display_path(beside)} is no result of escnet segment: delete it, or segment again"
        ) from None
    return LabelTable(rows, display_path(beside))


def _by_names(
    path: Path, table: LabelTable, target: EvalTarget, shown: str
) -> Integer[np.ndarray, "H W"]:
    """The labels whose names the predictions' own list gives; N and above are none."""
    if table.has_colours:
        raw = read_coloured_map(path, table.by_colour(), table_shown=table.shown)
    else:
        raw = read_label_map(path)
    codes = _codes_of(table, target)
    labels = codes[raw]
    if (labels == UNKNOWN_LABEL).any():
        value = raw[labels == UNKNOWN_LABEL][0]
        raise DatasetError(f"{shown} holds label {value}, which {table.shown} lacks: add it there")
    return labels


def _codes_of(table: LabelTable, target: EvalTarget) -> Integer[np.ndarray, " 65536"]:
    """For each value the target's class of that name, or a code of `conventions`."""
    last = {"zero_is": "first"}
    usual = {255: IGNORED, 254: BACKGROUND_LABEL, 65_535: IGNORED}
    labelling = Labelling(table, Conventions.declared(**last), usual)
    place = {name.casefold(): index for index, name in enumerate(target.classes)}
    labels = labelling.codes.copy()
    missing = []
    for index, name in enumerate(labelling.classes):
        own = place.get(name.casefold())
        if own is None and not Row(name).is_rest:
            missing.append(name)
        labels[labelling.codes == index] = IGNORED if own is None else own
    if missing:
        raise DatasetError(
            f"{table.shown} has {len(missing)} names that {target.name} lacks, the first is "
            f"{missing[0]!r}: call the classes alike"
        )
    return labels
