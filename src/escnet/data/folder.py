"""Pictures with label maps in a folder, whatever tool wrote it, as one type.

The folder's layout is recognised by what is in it (`recognition.py`). However its files hold the
labels, its pictures give them as class indices: 255 where nobody labelled, and 254 where none of
the classes is; both are larger in a data set of very many classes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Integer

from escnet.data.classes_json import ClassesJson, SourceLabels
from escnet.data.conventions import BACKGROUND_LABEL, IGNORED, UNKNOWN_LABEL, Conventions, Labelling
from escnet.data.label_map import read_coloured_map, read_label_map
from escnet.data.label_table import LabelTable
from escnet.data.labelled_picture import LabelledPicture, ReadLabels
from escnet.data.pairing import label_maps_below, paired, pictures_below
from escnet.data.reading import FolderOptions, Reading
from escnet.data.recognition import recognised
from escnet.errors import DatasetError
from escnet.files import display_path

_COLOURS = "labelmap.txt"  # which colour stands for which class, as CVAT writes it
_FEW_SHOWN = 4  # classes
_FEW_STRANGE = 3  # values of no meaning in one label map that may be meant
_FEW_CLASSES = 254  # that fit into 8 bits beside the ignore and the background label


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderDataset:
    """Pictures with label maps, in natural order of their names; made by `read`.

    Attributes:
        root: The folder.
        items: The pictures, each with its label map.
        labels: For each source what its label maps mean.
        ignore_index: The label of pixels that nobody labelled.
        background_index: The label of pixels that are none of the annotated classes.
        read_labels: For each source what reads a label map of others, such as a prediction, whose
            values mean what they mean in the truth.
        layout: How the folder was read, for one line.
        conventions: What was declared of the values in its files.
    """

    root: Path
    items: tuple[LabelledPicture, ...]
    labels: Mapping[str, SourceLabels]
    ignore_index: int
    background_index: int
    read_labels: Mapping[str, ReadLabels]
    layout: str = ""
    conventions: Conventions = Conventions()  # noqa: RUF009 -- frozen

    @classmethod
    def read(cls, root: str | Path, options: FolderOptions = FolderOptions()) -> "FolderDataset":  # noqa: B008 -- frozen
        """The dataset in a folder, or in a COCO JSON file; no picture or label map is opened.

        Args:
            root: The folder.
            options: What is said of it besides.

        Raises:
            ConfigError: If an option contradicts what is there.
            DatasetError: If no layout is recognised, more than one is, or a picture or a label map
                lacks the other.
        """
        root = Path(root)
        own = ClassesJson.read(root / "classes.json")
        declared = _joined(own, options.conventions)
        if own is not None and own.sources and options.class_file is None:
            return _of_own(root, own, declared)
        return _of_reading(root, recognised(root, options), declared, own)

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the sources, in the order of classes.json."""
        return tuple(self.labels)

    def source(self, name: str) -> SourceLabels:
        """What the label maps of that source mean.

        Raises:
            DatasetError: If there is no such source.
        """
        if name not in self.labels:
            raise DatasetError(f"no source {name!r}: choose from {', '.join(self.labels)}")
        return self.labels[name]

    def refuse_undeclared(self, item: LabelledPicture, labels: Integer[np.ndarray, "H W"]) -> None:
        """Refuse labels that the picture's source does not use.

        Args:
            item: The picture.
            labels: Its truth.

        Raises:
            DatasetError: If there is one.
        """
        source = self.source(item.source)
        where = f"{item.truth_name} holds label"
        cure = f"or label these pixels {self.ignore_index}, which counts nowhere"
        if not source.has_background and (labels == self.background_index).any():
            raise DatasetError(
                f"{where} {self.background_index}, the background, which source {item.source!r} "
                f'does not have: give it "has_background": true in classes.json, {cure}'
            )
        undeclared = sorted(set(range(len(source.classes))) - set(source.annotated))
        unexpected = labels[np.isin(labels, undeclared)]
        if unexpected.size:
            raise DatasetError(
                f"{where} {unexpected[0]}, {source.classes[unexpected[0]]!r}, which source "
                f'{item.source!r} does not annotate: add it to "annotated" in classes.json, '
                f"{cure}, or declare it with --ignore {unexpected[0]}"
            )

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[LabelledPicture]:
        return iter(self.items)


class CodedLabels:
    """Reads label maps whose values become class indices.

    Args:
        read: What reads the values.
        labelling: What each value is.
        ignore_index: What becomes of values that count nowhere.
        background_index: What becomes of values of none of the classes.
    """

    def __init__(
        self, read: ReadLabels, labelling: Labelling, ignore_index: int, background_index: int
    ) -> None:
        codes = labelling.codes
        self._read, self._labelling = read, labelling
        self._is_known = codes != UNKNOWN_LABEL
        own = np.where(codes == IGNORED, ignore_index, codes)
        own = np.where(codes == BACKGROUND_LABEL, background_index, own)
        few = max(ignore_index, background_index) < 256
        self._labels = np.where(self._is_known, own, 0).astype(np.uint8 if few else np.uint16)

    def __call__(self, path: Path) -> Integer[np.ndarray, "H W"]:
        """The class indices of a label map.

        Raises:
            DatasetError: If it cannot be read, or holds a value of no meaning.
        """
        raw = self._read(path)
        is_known = self._is_known[raw]
        if not is_known.all():
            raise DatasetError(
                f"label map {display_path(path)} {_about_unknown(raw, is_known, self._labelling)}"
            )
        return self._labels[raw]


def _about_unknown(
    raw: Integer[np.ndarray, "H W"], is_known: np.ndarray, labelling: Labelling
) -> str:
    """What is wrong with a label map that holds values of no meaning, and the ways out."""
    unknown, counts = np.unique(raw[~is_known], return_counts=True)
    share = 100 * counts.sum() / raw.size
    last = len(labelling.classes) - 1
    said = f"classes 0..{last}" if labelling.is_plain else f"{last + 1} classes"
    if len(unknown) > _FEW_STRANGE:
        return (
            f"holds {len(unknown)} values besides the {said} ({unknown[0]}, {unknown[1]}, ...) in "
            f"{share:.3g} % of its pixels: it was resized with smoothing or saved as JPEG; make it "
            "again, with nearest neighbours and as PNG"
        )
    fault = f"holds label {unknown[0]} in {share:.3g} % of its pixels, but there are {said}"
    if labelling.is_plain and unknown.tolist() == [last + 1]:
        return f"{fault}: if 0 is unlabelled and the names begin with 1, add --zero-is unlabelled"
    value = unknown[0]
    return f"{fault}: add its name to the list, or --ignore {value} if it is to count nowhere"


def _joined(own: ClassesJson | None, said: Conventions) -> Conventions:
    """What is said now, over what classes.json declares."""
    if own is None:
        return said
    now = said.model_dump(exclude_defaults=True)
    return Conventions.declared(**{**own.conventions.model_dump(exclude_defaults=True), **now})


def _of_reading(
    root: Path, reading: Reading, declared: Conventions, own: ClassesJson | None
) -> FolderDataset:
    usual = dict(reading.usual)
    if own is not None:
        usual[own.ignore_index] = IGNORED
        if own.says_background:
            usual[own.background_index] = BACKGROUND_LABEL
        named = reading.table is not None and own.ignore_index < len(reading.table.rows)
        if named and not declared.ignore:
            declared = declared.model_copy(update={"ignore": (own.ignore_index,)})
    labelling = Labelling(reading.table, declared, usual, reading.said)
    ignore_index, background_index = _two_labels(len(labelling.classes))
    name = root.resolve().name.removesuffix(".json") or "folder"
    source = name if reading.split is None else f"{name}-{reading.split}"
    two = ignore_index, background_index
    items = tuple(
        replace(item, source=source, read=CodedLabels(item.read, labelling, *two))
        for item in reading.pictures
    )
    others = items[0].read
    if reading.read_others is not None:
        names = LabelTable.of_names(labelling.classes, reading.said)
        others = CodedLabels(reading.read_others, Labelling(names, Conventions()), *two)
    labels = SourceLabels(
        classes=labelling.classes,
        annotated=tuple(range(len(labelling.classes))),
        has_background=labelling.has_background,
    )
    return FolderDataset(
        root=root,
        items=items,
        labels={source: labels},
        ignore_index=ignore_index,
        background_index=background_index,
        read_labels={source: others},
        layout=_description(reading, labelling),
        conventions=declared,
    )


def _two_labels(num_classes: int) -> tuple[int, int]:
    """The ignore and the background label of a data set whose label maps are made here."""
    return (255, 254) if num_classes <= _FEW_CLASSES else (65_535, 65_534)


def _description(reading: Reading, labelling: Labelling) -> str:
    """How a folder was read, with what its first values mean."""
    if reading.read_others is None:
        meanings = ", ".join(f"{value} {what}" for value, what in labelling.meanings(4))
    else:  # no file holds such values
        more = ", ..." if len(labelling.classes) > _FEW_SHOWN else ""
        meanings = ", ".join(map(repr, labelling.classes[:_FEW_SHOWN])) + more
    counted = _counted(len(reading.pictures), "picture")
    said = f"{reading.said}: {counted}, {_counted(len(labelling.classes), 'class')}"
    if reading.without_truth:
        said += f", {_counted(reading.without_truth, 'picture')} without label map left out"
    return f"{said} ({meanings})"


def _counted(number: int, noun: str) -> str:
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{ending}"


def _of_own(root: Path, own: ClassesJson, declared: Conventions) -> FolderDataset:
    items = _own_items(root, own.sources)
    said = f"images/ with masks/ by classes.json: {_counted(len(items), 'picture')}"
    ignored = own.ignore_index
    is_class = any(ignored < len(source.classes) for source in own.sources.values())
    if declared.is_plain:
        own.refuse_two_meanings()
    readers = {name: _own_reader(root, own, source) for name, source in own.sources.items()}
    if declared.is_plain and not is_class:
        return FolderDataset(
            root=root,
            items=tuple(replace(item, read=readers[item.source]) for item in items),
            labels=own.sources,
            ignore_index=ignored,
            background_index=own.background_index,
            read_labels=readers,
            layout=said,
        )
    if is_class and not declared.ignore:
        declared = declared.model_copy(update={"ignore": (ignored,)})
    usual = {ignored: IGNORED, own.background_index: BACKGROUND_LABEL, 255: IGNORED}
    labellings = {
        name: Labelling(LabelTable.of_names(source.classes, "classes.json"), declared, usual)
        for name, source in own.sources.items()
    }
    two = _two_labels(max(len(labelling.classes) for labelling in labellings.values()))
    read = {name: CodedLabels(readers[name], labellings[name], *two) for name in labellings}
    return FolderDataset(
        root=root,
        items=tuple(replace(item, read=read[item.source]) for item in items),
        labels={
            name: _relabelled(source, labellings[name]) for name, source in own.sources.items()
        },
        ignore_index=two[0],
        background_index=two[1],
        read_labels=read,
        layout=said,
        conventions=declared,
    )


def _own_reader(root: Path, own: ClassesJson, source: SourceLabels) -> ReadLabels:
    """What reads a source's label maps: by CVAT's labelmap.txt, if there is one, colours too.

    Its colours stand for the classes of these names; one for pixels of no class is the source's
    background, or counts nowhere.

    Raises:
        DatasetError: If labelmap.txt cannot be read.
    """
    path = next((p for p in (root / "masks" / _COLOURS, root / _COLOURS) if p.is_file()), None)
    table = None if path is None else LabelTable.read(path)
    if table is None or not table.has_colours:
        return read_label_map
    rest = own.background_index if source.has_background else own.ignore_index
    labels = {
        row.colour: source.classes.index(row.name) if row.name in source.classes else rest
        for row in table.rows
        if row.colour is not None and (row.name in source.classes or row.is_rest)
    }
    return partial(read_coloured_map, labels=labels, table_shown=table.shown)


def _relabelled(source: SourceLabels, labelling: Labelling) -> SourceLabels:
    """What the label maps of a source mean after its values became other labels."""
    annotated = {source.classes[index] for index in source.annotated}
    return SourceLabels(
        classes=labelling.classes,
        annotated=tuple(i for i, name in enumerate(labelling.classes) if name in annotated),
        has_background=source.has_background or labelling.codes[0] == BACKGROUND_LABEL,
    )


def _own_items(root: Path, labels: Mapping[str, SourceLabels]) -> tuple[LabelledPicture, ...]:
    for name in ("images", "masks"):
        if not (root / name).is_dir():
            raise DatasetError(
                f"folder {display_path(root / name)} does not exist: a folder with classes.json "
                "has pictures in images/ and label maps in masks/"
            )
    images, masks = pictures_below(root / "images"), label_maps_below(root / "masks")
    if not images:
        raise DatasetError(f"folder {display_path(root / 'images')} holds no picture: add some")
    pairs, alone = paired(images, masks)
    for stem, path in images.items():
        if stem not in pairs:
            raise DatasetError(f"picture {display_path(path)} lacks its label map masks/{stem}.png")
    for stem in alone:
        raise DatasetError(
            f"label map {display_path(masks[stem])} lacks its picture images/{stem}.jpg"
        )
    return tuple(
        LabelledPicture(
            stem=stem,
            image_path=images[stem],
            label_path=path,
            source=_source_of(stem, images[stem], labels),
        )
        for stem, path in pairs.items()
    )


def _source_of(stem: str, path: Path, labels: Mapping[str, SourceLabels]) -> str:
    """SOURCE of SOURCE__NAME; where there is only one, any name without such a part is its own."""
    name, separator, _ = stem.partition("__")
    if name in labels:
        return name
    if len(labels) == 1 and not separator:
        return next(iter(labels))
    raise DatasetError(
        f"picture {display_path(path)} is of source {name!r}, which classes.json lacks: "
        f"name it SOURCE__NAME, SOURCE being one of {', '.join(labels)}"
    )
