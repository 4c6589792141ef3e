"""Films that are written: in pieces, each complete, which are joined without encoding again.

Every frame keeps its time, so films of a varying rate stay in step with their sound.

Sizes: H x W pixels.
"""

from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt

from escnet.errors import EscnetError, OutputError, first_line
from escnet.extras import module_of_extra
from escnet.files import MARK, display_path
from escnet.video.source import FRAME_RATE, Film

TIME_BASE = Fraction(1, 90_000)  # seconds a tick
PIECE_FORMAT = "nut"  # a container that keeps any times, so that pieces join exactly
_COPIED_SOUND = {"aac", "mp3", "ac3", "eac3", "opus", "flac", "alac"}  # that MP4 can hold


class Track:
    """A film under way.

    Args:
        path: Its file.
        codec: "ffv1" keeps every value, "libx264" looks good and is small.
    """

    def __init__(self, path: Path, codec: str) -> None:
        self._path, self._codec = path, codec
        self._av = module_of_extra("av", "video")
        self._container = self._av.open(str(path), "w", format=PIECE_FORMAT)
        self._stream: Any = None

    def add(self, image: UInt[np.ndarray, "..."], time: Fraction) -> None:
        """One more frame: H x W values, or H x W x 3 colours.

        Args:
            image: Of the same size as those before.
            time: In seconds.

        Raises:
            OutputError: If it cannot be written.
        """
        kind = "rgb24" if image.ndim == 3 else {1: "gray", 2: "gray16le"}[image.dtype.itemsize]
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format=kind)
        frame.pts, frame.time_base = round(time / TIME_BASE), TIME_BASE
        try:
            if self._stream is None:
                self._stream = self._new_stream(image.shape[1], image.shape[0], kind)
            self._container.mux(self._stream.encode(frame))
        except (self._av.error.FFmpegError, ValueError, OSError) as error:
            raise _refusal(self._path, error) from error

    def close(self) -> None:
        """Write what is left.

        Raises:
            OutputError: If it cannot be written.
        """
        try:
            if self._stream is not None:
                self._container.mux(self._stream.encode(None))
            self._container.close()
        except (self._av.error.FFmpegError, ValueError, OSError) as error:
            raise _refusal(self._path, error) from error

    def _new_stream(self, width: int, height: int, kind: str) -> Any:
        is_lossless = self._codec == "ffv1"
        # without frames that refer to later ones, pieces can be joined as they are
        options = {"slices": "4"} if is_lossless else {"crf": "20", "preset": "veryfast", "bf": "0"}
        stream = self._container.add_stream(self._codec, rate=FRAME_RATE, options=options)
        stream.width, stream.height = width, height
        stream.pix_fmt = kind if is_lossless else "yuv420p"
        stream.time_base = stream.codec_context.time_base = TIME_BASE
        return stream


def join(path: Path, pieces: Sequence[Path], *, sound: Film | None = None) -> None:
    """Join pieces to one film; its container is told by the suffix.

    Args:
        path: The film.
        pieces: In order, at least one.
        sound: The film whose sound is kept; None for silence.

    Raises:
        OutputError: If it cannot be written.
    """
    av = module_of_extra("av", "video")
    try:
        options = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
        with av.open(str(path), "w", options=options) as out:
            out.metadata["title"] = f"{path.stem}, {MARK}"
            heard, source = _sound(out, sound)
            pictures: Any = None
            for piece in pieces:
                with av.open(str(piece), format=PIECE_FORMAT) as part:
                    own = part.streams.video[0]
                    if pictures is None:
                        pictures = out.add_stream_from_template(own)
                    for packet in part.demux(own):
                        if packet.dts is not None:
                            packet.stream = pictures
                            out.mux(packet)
            if source is not None:
                _copy_sound(out, heard, source)
                source.close()
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise _refusal(path, error) from error


def _sound(out: Any, film: Film | None) -> tuple[Any, Any]:
    """The new sound track, and the open film that it comes from; None and None without one."""
    if film is None or film.is_live:
        return None, None
    with suppress(EscnetError):
        source = film.opened()
        if source.streams.audio:
            track = source.streams.audio[0]
            if track.codec_context.name in _COPIED_SOUND:
                return out.add_stream_from_template(track), source
            return out.add_stream("aac", rate=track.codec_context.sample_rate or 48_000), source
        source.close()
    return None, None


def _copy_sound(out: Any, heard: Any, source: Any) -> None:
    """The sound as far as it can be read, counted from the first picture's time."""
    av = module_of_extra("av", "video")
    track = source.streams.audio[0]
    start = source.streams.video[0].start_time or 0
    shift = start * source.streams.video[0].time_base
    is_copied = track.codec_context.name in _COPIED_SOUND
    with suppress(av.error.FFmpegError):  # a film that breaks off keeps its sound until there
        for packet in source.demux(track):
            if packet.dts is None:
                continue
            behind = round(shift / packet.time_base)
            if is_copied:
                packet.pts, packet.dts = packet.pts - behind, packet.dts - behind
                packet.stream = heard
                out.mux(packet)
                continue
            for frame in packet.decode():
                frame.pts = None  # the encoder counts
                out.mux(heard.encode(frame))
    if not is_copied:
        out.mux(heard.encode(None))


def _refusal(path: Path, error: BaseException) -> OutputError:
    return OutputError(
        f"{display_path(path)} cannot be written ({first_line(error)}): free some space or choose "
        "another folder with --out"
    )
