"""Label maps that hold still: what was seen before is carried along and averaged in.

Logits of the frame before are moved by optical flow (DIS, Kroeger et al. 2016, of OpenCV)
and averaged with those of the frame, as much as the moved picture agrees with the frame. Where
something was hidden, is new, or moved in a way that the flow missed, the pictures disagree, so the
old says nothing there and nothing smears. Between key frames the model is not asked at all. Where
hardly anything agrees there was a cut, and all begins again.

Sizes: L labels, h x w their grid, H x W the frame, y x x the frame reduced for the flow.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from escnet.errors import ConfigError, setting
from escnet.extras import module_of_extra
from escnet.inference.label_maps.rest import Rest
from escnet.towers.checks import is_within

USUAL_STRENGTH = 0.5
_MOST_STRENGTH = 0.95
_FLOW_SIDE = 448  # the long side of the picture that the flow is computed on
_GREY_LEVELS = 16.0  # by which pictures may differ until little of the old counts
_CUT_BELOW = 0.4  # of agreement, in the mean
_BLUR = 5  # pixels over which agreement is averaged

Seen = tuple[Float32[np.ndarray, "L h w"], Rest | None]


class SmoothFrame(NamedTuple):
    """What is known of a frame.

    Attributes:
        logits: Of each label.
        rest: When the rest class wins.
        is_key: Whether the model was asked.
        is_cut: Whether nothing came from the frame before.
    """

    logits: Float32[np.ndarray, "L h w"]
    rest: Rest | None
    is_key: bool
    is_cut: bool


class State(NamedTuple):
    """What the next frame needs of those before."""

    logits: Float32[np.ndarray, "L h w"]
    grey: UInt8[np.ndarray, "y x"]
    rest: Rest | None
    since_key: int


class Smoothing:
    """Carries logits from frame to frame.

    Args:
        strength: Share of the old where it agrees with the new, 0 for none, up to 0.95.
        keyframes: The model is asked at every so many frames, and after cuts.
        state: Of an earlier run; None at the beginning.

    Raises:
        ConfigError: If a value is out of range, or OpenCV is not installed.
    """

    def __init__(
        self,
        strength: float = USUAL_STRENGTH,
        keyframes: int = 1,
        state: State | None = None,
    ) -> None:
        if not is_within(strength, 0.0, _MOST_STRENGTH):
            raise ConfigError(
                f"{setting('smooth')} {strength} is out of range: choose 0 (off) to 0.95"
            )
        if keyframes < 1:
            raise ConfigError(f"{setting('keyframes')} {keyframes}: choose 1 (all) or more")
        self.strength, self.keyframes = strength, keyframes
        self.state = state
        self._cv2: Any = None
        if strength or keyframes > 1:
            self._cv2 = module_of_extra("cv2", "video")
            self._flow = self._cv2.DISOpticalFlow_create(self._cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def step(
        self, pixels: UInt8[np.ndarray, "H W 3"], ask: Callable[[Rest | None], Seen]
    ) -> SmoothFrame:
        """What is known of the next frame.

        Args:
            pixels: The frame.
            ask: Asks the model; it is given the scene's rule for the rest, if there is one.
        """
        if self._cv2 is None:
            return SmoothFrame(*ask(None), is_key=True, is_cut=False)
        grey = _reduced(pixels)
        before = self.state
        is_like = before is not None and before.grey.shape == grey.shape
        moved = self._moved(before, grey) if before is not None and is_like else None
        if moved is None or before is None:
            logits, rest = ask(None)
            self.state = State(logits, grey, rest, since_key=0)
            return SmoothFrame(logits, rest, is_key=True, is_cut=before is not None)
        old, agreement = moved
        is_key = before.since_key + 1 >= self.keyframes
        if is_key:
            new, _ = ask(before.rest)
            share = self.strength * agreement
            old = new + share * (old - new)
        since_key = 0 if is_key else before.since_key + 1
        self.state = State(old, grey, before.rest, since_key)
        return SmoothFrame(old, before.rest, is_key, is_cut=False)

    def _moved(
        self, before: State, grey: UInt8[np.ndarray, "y x"]
    ) -> tuple[Float32[np.ndarray, "L h w"], Float32[np.ndarray, "h w"]] | None:
        """The logits of the frame before where they are now, and how far they agree.

        None after a cut.
        """
        cv2 = self._cv2
        flow = self._flow.calc(grey, before.grey, None)  # (y, x, 2), to where it was
        height, width = grey.shape
        y, x = np.mgrid[:height, :width].astype(np.float32)
        was_x, was_y = x + flow[..., 0], y + flow[..., 1]
        moved_grey = cv2.remap(before.grey, was_x, was_y, cv2.INTER_LINEAR, borderValue=0)
        difference = cv2.blur(cv2.absdiff(grey, moved_grey).astype(np.float32), (_BLUR, _BLUR))
        agreement = np.exp(-((difference / _GREY_LEVELS) ** 2))
        is_inside = (was_x >= 0) & (was_x <= width - 1) & (was_y >= 0) & (was_y <= height - 1)
        agreement *= is_inside
        if agreement.mean() < _CUT_BELOW:
            return None
        rows, columns = before.logits.shape[1:]
        size = (columns, rows)
        scale_x, scale_y = columns / width, rows / height
        of_x = (cv2.resize(was_x, size, interpolation=cv2.INTER_AREA) + 0.5) * scale_x - 0.5
        of_y = (cv2.resize(was_y, size, interpolation=cv2.INTER_AREA) + 0.5) * scale_y - 0.5
        moved = [
            cv2.remap(own, of_x, of_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            for own in before.logits
        ]
        return np.stack(moved), cv2.resize(agreement, size, interpolation=cv2.INTER_AREA)


def _reduced(pixels: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "y x"]:
    """A grey frame of a long side that is the flow's."""
    height, width = pixels.shape[:2]
    scale = min(1, _FLOW_SIDE / max(height, width))
    size = max(16, round(width * scale)), max(16, round(height * scale))
    return np.asarray(Image.fromarray(pixels).convert("L").resize(size, Image.Resampling.BOX))
