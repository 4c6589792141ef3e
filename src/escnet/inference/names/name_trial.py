"""Names tried on pictures without any truth: where labels win, nearly win, and over whom.

Sizes: L labels, the rest class among them; H x W pixels; h x w the same brought down.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt, UInt8
from PIL import Image

from escnet.annotations.overlay import draw_overlay, encode_overlay
from escnet.annotations.palette import name_colours
from escnet.data.image import read_image
from escnet.errors import ImageError, VocabularyError
from escnet.inference.names.suggestions import Suggestion, Synonyms
from escnet.inference.options import SegmentOptions
from escnet.inference.segmenter import Segmenter
from escnet.segmentation import Segmentation
from escnet.vocabulary import Vocabulary

MOST_LABELS = 1_000  # every two of them are compared
MOST_EXAMPLES = 4  # of a label, of either kind
NEAR = 0.7  # of the winner's probability: from there on the second nearly wins
_SHOWN_SHARE = 0.01  # of a picture: from there on it shows a label
_SIDE = 240  # of an example, in pixels


class Example(NamedTuple):
    """A picture in which a label wins, or nearly does.

    Attributes:
        picture: Its file.
        share: Of its pixels.
        overlay: The picture with these pixels in the label's colour, as JPEG.
    """

    picture: Path
    share: float
    overlay: bytes


@dataclass(slots=True)
class LabelTrial:
    """How one label fared.

    Attributes:
        label: Its name.
        share: Of all pixels of all pictures.
        confidence: Mean over the pixels that it wins; None if there are none.
        num_pictures: Those of which it has a hundredth or more.
        near_share: Of all pixels, those that it nearly wins.
        mixed_with: Labels that nearly win where it wins, and whose pixels it nearly wins, with the
            share of all pixels; the largest first.
        wins: Pictures where it wins most.
        near_wins: Pictures where it nearly wins most.
    """

    label: str
    share: float = 0.0
    confidence: float | None = None
    num_pictures: int = 0
    near_share: float = 0.0
    mixed_with: list[tuple[str, float]] = field(default_factory=list)
    wins: list[Example] = field(default_factory=list)
    near_wins: list[Example] = field(default_factory=list)


class Trial(NamedTuple):
    """What a list of names makes of some pictures.

    Attributes:
        labels: How each fared, in label order; the rest class comes last.
        void_share: Of all pixels, those without a label.
        suggestions: Other words, and queries that can go.
        num_pictures: How many were read.
        failures: Pictures that could not be read, and why.
    """

    labels: list[LabelTrial]
    void_share: float
    suggestions: list[Suggestion]
    num_pictures: int
    failures: list[tuple[Path, str]]


def try_names(
    segmenter: Segmenter,
    vocabulary: Vocabulary,
    pictures: Iterable[Path],
    *,
    options: SegmentOptions = SegmentOptions(),  # noqa: B008 -- frozen
    synonyms: Synonyms | None = None,
) -> Trial:
    """Segment pictures and see how each label fares.

    Args:
        segmenter: The model.
        vocabulary: The names.
        pictures: Files; memory does not grow with their number.
        options: How pictures are segmented; those of results are not used.
        synonyms: Other words to try; None for none.

    Raises:
        VocabularyError: If there are too many labels, or a name has more tokens than the text tower
            reads.
    """
    if len(vocabulary) > MOST_LABELS:
        raise VocabularyError(
            f"{len(vocabulary):,} labels are more than the {MOST_LABELS:,} that are tried against "
            "each other: try a part of them"
        )
    options = replace(options, top=2, level=0, min_area=0, fill_holes=0)
    counts = _Counts(vocabulary)
    failures = []
    for path in pictures:
        try:
            pixels = read_image(path, max_pixels=options.max_pixels, depth=options.depth)
        except ImageError as error:
            failures.append((path, str(error)))
            continue
        counts.add(path, segmenter.segment_pixels(pixels, vocabulary, options))
        if synonyms is not None:
            synonyms.add(pixels)
    suggestions = [] if synonyms is None else synonyms.suggestions()
    return counts.trial(suggestions, failures)


class _Counts:
    """What is summed over pictures."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        names = vocabulary.result_names
        self._labels = [LabelTrial(name) for name in names]
        self._colours = name_colours(names, vocabulary.colours)
        self._won = np.zeros(len(names) + 1)  # the last is void
        self._sure = np.zeros(len(names))
        self._near = np.zeros((len(names), len(names)))  # of the first, that the second nearly wins
        self._num_pictures = 0

    def add(self, path: Path, result: Segmentation) -> None:
        """Count one picture."""
        self._num_pictures += 1
        num = len(self._labels)
        labels = np.minimum(result.label_map, num).astype(np.int64)  # void is the last
        won = np.bincount(labels.ravel(), minlength=num + 1)
        self._won += won
        sure = np.bincount(labels.ravel(), result.confidence.ravel(), minlength=num + 1)
        self._sure += sure[:num]
        second = _near_labels(result, num)
        is_near = (second < num) & (labels < num)
        pairs = labels[is_near] * num + second[is_near]
        near = np.bincount(pairs, minlength=num * num).reshape(num, num)
        self._near += near
        size = labels.size
        for index, label in enumerate(self._labels):
            share = float(won[index] / size)
            near_share = float(near[:, index].sum() / size)
            label.num_pictures += int(share >= _SHOWN_SHARE)
            colour = self._colours[index : index + 1]
            if _is_better(share, label.wins):
                _keep(label.wins, path, share, result.picture, labels == index, colour)
            if _is_better(near_share, label.near_wins):
                mask = is_near & (second == index)
                _keep(label.near_wins, path, near_share, result.picture, mask, colour)

    def trial(self, suggestions: list[Suggestion], failures: list[tuple[Path, str]]) -> Trial:
        """The sums as shares."""
        total = max(self._won.sum(), 1.0)
        both = (self._near + self._near.T) / total
        for index, label in enumerate(self._labels):
            label.share = float(self._won[index] / total)
            if self._won[index]:
                label.confidence = float(self._sure[index] / self._won[index])
            label.near_share = float(self._near[:, index].sum() / total)
            order = np.argsort(-both[index], kind="stable")
            label.mixed_with = [
                (self._labels[other].label, float(both[index, other]))
                for other in order.tolist()
                if both[index, other]
            ]
        void_share = float(self._won[-1] / total)
        return Trial(self._labels, void_share, suggestions, self._num_pictures, failures)


def _is_better(share: float, examples: Sequence[Example]) -> bool:
    return share > 0 and (len(examples) < MOST_EXAMPLES or share > examples[-1].share)


def _keep(
    examples: list[Example],
    path: Path,
    share: float,
    picture: UInt8[np.ndarray, "H W 3"] | None,
    mask: Bool[np.ndarray, "H W"],
    colour: UInt8[np.ndarray, "1 3"],
) -> None:
    """Keep a picture among the examples, in the place of the worst if there are enough."""
    assert picture is not None  # noqa: S101 -- for the type checker
    examples.append(Example(path, share, _small_overlay(picture, mask, colour)))
    examples.sort(key=lambda example: -example.share)
    del examples[MOST_EXAMPLES:]


def _near_labels(result: Segmentation, num_names: int) -> UInt[np.ndarray, "H W"]:
    """The second best name of each pixel where it nearly wins; elsewhere `num_names`."""
    assert result.top_names is not None  # noqa: S101 -- for the type checker
    assert result.top_probabilities is not None  # noqa: S101
    first, second = result.top_probabilities.astype(np.float32)
    is_near = second >= NEAR * first
    names = np.minimum(result.top_names[1].astype(np.uint32), num_names)
    return np.where(is_near & (second > 0), names, num_names).astype(np.uint32)


def _small_overlay(
    picture: UInt8[np.ndarray, "H W 3"],
    mask: Bool[np.ndarray, "H W"],
    colour: UInt8[np.ndarray, "1 3"],
) -> bytes:
    """The picture brought down, with the mask in the colour."""
    height, width = mask.shape
    scale = min(1.0, _SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image = Image.fromarray(picture).resize(size, Image.Resampling.BOX, reducing_gap=2)
    small = Image.fromarray(mask).resize(size, Image.Resampling.NEAREST)
    labels = np.where(np.asarray(small), 0, 255).astype(np.uint8)
    drawn = draw_overlay(np.asarray(image), labels, ["it"], legend=False, colours=colour)
    return encode_overlay(drawn, quality=80)


def as_table(labels: Sequence[LabelTrial]) -> list[dict[str, object]]:
    """How labels fared, as plain values for JSON."""
    return [
        {
            "name": label.label,
            "share": round(label.share, 6),
            "mean_confidence": None if label.confidence is None else round(label.confidence, 4),
            "pictures": label.num_pictures,
            "near_share": round(label.near_share, 6),
            "mixed_with": [
                {"name": name, "share": round(share, 6)} for name, share in label.mixed_with[:3]
            ],
        }
        for label in labels
    ]
