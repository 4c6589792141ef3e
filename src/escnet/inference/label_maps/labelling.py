"""Logits to a label map in the picture's own size.

The picture may be large and the names many, so it is worked off in bands of rows, and in a band one
label after the other. Beside the logits and the label map memory is bounded.

Sizes: N queries, L labels, H x W pixels, h x w the grid of the logits.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Float, Float16, Float32, Int, UInt

from escnet.annotations.label_dtype import label_dtype
from escnet.errors import WeightsError
from escnet.inference.label_maps.curve import AS_IT_IS, Curve
from escnet.inference.label_maps.enlargement import Enlargement
from escnet.inference.label_maps.probability import logits_of, sigmoid
from escnet.inference.label_maps.ranking import Ranking, Runners
from escnet.inference.label_maps.rest import Rest

_BAND = 65_536  # pixels at once, which stay in a processor's cache
_LEAST_SHARE = 1e-4  # of a picture; what seems to cover less counts as covering this much


def label_pixels(
    logits: Float32[np.ndarray, "N h w"],
    owner: Sequence[int],
    num_labels: int,
    size_hw: tuple[int, int],
    *,
    void_below: float = 0.0,
    own_void_below: Sequence[float] = (),
    rest: Rest | None = None,
    share_prior: float = 0.0,
    ranking: Ranking | None = None,
    curve: Curve = AS_IT_IS,
) -> tuple[UInt[np.ndarray, "H W"], Float[np.ndarray, "H W"]]:
    """The winning label of every pixel, and its confidence.

    A label's logit is the highest of its queries'. Confidence is the sigmoid of the winner's logit;
    where the rest class wins, it is the probability of the rest; and of either what the curve makes
    of it.

    Args:
        logits: One map for each query.
        owner: For each query the index of its label; a label without a query cannot win. What an
            index from `num_labels` on wins, a contrast query, is the rest, or void without one.
        num_labels: Labels, without the background and without contrast queries.
        size_hw: Height and width of the picture.
        void_below: Pixels of lower confidence become void.
        own_void_below: The same for each label alone; the higher counts. Empty for none.
        rest: When the rest class wins, of index `num_labels`; None for no such class.
        share_prior: How much a label counts by the share of the picture that it seems to cover; see
            `share_shift`.
        ranking: Filled with the best names of every pixel, if they are wanted.
        curve: From the model's probabilities to confidences.

    Returns:
        Label map, uint8 up to 254 names, else uint16, the largest value being void; and
        confidence as float16.
    """
    present = sorted(set(owner))
    merged = merge_queries(logits, np.searchsorted(present, owner).tolist())
    maps = LabelMaps(
        present,
        num_labels,
        size_hw,
        void_below=void_below,
        own_void_below=own_void_below,
        rest=rest,
        ranking=ranking,
        curve=curve,
    )
    if rest is not None:
        merged = rest.judged(merged, rest.present(merged))
    enlargement = Enlargement(merged.shape[1:], size_hw)
    shift = share_shift(merged, share_prior)
    # A label that the prior favours must not take a pixel from the others and then leave it void.
    least = curve.probability_of(maps.least)
    floor = logits_of(np.maximum(least, rest.floor if rest else 0.0)[:-1])
    for rows in bands(size_hw):
        race = Race((rows.stop - rows.start, size_hw[1]), shift, floor, maps.runners(rows))
        source = enlargement.source(rows)
        for label, own in enumerate(merged):
            race.enter(enlargement.rows(own[source], rows), label)
        maps.fill(rows, race, sigmoid)
    return maps.label_map, maps.confidence


def bands(size_hw: tuple[int, int]) -> Iterator[slice]:
    """Rows of a picture that are worked on at a time, from the top downwards."""
    height, width = size_hw
    step = max(1, _BAND // width)
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def share_shift(
    logits: Float32[np.ndarray, "L h w"], share_prior: float
) -> Float32[np.ndarray, " L"] | None:
    """What is added to each label's logits where labels compete, so that likely ones win.

    The mean of a label's probabilities over the picture is the share that it seems to cover, and
    stands in for its prior probability there, as in Saerens et al. ("Adjusting the outputs of a
    classifier to new a priori probabilities", 2002): a few pixels of a label that the picture
    shows nowhere else are more likely wrong. A label's share depends on no other label. See
    docs/paper-notes.md, note 27.

    Args:
        logits: Of every label at every place of the picture.
        share_prior: The exponent of the share.

    Returns:
        The logarithms of the shares' powers; None where nothing is to be added.
    """
    if not share_prior:
        return None
    share = np.array([sigmoid(own).mean() for own in logits], np.float32)  # no copy of all of them
    return np.float32(share_prior) * np.log(share.clip(min=_LEAST_SHARE))


class Race:
    """Finds the label that wins at every place of a band, one label after the other.

    Where some label's own logit reaches the floor, only such labels compete, with the shift added;
    elsewhere the highest logit wins. Of equal labels the first wins.

    Args:
        size_hw: Rows and columns of the band.
        shift: Of every label; None for none.
        floor: A logit for every label; None for none.
        runners: Those who come next, if they are wanted, too; by their own logits.
    """

    def __init__(
        self,
        size_hw: tuple[int, int],
        shift: Float32[np.ndarray, " L"] | None = None,
        floor: Float32[np.ndarray, " L"] | None = None,
        runners: Runners | None = None,
    ) -> None:
        self.runners = runners
        has_floor = floor is not None and (floor > -np.inf).any()
        self._shift, self._floor = shift, floor if has_floor else None
        self._highest = _Lead(size_hw)
        self._favoured = None if shift is None else _Lead(size_hw, has_own_score=True)

    def enter(self, logit: Float32[np.ndarray, "rows W"], label: int) -> None:
        """Let one more label run.

        Args:
            logit: Its own; it stays as it is.
            label: Its index; labels enter in order.
        """
        if self.runners is not None:
            self.runners.enter(logit, label)
        if self._favoured is None or self._shift is None:
            self._highest.challenge(logit, logit, label)
            return
        score = logit + self._shift[label]
        if self._floor is not None:
            self._highest.challenge(logit, logit, label)
            score[logit < self._floor[label]] = -np.inf
        self._favoured.challenge(score, logit, label)

    def result(self) -> tuple[Float32[np.ndarray, "rows W"], Int[np.ndarray, "rows W"]]:
        """Of every place the winner's own logit, and the winner."""
        highest, favoured = self._highest, self._favoured
        if favoured is None:
            return highest.logit, highest.label
        if self._floor is None:
            return favoured.logit, favoured.label
        reaches = favoured.score > -np.inf
        return (
            np.where(reaches, favoured.logit, highest.logit),
            np.where(reaches, favoured.label, highest.label),
        )


class _Lead:
    """Who is ahead at every place, by which score, and with which logit of its own."""

    def __init__(self, size_hw: tuple[int, int], *, has_own_score: bool = False) -> None:
        self.score = np.full(size_hw, -np.inf, np.float32)
        self.logit = self.score.copy() if has_own_score else self.score
        self.label = np.zeros(size_hw, np.int32)

    def challenge(
        self,
        score: Float32[np.ndarray, "rows W"],
        logit: Float32[np.ndarray, "rows W"],
        label: int,
    ) -> None:
        """Put a label ahead wherever its score is better."""
        is_better = score > self.score
        np.copyto(self.score, score, where=is_better)
        if self.logit is not self.score:
            np.copyto(self.logit, logit, where=is_better)
        np.copyto(self.label, label, where=is_better)


class LabelMaps:
    """A label map and its confidence, filled in bands of rows.

    Args:
        present: Labels that can win, in order, contrast queries among them.
        num_labels: As in `label_pixels`, like the rest.
        size_hw: Height and width.
        void_below: Lowest confidence of a labelled pixel.
        own_void_below: The same for each label alone; the higher counts. Empty for none.
        rest: When the rest class wins; None for no such class.
        ranking: Filled as well, if there is one.
        curve: From the model's probabilities to confidences.

    Attributes:
        label_map: The winning label of every pixel.
        confidence: Its confidence.
        least: Lowest confidence of a labelled pixel, of each that can win, and of the rest class.
    """

    def __init__(
        self,
        present: Sequence[int],
        num_labels: int,
        size_hw: tuple[int, int],
        *,
        void_below: float,
        own_void_below: Sequence[float] = (),
        rest: Rest | None,
        ranking: Ranking | None = None,
        curve: Curve = AS_IT_IS,
    ) -> None:
        num_names = num_labels + int(rest is not None)
        dtype = label_dtype(num_names)
        self.label_map = np.empty(size_hw, dtype)
        self.confidence = np.empty(size_hw, np.float16)
        nothing = np.iinfo(dtype).max if rest is None else num_labels
        index = [nothing if label >= num_labels else label for label in present]
        self._index = np.array([*index, num_labels], dtype)  # the rest class comes last
        own = dict(enumerate(own_void_below))
        least = [max(void_below, own.get(label, 0.0)) for label in present]
        self.least = np.array([*least, void_below], np.float32)
        self._rest = rest
        self._ranking = ranking
        self._curve = curve

    def runners(self, rows: slice) -> Runners | None:
        """Those of some rows of the picture; None if no ranks are wanted."""
        if self._ranking is None:
            return None
        return self._ranking.runners((rows.stop - rows.start, self.label_map.shape[1]))

    def fill(
        self, rows: slice, race: Race, to_probability: Callable[[np.ndarray], np.ndarray]
    ) -> None:
        """Write the labels and confidences of some rows of the picture.

        Args:
            rows: Which rows of the picture.
            race: In which all labels have run; their indices are positions in `present`.
            to_probability: Makes one of what they ran with.
        """
        best, winner = race.result()
        sure = to_probability(best)
        if self._rest is not None:
            is_rest = sure < self._rest.floor
            winner = np.where(is_rest, len(self._index) - 1, winner)
            sure = np.where(is_rest, self._rest.probability(sure), sure)
        if self._ranking is not None and race.runners is not None:
            self._ranking.fill(
                rows,
                race.runners,
                winner,
                sure,
                index=self._index,
                to_probability=to_probability,
                rest=self._rest,
                curve=self._curve,
            )
        sure = self._curve.of(sure)
        labels = self._index[winner]
        labels[sure < self.least[winner]] = np.iinfo(labels.dtype).max
        self.label_map[rows] = labels
        self.confidence[rows] = sure


def score_maps(
    labels: Sequence[int], logits: Float32[np.ndarray, "L h w"], num_labels: int, curve: Curve
) -> Float16[np.ndarray, "N h w"]:
    """The confidence of every label at every place of the logits' grid.

    Args:
        labels: Whose the maps are; those from `num_labels` on are none that was asked for.
        logits: Of the picture as a whole; of labels that were left no chance there are none.
        num_labels: N.
        curve: From the model's probabilities to confidences.
    """
    maps = np.zeros((num_labels, *logits.shape[1:]), np.float16)
    for label, own in zip(labels, logits, strict=True):
        if label < num_labels:
            maps[label] = curve.of(sigmoid(own))
    return maps


def merge_queries(
    logits: Float32[np.ndarray, "N h w"], owner: Sequence[int]
) -> Float32[np.ndarray, "L h w"]:
    """Of each label the highest of its queries; the labels are 0 to the largest owner.

    Raises:
        WeightsError: If a logit is no number, so that there is no highest.
    """
    if np.isnan(logits).any():
        raise WeightsError(
            "the model's answer is no number (NaN) in some places: its weights are damaged, or "
            "beyond half precision, so use dtype float32 or take another model"
        )
    if list(owner) == list(range(len(owner))):
        return logits
    merged = np.full((max(owner) + 1, *logits.shape[1:]), -np.inf, np.float32)
    for label, own in zip(owner, logits, strict=True):
        np.maximum(merged[label], own, out=merged[label])
    return merged
