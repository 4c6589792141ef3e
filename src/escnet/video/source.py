"""Frames of a film, a stream, a camera, or a folder of pictures, one at a time and upright.

PyAV decodes films, of the extra `video`. A film that breaks off gives the frames before the break.

Sizes: H x W pixels.
"""

import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from escnet.data.image import read_image
from escnet.data.limits import MAX_PIXELS
from escnet.data.picture_search import find_images
from escnet.data.source_kinds import is_live
from escnet.errors import EscnetError, ImageError, first_line
from escnet.extras import module_of_extra
from escnet.files import display_path

FRAME_RATE = 25  # of a folder of frames, and of films that do not say theirs
_PATIENCE = 10.0  # seconds that a stream's server may take
_CAMERAS = {"linux": ("/dev/video{}", "v4l2"), "darwin": ("{}", "avfoundation")}


class Frame(NamedTuple):
    """One frame.

    Attributes:
        number: From 0.
        time: In seconds from the first frame's.
        pixels: As displayed.
    """

    number: int
    time: Fraction
    pixels: UInt8[np.ndarray, "H W 3"]


class Film:
    """A source of frames.

    Args:
        source: A file, an address such as rtsp://..., camera:0, or a folder of pictures.
        max_pixels: The largest frame that is read.

    Attributes:
        source: The same.
        is_live: Whether its frames come only once.
        fault: Why it ended before its end; empty if it did not. Known after the frames.
    """

    def __init__(self, source: str | Path, *, max_pixels: int = MAX_PIXELS) -> None:
        self.source = str(source)
        self.is_live = is_live(self.source)
        self.fault = ""
        self._max_pixels = max_pixels
        self._shown = f"film {display_path(self.source)}"
        self._pictures: list[Path] = []
        if not self.is_live and Path(source).is_dir():
            self._pictures = find_images(self.source)

    @property
    def stem(self) -> str:
        """How files about it are called."""
        if self.is_live:
            return "".join(c if c.isalnum() else "-" for c in self.source).strip("-")
        path = Path(self.source)
        return path.resolve().name if self._pictures else path.stem

    @property
    def identity(self) -> dict[str, object]:
        """Which film it is: name, and of a file bytes and when it was changed.

        Raises:
            ImageError: If there is no such film.
        """
        if self.is_live:
            return {"address": self.source}
        if self._pictures:
            stats = [path.stat() for path in self._pictures]
            newest = max(stat.st_mtime_ns for stat in stats)
            total = sum(stat.st_size for stat in stats)
            return {"folder": self.stem, "frames": len(stats), "bytes": total, "newest_ns": newest}
        try:
            stat = Path(self.source).stat()
        except OSError as error:
            raise ImageError(f"{self._shown} cannot be read ({_reason(error)})") from None
        name = Path(self.source).name
        return {"file": name, "bytes": stat.st_size, "modified_ns": stat.st_mtime_ns}

    def check(self) -> int:
        """Look at the film before a model is loaded.

        Returns:
            About how many frames it has; 0 if nobody knows.

        Raises:
            ImageError: If it cannot be opened, or has no pictures.
            ConfigError: If PyAV is not installed.
        """
        if self._pictures:
            return len(self._pictures)
        with self.opened() as container:
            track = container.streams.video[0]
            if track.frames or not track.average_rate or not container.duration:
                return int(track.frames)
            return round(container.duration / 1_000_000 * track.average_rate)

    def opened(self) -> Any:
        """PyAV's container, with a picture track.

        Raises:
            ImageError: If it cannot be opened, or has no pictures.
        """
        av = module_of_extra("av", "video")
        address, kind = self.source, None
        if address.startswith("camera:"):
            form, kind = _CAMERAS.get(sys.platform, ("{}", None))
            address = form.format(address.partition(":")[2])
        elif not self.is_live:
            address = f"file:{address}"  # a colon in a name is no protocol
        options = {"rtsp_transport": "tcp"} if self.source.lower().startswith("rtsp") else {}
        timeout = _PATIENCE if self.is_live else None
        try:
            container = av.open(address, format=kind, options=options, timeout=timeout)
        except (av.error.FFmpegError, ValueError, OSError) as error:
            cure = "check the address" if self.is_live else "fetch or export it again"
            raise ImageError(f"{self._shown} cannot be opened ({_reason(error)}): {cure}") from None
        if not container.streams.video:
            others = _tracks(container)
            container.close()
            raise ImageError(f"{self._shown} has no pictures, only {others}")
        return container

    def frames(self) -> Iterator[Frame]:
        """All frames, in the order in which they are shown.

        Raises:
            ImageError: If there is none.
        """
        last = None
        for last in self._read_pictures() if self._pictures else self._decoded():
            yield last
        if last is None:
            reason = f" ({self.fault})" if self.fault else ""
            raise ImageError(f"{self._shown} has no frame that can be read{reason}")

    def _read_pictures(self) -> Iterator[Frame]:
        for index, path in enumerate(self._pictures):
            try:
                pixels = read_image(path, max_pixels=self._max_pixels)
            except EscnetError as error:
                self.fault = error.message
                return
            yield Frame(index, Fraction(index, FRAME_RATE), pixels)

    def _decoded(self) -> Iterator[Frame]:
        with self.opened() as container:
            track = container.streams.video[0]
            self._check_size(track)
            clock = _Clock(Fraction(track.average_rate or FRAME_RATE))
            shape: tuple[int, ...] = ()
            for index, frame in enumerate(self._raw_frames(container, track)):
                pixels = _upright(frame)
                if index and pixels.shape != shape:
                    self.fault = f"frame {index} has another size than those before"
                    return
                shape = pixels.shape
                yield Frame(index, clock.time_of(frame), pixels)

    def _raw_frames(self, container: Any, track: Any) -> Iterator[Any]:
        """PyAV's frames; what went wrong is noted, and whole packets after a damaged one count."""
        av = module_of_extra("av", "video")
        track.thread_type = "AUTO"
        packets, number = container.demux(track), 0
        while True:
            try:
                decoded = next(packets).decode()
            except StopIteration:
                break
            except av.error.InvalidDataError as error:
                self.fault = _reason(error)
                if not self.is_live:
                    continue
                return
            except (av.error.FFmpegError, ValueError, OSError) as error:
                self.fault = _reason(error)
                return
            number += len(decoded)
            yield from decoded
        if not self.fault and number < track.frames:
            self.fault = f"it ends after {number} of {track.frames} frames"

    def _check_size(self, track: Any) -> None:
        width, height = track.codec_context.width, track.codec_context.height
        if width * height > self._max_pixels:
            raise ImageError(
                f"{self._shown} has frames of {width} x {height} pixels, above the limit of "
                f"{self._max_pixels}: pass --max-pixels"
            )


class _Clock:
    """The times of frames, from the first one's on; never backwards, as after a stream's break."""

    def __init__(self, rate: Fraction) -> None:
        self._step = 1 / rate
        self._first: Fraction | None = None
        self._time: Fraction | None = None

    def time_of(self, frame: Any) -> Fraction:
        moment = None
        if frame.pts is not None and frame.time_base:
            moment = Fraction(frame.pts * frame.time_base)
            self._first = moment if self._first is None else self._first
            moment -= self._first
        if self._time is None:
            self._time = moment or Fraction(0)
        elif moment is None or moment <= self._time:
            self._time += self._step
        else:
            self._time = moment
        return self._time


def _upright(frame: Any) -> UInt8[np.ndarray, "H W 3"]:
    """A frame as it is displayed; a film says by how many degrees it is turned."""
    pixels = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))


def _tracks(container: Any) -> str:
    return ", ".join(sorted({track.type for track in container.streams})) or "nothing at all"


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None)
    return text.lower() if isinstance(text, str) else first_line(error)
