"""How a picture is cut into overlapping windows: the settings, without PyTorch.

`windowed_scores.py` does the work.
"""

from dataclasses import asdict, dataclass
from typing import Literal, get_args

from escnet.errors import ConfigError

_MOST_OVERLAP = 0.9
_LARGEST_SHRINK = 16  # a window holds at least one part in so many of its square's pixels
Seams = Literal["equal", "smooth"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """How a picture is cut.

    Attributes:
        size: The picture becomes a square of this side, in the steps of `published_resize.py`; None
            keeps its aspect.
        short_side: With the aspect kept, the picture is resized to this short side; None keeps its
            own size.
        window: Side of a window on the canvas; None is the side that the method sees.
        overlap: Share of a window that it has in common with the next.
        seams: "equal" averages windows alike where they overlap; "smooth" lets each fade out.
        global_view: Whether the picture as a whole is averaged with the windows, half and half.
    """

    size: int | None = None
    short_side: int | None = None
    window: int | None = None
    overlap: float = 1 / 3
    seams: Seams = "smooth"
    global_view: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.overlap <= _MOST_OVERLAP:
            raise ConfigError(f"window overlap {self.overlap} is not a share: give 0 to 0.9")
        if self.seams not in (known := get_args(Seams)):
            raise ConfigError(
                f"windows: seams {self.seams!r} is unknown: choose from {', '.join(known)}"
            )
        for name in ("size", "short_side", "window"):
            if (side := getattr(self, name)) is not None and side < 1:
                raise ConfigError(f"windows: {name} {side} leaves no pixel: give at least 1")

    def as_settings(self) -> dict[str, object]:
        """Plain values, for results."""
        return asdict(self)

    def canvas_hw(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the canvas for a picture."""
        if self.size is not None:
            return self.size, self.size
        if self.short_side is None:
            return size_hw
        scale = self.short_side / min(size_hw)
        return max(1, round(size_hw[0] * scale)), max(1, round(size_hw[1] * scale))


PAPER = Windows(size=640, window=384, seams="equal")  # CAT-Seg's, see docs/paper-notes.md
NATIVE = Windows()
MODES: dict[str, Windows | None] = {"whole": None, "paper": PAPER, "native": NATIVE}


def windows_of(windows: object) -> Windows | None:
    """The windows that a name stands for; windows stay as they are.

    Args:
        windows: Some of one's own, a name of `MODES`, or None for a picture seen as a whole.

    Raises:
        ConfigError: If there is nothing of this name.
    """
    if windows is None or isinstance(windows, Windows):
        return windows
    if not isinstance(windows, str) or windows not in MODES:
        raise ConfigError(f"windows {windows!r} are unknown: choose from {', '.join(MODES)}")
    return MODES[windows]


def window_hw(canvas_hw: tuple[int, int], side: int) -> tuple[int, int]:
    """Height and width of the windows of a canvas: a square where the canvas has room for one.

    On a strip windows are as narrow as the canvas, and so long that each holds a sixteenth of the
    square's pixels. So the number of views goes with the canvas's area, never with its length.

    Args:
        canvas_hw: Height and width of the canvas.
        side: Side of the square.
    """
    narrow = min(side, *canvas_hw)
    long = max(side, side * side // (_LARGEST_SHRINK * narrow))
    return min(long, canvas_hw[0]), min(long, canvas_hw[1])


def window_starts(side: int, window: int, overlap: float) -> list[int]:
    """Where windows begin along an axis; the last one ends with the canvas."""
    if window >= side:
        return [0]
    stride = max(1, round(window * (1 - overlap)))
    return [*range(0, side - window, stride), side - window]
