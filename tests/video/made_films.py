"""Films that tests make."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

FRAME_HW = 32, 48


def square_frames(number: int) -> list[np.ndarray]:
    """A green square that walks to the right over red, in noise."""
    rng = np.random.default_rng(0)
    frames = []
    for index in range(number):
        frame = np.zeros((*FRAME_HW, 3), np.uint8)
        frame[..., 0] = 200
        frame[8:24, 4 + index : 20 + index] = (0, 200, 0)
        frames.append(frame + rng.integers(0, 40, frame.shape, np.uint8))
    return frames


def write_film(
    path: Path,
    frames: Sequence[np.ndarray],
    times: Sequence[float] = (),
    *,
    has_sound: bool = False,
) -> Path:
    """An MP4 without loss; times in seconds, else 25 frames a second."""
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as out:
        stream = out.add_stream("libx264rgb", rate=25, options={"qp": "0", "g": "5", "bf": "0"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "rgb24"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        sound = out.add_stream("aac", rate=16_000) if has_sound else None
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = round(1000 * times[index]) if times else 40 * index
            frame.time_base = Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if sound is not None:
            write_silence(out, sound)
    return path


def write_silence(out: Any, sound: Any) -> None:
    """A second of it."""
    for start in range(0, 16_000, 1024):
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), "s16", "mono")
        silence.sample_rate, silence.pts = 16_000, start
        out.mux(sound.encode(silence))
    out.mux(sound.encode(None))


def turn(path: Path) -> None:
    """Say in an MP4's header that its pictures are to be turned by 90 degrees, clockwise."""
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 4 + 40
    one, minus_one = 1 << 16, -(1 << 16)
    struct.pack_into(">9i", content, place, 0, one, 0, minus_one, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


def read_film(path: Path) -> tuple[list[np.ndarray], list[float]]:
    """Frames as they are stored, and their times."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        kind = "gray" if frames[0].format.name == "gray" else "rgb24"
        return [f.to_ndarray(format=kind) for f in frames], [float(f.time) for f in frames]
