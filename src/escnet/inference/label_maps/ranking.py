"""The best names of every pixel with their probabilities, beside the label map that has one.

The first is the pixel's own, as the label map has it before anything becomes void; the others
follow by their own probabilities. The rest class, if there is one, counts by its probability beside
the best label's.

Sizes: K ranks, H x W pixels.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Int, UInt

from escnet.annotations.label_dtype import label_dtype
from escnet.inference.label_maps.curve import Curve
from escnet.inference.label_maps.rest import Rest

_NOBODY = -1  # of a rank that no label has, as there are fewer


class Runners:
    """The labels with the best scores at every place of a band, found one label after the other.

    Args:
        num_ranks: K.
        size_hw: Rows and columns of the band.

    Attributes:
        score: Of each rank, the best first.
        label: Whose they are.
    """

    def __init__(self, num_ranks: int, size_hw: tuple[int, int]) -> None:
        self.score = np.full((num_ranks, *size_hw), -np.inf, np.float32)
        self.label = np.full((num_ranks, *size_hw), _NOBODY, np.int32)

    def enter(self, score: Float32[np.ndarray, "rows W"], label: int) -> None:
        """Let one more label run; of equal ones the first stays ahead.

        Args:
            score: Its own; it stays as it is.
            label: Its index.
        """
        label_here = np.full(score.shape, label, np.int32)
        for rank in range(len(self.score)):
            is_better = score > self.score[rank]
            if not is_better.any():
                continue
            behind, label_behind = self.score[rank].copy(), self.label[rank].copy()
            np.copyto(self.score[rank], score, where=is_better)
            np.copyto(self.label[rank], label_here, where=is_better)
            score = np.where(is_better, behind, score)
            label_here = np.where(is_better, label_behind, label_here)


class Ranking:
    """The ranks of a picture, filled in bands of rows.

    Args:
        num_ranks: K.
        num_names: Those of the result, the rest class among them.
        size_hw: Height and width of the picture.

    Attributes:
        names: Indices of names, the best first; the void label where there are fewer names.
        probabilities: Theirs, float16; 0 where there is no name.
    """

    def __init__(self, num_ranks: int, num_names: int, size_hw: tuple[int, int]) -> None:
        dtype = label_dtype(num_names)
        self.names = np.empty((num_ranks, *size_hw), dtype)
        self.probabilities = np.zeros((num_ranks, *size_hw), np.float16)

    def runners(self, size_hw: tuple[int, int]) -> Runners:
        """Those of a band."""
        return Runners(len(self.names), size_hw)

    def fill(
        self,
        rows: slice,
        runners: Runners,
        winner: Int[np.ndarray, "rows W"],
        sure: Float32[np.ndarray, "rows W"],
        *,
        index: UInt[np.ndarray, " L"],
        to_probability: Callable[[np.ndarray], np.ndarray],
        rest: Rest | None,
        curve: Curve,
    ) -> None:
        """Write the ranks of some rows of the picture.

        Args:
            rows: Which rows of the picture.
            runners: Of these rows, all labels having run; they are used up.
            winner: Whom the label map has there; the last of `index` is the rest class.
            sure: The winner's probability.
            index: Of each label that ran its index among the names.
            to_probability: Makes one of a runner's score.
            rest: When the rest class wins; None for no such class.
            curve: From the model's probabilities to confidences.
        """
        runners.score = to_probability(runners.score)
        if rest is not None:
            runners.enter(rest.probability(runners.score[0]), len(index) - 1)
        labels, chances = _led_by(winner, sure, runners.label, runners.score)
        table = np.append(index, np.iinfo(index.dtype).max)  # the last is for nobody
        self.names[:, rows] = table[labels]
        self.probabilities[:, rows] = np.where(labels == _NOBODY, 0, curve.of(chances))


def _led_by(
    winner: Int[np.ndarray, "rows W"],
    sure: Float32[np.ndarray, "rows W"],
    labels: Int[np.ndarray, "K rows W"],
    chances: Float32[np.ndarray, "K rows W"],
) -> tuple[Int[np.ndarray, "K rows W"], Float32[np.ndarray, "K rows W"]]:
    """The ranks with the winner at their head, whatever rank it had."""
    is_winner = labels == winner
    place = np.where(is_winner.any(axis=0), is_winner.argmax(axis=0), len(labels) - 1)
    before = np.arange(1, len(labels))[:, None, None] <= place  # (K - 1, rows, W)
    tail = np.where(before, labels[:-1], labels[1:])
    tail_chances = np.where(before, chances[:-1], chances[1:])
    return np.concatenate([winner[None], tail]), np.concatenate([sure[None], tail_chances])
