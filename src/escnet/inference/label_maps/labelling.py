"""Logits to a label map in the picture's own size.

The picture may be large and the names many, so the logits are enlarged in bands of rows, and where
a band of all labels is too much, some labels at a time. Beside the logits and the label map memory
is bounded.

Sizes: N queries, L labels, H x W pixels, h x w the grid of the logits.
"""

from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Float, Int, UInt
from torch import Tensor

from escnet.errors import WeightsError

_MOST_VALUES = 16_000_000  # enlarged logits at once
_FEWEST_ROWS = 16  # of a band; thinner ones take longer than fewer labels at once
LARGEST_8_BIT = 254  # labels of a uint8 map, whose 255 is void
_EVEN = 0.5  # below it a label is less likely than not
_LEAST_SHARE = 1e-4  # of a picture; what seems to cover less counts as covering this much


def label_pixels(
    logits: Float[Tensor, "N h w"],
    owner: Sequence[int],
    num_labels: int,
    size_hw: tuple[int, int],
    *,
    void_below: float = 0.0,
    background: bool = False,
    share_prior: float = 0.0,
) -> tuple[UInt[np.ndarray, "H W"], Float[np.ndarray, "H W"]]:
    """The winning label of every pixel, and its confidence.

    A label's logit is the highest of its queries'. Confidence is the sigmoid of the winner's logit;
    where the rest class wins, it is one minus that.

    Args:
        logits: One map for each query.
        owner: For each query the index of its label; a label without a query cannot win.
        num_labels: Labels, without the background.
        size_hw: Height and width of the picture.
        void_below: Pixels of lower confidence become void.
        background: Add the rest class, of index `num_labels`, where every label's confidence is
            below one half.
        share_prior: How much a label counts by the share of the picture that it seems to cover; see
            `share_shift`.

    Returns:
        Label map, uint8 up to 254 names, else uint16, the largest value being void; and
        confidence as float16.
    """
    present = sorted(set(owner))
    logits = merge_queries(logits.float(), np.searchsorted(present, owner).tolist())
    maps = LabelMaps(present, num_labels, size_hw, void_below=void_below, background=background)
    height, width = size_hw
    to_rows = bilinear_matrix(logits.shape[1], height).to(logits)  # (H, h)
    to_columns = bilinear_matrix(logits.shape[2], width).to(logits).T.contiguous()  # (w, W)
    shift = share_shift(logits, share_prior)
    # A label that the prior favours must not take a pixel from the others and then leave it void.
    least = max(void_below, _EVEN if background else 0.0)
    floor = torch.tensor(least, dtype=torch.float64).logit().item()
    step, labels_at_once = band_of(len(logits), width)
    for top in range(0, height, step):
        rows = slice(top, min(top + step, height))
        race = Race(shift, floor)
        for first in range(0, len(logits), labels_at_once):
            some = logits[first : first + labels_at_once]
            race.enter(to_rows[rows] @ some @ to_columns, first)
        best, winner = race.result()
        maps.fill(rows, best.sigmoid(), winner)
    return maps.label_map, maps.confidence


def share_shift(logits: Float[Tensor, "L h w"], share_prior: float) -> Float[Tensor, " L"] | None:
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
    share = torch.stack([own.sigmoid().mean() for own in logits])  # no copy of all of them
    return share_prior * share.clamp(min=_LEAST_SHARE).log()


def band_of(num_labels: int, width: int) -> tuple[int, int]:
    """Rows of a band, and labels at once in it, that memory has room for.

    Args:
        num_labels: L.
        width: W.
    """
    rows = _MOST_VALUES // (num_labels * width)
    if rows >= _FEWEST_ROWS:
        return rows, num_labels
    return _FEWEST_ROWS, min(num_labels, max(1, _MOST_VALUES // (_FEWEST_ROWS * width)))


class Race:
    """Finds the label that wins at every place of a band, some labels at a time.

    Where some label's own logit reaches the floor, only such labels compete, with the shift added;
    elsewhere the highest logit wins. Of equal labels the first wins.

    Args:
        shift: Of every label; None for none.
        floor: A logit.
    """

    def __init__(self, shift: Float[Tensor, " L"] | None = None, floor: float = -torch.inf) -> None:
        self._shift = shift
        self._floor = floor
        self._leader: _Leader | None = None
        self._highest: _Leader | None = None

    def enter(self, logits: Float[Tensor, "n rows W"], first: int) -> None:
        """Let some more labels run.

        Args:
            logits: Theirs.
            first: The index of the first of them among all labels.
        """
        if self._shift is None or self._floor > -torch.inf:
            best, winner = logits.max(dim=0)
            self._highest = _ahead(self._highest, _Leader(best, best, winner + first))
        if self._shift is None:
            return
        shifted = logits + self._shift[first : first + len(logits), None, None]
        if self._floor > -torch.inf:
            shifted.masked_fill_(logits < self._floor, -torch.inf)
        score, winner = shifted.max(dim=0)
        own = logits.gather(0, winner[None])[0]
        self._leader = _ahead(self._leader, _Leader(score, own, winner + first))

    def result(self) -> tuple[Float[Tensor, "rows W"], Int[Tensor, "rows W"]]:
        """Of every place the winner's own logit, and the winner."""
        if self._leader is None or self._highest is None:
            leader = cast("_Leader", self._leader or self._highest)
            return leader.logit, leader.label
        has_floor = self._leader.score > -torch.inf
        logit = torch.where(has_floor, self._leader.logit, self._highest.logit)
        return logit, torch.where(has_floor, self._leader.label, self._highest.label)


class _Leader(NamedTuple):
    """Who is ahead at every place, by which score, and with which logit of its own."""

    score: Float[Tensor, "rows W"]
    logit: Float[Tensor, "rows W"]
    label: Int[Tensor, "rows W"]


def _ahead(before: _Leader | None, behind: _Leader) -> _Leader:
    """The better of two at every place; of equals the earlier one."""
    if before is None:
        return behind
    is_better = behind.score > before.score
    return _Leader(
        *(torch.where(is_better, new, old) for new, old in zip(behind, before, strict=True))
    )


class LabelMaps:
    """A label map and its confidence, filled in bands of rows.

    Args:
        present: Labels that can win, in order.
        num_labels: As in `label_pixels`, like the rest.
        size_hw: Height and width.
        void_below: Lowest confidence of a labelled pixel.
        background: Whether there is a rest class.

    Attributes:
        label_map: The winning label of every pixel.
        confidence: Its confidence.
    """

    def __init__(
        self,
        present: Sequence[int],
        num_labels: int,
        size_hw: tuple[int, int],
        *,
        void_below: float,
        background: bool,
    ) -> None:
        num_names = num_labels + int(background)
        dtype = np.uint8 if num_names <= LARGEST_8_BIT else np.uint16
        self.label_map = np.empty(size_hw, dtype)
        self.confidence = np.empty(size_hw, np.float16)
        self._index = np.array([*present, num_labels])  # the rest class comes last
        self._void_below = void_below
        self._background = background

    def fill(
        self, rows: slice, sure: Float[Tensor, "rows W"], winner: Int[Tensor, "rows W"]
    ) -> None:
        """Write the labels and confidences of some rows of the picture.

        Args:
            rows: Which rows of the picture.
            sure: The winner's probability.
            winner: Its position in `present`.
        """
        if self._background:
            is_rest = sure < _EVEN
            winner = torch.where(is_rest, len(self._index) - 1, winner)
            sure = torch.where(is_rest, 1 - sure, sure)
        labels = self._index[winner.cpu().numpy()].astype(self.label_map.dtype)
        labels[(sure < self._void_below).cpu().numpy()] = np.iinfo(labels.dtype).max
        self.label_map[rows] = labels
        self.confidence[rows] = sure.cpu().numpy()


def merge_queries(logits: Float[Tensor, "N h w"], owner: Sequence[int]) -> Float[Tensor, "L h w"]:
    """Of each label the highest of its queries; the labels are 0 to the largest owner.

    Raises:
        WeightsError: If a logit is no number, so that there is no highest.
    """
    if bool(logits.isnan().any()):
        raise WeightsError(
            "the model's answer is no number (NaN) in some places: its weights are damaged, or "
            "beyond half precision, so use dtype float32 or take another model"
        )
    num_labels = max(owner) + 1
    if len(owner) == num_labels:
        order = torch.tensor(owner, device=logits.device).argsort()
        return logits[order]
    index = torch.tensor(owner, device=logits.device)[:, None, None].expand_as(logits)
    merged = logits.new_full((num_labels, *logits.shape[1:]), -torch.inf)
    return merged.scatter_reduce(0, index, logits, "amax")


def bilinear_matrix(size: int, enlarged: int) -> Float[Tensor, "enlarged size"]:
    """Bilinear interpolation along one axis as a matrix (torch's, without aligned corners)."""
    place = ((torch.arange(enlarged) + 0.5) * (size / enlarged) - 0.5).clamp(0, size - 1)
    low = place.floor().long().clamp(max=size - 1)
    high = (low + 1).clamp(max=size - 1)
    share = place - low
    matrix = torch.zeros(enlarged, size)
    row = torch.arange(enlarged)
    matrix[row, low] = 1 - share
    matrix[row, high] += share
    return matrix
