"""What kind of thing a source is, by its content: a picture, a raster of a map, or a film.

A raster is a TIFF with GeoTIFF's keys, a JPEG 2000 file with a place on Earth, or GDAL's VRT. A
film is a file of one of the usual containers, a stream's address, or a camera. All else is a
picture, or is to be refused as one.
"""

import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Literal, get_args

from escnet.data.picture_formats import SIGNATURES, format_of
from escnet.errors import ConfigError, setting
from escnet.files import display_path

Kind = Literal["picture", "raster", "film"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_GEO_KEYS = 34735  # GeoTIFF's directory of keys
_MOST_TAGS = 4096
_HEAD_BYTES = 65_536
_GEO_JP2 = bytes.fromhex("b14bf8bd083d4b43a5ae8cd7d5a6ce03")  # the UUID of a GeoTIFF inside
_GML_JP2 = b"gml.data"
_STREAM = re.compile(r"(?:rtsps?|rtmps?|srt|udp|https?)://", re.IGNORECASE)
_CAMERA = re.compile(r"camera:\d+")
_FILM_SIGNATURES = {
    "Matroska or WebM": b"\x1a\x45\xdf\xa3",
    "FLV": b"FLV\x01",
    "Ogg": b"OggS",
    "ASF": b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
    "MPEG programme stream": b"\0\0\1\xba",
    "MPEG video": b"\0\0\1\xb3",
}
_PACKET = 188  # bytes of a packet of an MPEG transport stream, which begins with "G"
_MOVIE_ATOMS = {b"moov", b"mdat", b"wide", b"free", b"skip"}  # QuickTime without its brand


def kind_of(source: str | Path) -> Kind:
    """What a source is; what cannot be read counts as a picture, whose reader says why."""
    if is_live(str(source)):
        return "film"
    try:
        path = Path(source)
        if not path.is_file():
            return "picture"
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            if _is_film(head):
                return "film"
            is_raster = _is_raster(head) or _has_geo_keys(file)
    except (OSError, ValueError):
        return "picture"
    return "raster" if is_raster else "picture"


def is_live(source: str) -> bool:
    """Whether a source is a stream's address or a camera, such as camera:0."""
    return _STREAM.match(source) is not None or _CAMERA.fullmatch(source) is not None


def common_kind(sources: Sequence[str | Path], asked: str = "auto") -> Kind:
    """The kind of all sources, or the one that the caller asks for.

    Raises:
        ConfigError: If the kind that is asked for is unknown, or the sources are of several kinds.
    """
    if asked != "auto":
        if asked not in KINDS:
            raise ConfigError(
                f"{setting('as')} {asked!r} is unknown: choose from auto, {', '.join(KINDS)}"
            )
        return next(kind for kind in KINDS if kind == asked)
    first: dict[Kind, str | Path] = {}
    for source in sources:
        first.setdefault(kind_of(source), source)
    if len(first) > 1:
        (one, its), (other, others) = list(first.items())[:2]
        raise ConfigError(
            f"{display_path(its)} is a {one} and {display_path(others)} a {other}: name sources of "
            f"one kind, or say {setting('as')} what all are to be read"
        )
    return next(iter(first), "picture")


def _is_film(head: bytes) -> bool:
    if head[4:8] == b"ftyp":
        return format_of(head[:12]) is None
    if head[:4] == b"RIFF":
        return head[8:12] == b"AVI "
    if head[4:8] in _MOVIE_ATOMS:
        return True
    is_packets = len(head) > 2 * _PACKET and all(
        head[place] == ord("G") for place in (0, _PACKET, 2 * _PACKET)
    )
    return is_packets or any(head.startswith(start) for start in _FILM_SIGNATURES.values())


def _is_raster(head: bytes) -> bool:
    if head.startswith(SIGNATURES["JPEG2000"]):
        return _GEO_JP2 in head or _GML_JP2 in head
    return head.lstrip().startswith(b"<VRTDataset")


def _has_geo_keys(file: BinaryIO) -> bool:
    """Whether the first directory of a TIFF, classic or big, has GeoTIFF's keys."""
    file.seek(0)
    head = file.read(16)
    if not head.startswith(SIGNATURES["TIFF"]):
        return False
    order = "<" if head[:2] == b"II" else ">"
    is_big = head[2:4] in {b"+\0", b"\0+"}
    place = struct.unpack_from(order + ("Q" if is_big else "I"), head, 8 if is_big else 4)[0]
    number_form, entry_bytes = ("Q", 20) if is_big else ("H", 12)
    file.seek(place)
    head = file.read(struct.calcsize(number_form))
    if len(head) < struct.calcsize(number_form):
        return False
    number = min(struct.unpack(order + number_form, head)[0], _MOST_TAGS)
    entries = file.read(number * entry_bytes)
    starts = range(0, len(entries) - entry_bytes + 1, entry_bytes)
    return any(struct.unpack_from(order + "H", entries, at)[0] == _GEO_KEYS for at in starts)
