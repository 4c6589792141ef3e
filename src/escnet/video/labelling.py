"""Frames to logits of all labels, and smoothed logits to label maps.

Sizes: L labels, h x w their grid, H x W the frame.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import UInt, UInt8

from escnet.inference.label_maps.labelling import label_pixels
from escnet.inference.label_maps.rest import Rest
from escnet.inference.options import SegmentOptions
from escnet.inference.segmenter import Segmenter
from escnet.video.smoothing import Seen, SmoothFrame
from escnet.vocabulary import Vocabulary

_REJECTED = -20.0  # the logit of a label that was left no chance


class FrameLabelling:
    """What the model says of frames.

    Args:
        segmenter: The model.
        vocabulary: The class names.
        options: Without windows.
    """

    def __init__(
        self, segmenter: Segmenter, vocabulary: Vocabulary, options: SegmentOptions
    ) -> None:
        self._segmenter = segmenter
        self._vocabulary = vocabulary
        self._options = segmenter.resolved(options)

    def of(self, pixels: UInt8[np.ndarray, "H W 3"]) -> Callable[[Rest | None], Seen]:
        """What asks the model about a frame, given the rule for the rest, if it is known."""

        def ask(rest: Rest | None) -> Seen:
            whole = self._segmenter.whole_logits(pixels, self._vocabulary, self._options, rest=rest)
            labels, merged = whole.of_labels()
            logits = np.full((whole.num_owners, *merged.shape[1:]), _REJECTED, np.float32)
            logits[labels] = merged
            return logits, whole.rest

        return ask

    def labels(
        self, seen: SmoothFrame, pixels: UInt8[np.ndarray, "H W 3"]
    ) -> UInt[np.ndarray, "H W"]:
        """The label map of a frame."""
        label_map, _ = label_pixels(
            seen.logits,
            range(len(seen.logits)),
            len(self._vocabulary),
            (pixels.shape[0], pixels.shape[1]),
            void_below=self._options.void_below,
            own_void_below=self._vocabulary.void_below,
            rest=seen.rest,
            share_prior=self._options.share_prior or 0.0,
            curve=self._segmenter.curve(self._options),
        )
        return label_map
