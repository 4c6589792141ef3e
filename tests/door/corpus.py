"""Hostile and unusual picture files, each with what reading it has to end in.

Every file is made here, from a drawn picture of 6 x 9 pixels or from bytes. Other tests import
`make_corpus`, or take the fixture `hostile_corpus`.
"""

import io
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

H, W = 6, 9

DAMAGED = "is cut off, damaged or of a rare kind"
NO_HEADER = DAMAGED + " (its header cannot be read)"
NO_FORMAT = "is of another format than those read (JPEG, PNG, WEBP, BMP, TIFF, GIF, AVIF,"
TOO_LARGE = "megapixels, above the limit of 100: pass max_pixels or tile it"


@dataclass(frozen=True)
class Expected:
    """What reading a file ends in: a picture of `size_hw`, or an error that holds `message`."""

    size_hw: tuple[int, int] | None = None
    message: str = ""

    @property
    def reads(self) -> bool:
        return self.size_hw is not None


Maker = Callable[[Path], object]
READS = Expected(size_hw=(H, W))
READS_TURNED = Expected(size_hw=(W, H))


def fails(message: str) -> Expected:
    return Expected(message=message)


def drawn() -> Image.Image:
    """Red rising to the right, green rising downwards, so that every pixel differs."""
    rgb = np.full((H, W, 3), 60, np.uint8)
    rgb[:, :, 0] = np.linspace(0, 250, W)
    rgb[:, :, 1] = np.linspace(0, 250, H)[:, None]
    return Image.fromarray(rgb)


def grey16() -> Image.Image:
    return Image.fromarray(np.linspace(0, 65_535, H * W).astype(np.uint16).reshape(H, W))


def grey16_big_endian() -> Image.Image:
    swapped = np.asarray(grey16()).astype(">u2").tobytes()
    return Image.frombytes("I;16B", (W, H), swapped)


def floats(*special: float) -> Image.Image:
    values = np.linspace(-3, 7, H * W, dtype=np.float32).reshape(H, W)
    values.flat[: len(special)] = special
    return Image.fromarray(values)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def exif(orientation: object) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def chunk(kind: bytes, data: bytes, *, crc: int | None = None) -> bytes:
    crc = zlib.crc32(kind + data) if crc is None else crc
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png(
    rows: bytes,
    *,
    width: int = W,
    height: int = H,
    depth: int = 8,
    colour: int = 2,
    interlaced: bool = False,
    before: bytes = b"",
    after: bytes = b"",
) -> bytes:
    """A PNG by hand; `rows` holds a filter byte before each row."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    data = chunk(b"IDAT", zlib.compress(rows)) if rows else b""
    return SIGNATURE + chunk(b"IHDR", header) + before + data + after + chunk(b"IEND", b"")


def rows_of(pixels: np.ndarray) -> bytes:
    """The rows of an array for `png`, unfiltered; wider types big-endian."""
    big_endian = pixels.astype(pixels.dtype.newbyteorder(">"))
    return b"".join(b"\0" + row.tobytes() for row in big_endian)


def adam7(pixels: np.ndarray) -> bytes:
    """The rows of an interlaced PNG: the seven passes, empty ones left out."""
    passes = (
        pixels[0::8, 0::8],
        pixels[0::8, 4::8],
        pixels[4::8, 0::4],
        pixels[0::4, 2::4],
        pixels[2::4, 0::2],
        pixels[0::2, 1::2],
        pixels[1::2, :],
    )
    return b"".join(rows_of(part) for part in passes if part.size)


def tiff(*entries: tuple[int, int, int, int], order: str = "<", data: bytes = b"") -> bytes:
    """A TIFF by hand, of entries (tag, type, count, value) and of data that starts at byte 8."""
    start = 8 + len(data)
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, start)
    body = struct.pack(order + "H", len(entries))
    for tag, kind, count, value in entries:
        form = "HHIHxx" if kind == 3 and count == 1 else "HHII"
        body += struct.pack(order + form, tag, kind, count, value)
    return head + data + body + struct.pack(order + "I", 0)


def tiff_rgb16(order: str) -> bytes:
    pixels = (np.asarray(drawn()).astype(np.uint16) * 257).astype(order + "u2").tobytes()
    depths = struct.pack(order + "3H", 16, 16, 16)
    return tiff(
        (256, 3, 1, W),
        (257, 3, 1, H),
        (258, 3, 3, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 8 + len(depths)),
        (277, 3, 1, 3),
        (278, 3, 1, H),
        (279, 4, 1, len(pixels)),
        order=order,
        data=depths + pixels,
    )


def huge_tiff() -> bytes:
    return tiff(
        (256, 4, 1, 60_000),
        (257, 4, 1, 60_000),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, 8),
        (278, 4, 1, 60_000),
        (279, 4, 1, 16),
        data=bytes(16),
    )


def tiff_without_end() -> bytes:
    """A TIFF whose only directory names itself as the next one."""
    data = bytearray(encoded(drawn(), "TIFF"))
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    struct.pack_into("<I", data, start + 2 + 12 * count, start)
    return bytes(data)


def huge_jpeg() -> bytes:
    data = bytearray(encoded(drawn(), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    struct.pack_into(">HH", data, at, 65_500, 65_500)
    return bytes(data)


def huge_bmp(width: int, height: int) -> bytes:
    data = bytearray(encoded(drawn(), "BMP"))
    struct.pack_into("<ii", data, 18, width, height)
    return bytes(data)


def top_down_bmp() -> bytes:
    data = bytearray(encoded(drawn(), "BMP"))
    struct.pack_into("<i", data, 22, -H)
    return bytes(data)


def huge_webp() -> bytes:
    size = (2**24 - 1).to_bytes(3, "little")[:3]
    small = (200).to_bytes(3, "little")
    body = b"VP8X" + struct.pack("<I", 10) + bytes([2, 0, 0, 0]) + size + small
    body += b"ANIM" + struct.pack("<I", 6) + bytes(6)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def huge_gif() -> bytes:
    data = encoded(drawn(), "GIF")
    return data[:6] + b"\xff\xff\xff\xff" + data[10:]


def jpeg_segment(marker: int, data: bytes) -> bytes:
    """The drawn JPEG with one more segment right after its start."""
    picture = encoded(drawn(), "JPEG")
    return picture[:2] + struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data + picture[2:]


def with_broken_crc(kind: bytes) -> bytes:
    pixels = np.asarray(drawn())
    data = zlib.compress(rows_of(pixels)) if kind == b"IDAT" else b"Comment\0hello"
    broken = chunk(kind, data, crc=12345)
    if kind == b"IDAT":
        return png(b"", before=broken)
    return png(rows_of(pixels), before=broken)


def text_bomb(kind: bytes) -> bytes:
    packed = zlib.compress(bytes(50_000_000), 9)
    head = b"Comment\0\0" if kind == b"zTXt" else b"Comment\0\1\0\0\0"
    return png(rows_of(np.asarray(drawn())), before=chunk(kind, head + packed))


def palette_picture() -> Image.Image:
    return drawn().quantize(16)


def frames(kind: str, **options: Any) -> bytes:
    first = drawn()
    others = [first.transpose(Image.Transpose.FLIP_LEFT_RIGHT), Image.new("RGB", (W, H), "blue")]
    return encoded(first, kind, save_all=True, append_images=others, **options)


def file_of(make: Callable[[], bytes]) -> Maker:
    return lambda path: path.write_bytes(make())


def of(kind: str, image: Callable[[], Image.Image] = drawn, **options: Any) -> Maker:
    """A file that Pillow writes."""
    return file_of(lambda: encoded(image(), kind, **options))


def converted(mode: str) -> Callable[[], Image.Image]:
    return lambda: drawn().convert(mode)


def see_through(mode: str) -> Callable[[], Image.Image]:
    """The drawn picture with an alpha that rises to the right."""

    def make() -> Image.Image:
        alpha = np.tile(np.linspace(0, 255, W).astype(np.uint8), (H, 1))
        image = drawn()
        image.putalpha(Image.fromarray(alpha))
        return image.convert(mode)

    return make


def cut(kind: str, *, keep: float | int, **options: Any) -> Maker:
    """The beginning of a file: a share of it, or that many bytes, or all but that many."""

    def make() -> bytes:
        data = encoded(drawn().resize((90, 60)), kind, **options)
        return data[: int(keep * len(data)) if isinstance(keep, float) else keep]

    return file_of(make)


def raw(data: bytes) -> Maker:
    return lambda path: path.write_bytes(data)


def link(target: str) -> Maker:
    return lambda path: path.symlink_to(target)


def _grey_with_key() -> bytes:
    key = chunk(b"tRNS", struct.pack(">H", 60))
    return png(rows_of(np.full((H, W), 60, np.uint8)), colour=0, before=key)


def _rgb_with_key() -> bytes:
    key = chunk(b"tRNS", struct.pack(">3H", 0, 0, 60))
    return png(rows_of(np.asarray(drawn())), before=key)


def _exif_after_pixels() -> bytes:
    tags = exif(6).tobytes().removeprefix(b"Exif\0\0")
    return png(rows_of(np.asarray(drawn())), after=chunk(b"eXIf", tags))


def _random_bytes() -> bytes:
    return np.random.default_rng(0).bytes(5_000)


_PROFILE = b"this is no colour profile" * 10
_UPSIDE_DOWN_TAGS = b"Exif\0\0II*\0\xff\xff\xff\xff" + b"\1" * 20

CORPUS: dict[str, tuple[Maker, Expected]] = {
    # cut off
    "jpeg_cut_at_2.jpg": (cut("JPEG", keep=2), fails(NO_FORMAT)),
    "jpeg_cut_at_30.jpg": (cut("JPEG", keep=30), fails(DAMAGED)),
    "jpeg_cut_in_the_middle.jpg": (cut("JPEG", keep=0.6), fails(DAMAGED)),
    "jpeg_cut_near_the_end.jpg": (cut("JPEG", keep=0.95), fails(DAMAGED)),
    "jpeg_progressive_cut.jpg": (cut("JPEG", keep=0.7, progressive=True), fails(DAMAGED)),
    "png_cut_in_the_signature.png": (cut("PNG", keep=5), fails(NO_FORMAT)),
    "png_cut_after_the_signature.png": (cut("PNG", keep=8), fails(NO_HEADER)),
    "png_cut_in_the_header.png": (cut("PNG", keep=20), fails(DAMAGED)),
    "png_cut_after_the_header.png": (cut("PNG", keep=33), fails(DAMAGED)),
    "png_cut_in_the_middle.png": (cut("PNG", keep=0.5), fails(DAMAGED)),
    "png_cut_before_its_end.png": (cut("PNG", keep=-12), Expected(size_hw=(60, 90))),
    "gif_cut.gif": (cut("GIF", keep=0.7), fails(DAMAGED)),
    "gif_without_a_frame.gif": (cut("GIF", keep=13), fails(NO_HEADER)),
    "webp_cut.webp": (cut("WEBP", keep=0.6, lossless=True), fails(DAMAGED)),
    "bmp_cut.bmp": (cut("BMP", keep=0.6), fails(DAMAGED)),
    "tiff_cut.tif": (cut("TIFF", keep=0.6), fails(DAMAGED)),
    "tiff_lzw_cut.tif": (cut("TIFF", keep=0.6, compression="tiff_lzw"), fails(DAMAGED)),
    # not a picture
    "empty.png": (raw(b""), fails("is empty (0 bytes)")),
    "one_byte.jpg": (raw(b"\xff"), fails(NO_FORMAT)),
    "text.jpg": (raw(b"This is a letter.\n" * 20), fails(NO_FORMAT)),
    "page.png": (raw(b"<!doctype html><title>404</title>"), fails(NO_FORMAT)),
    "zeros.png": (raw(bytes(2_000)), fails(NO_FORMAT)),
    "random.jpg": (file_of(_random_bytes), fails(NO_FORMAT)),
    "vector.svg": (raw(b'<svg xmlns="http://www.w3.org/2000/svg"/>'), fails(NO_FORMAT)),
    "document.pdf": (raw(b"%PDF-1.7\n1 0 obj\n"), fails(NO_FORMAT)),
    "program.eps": (of("EPS"), fails(NO_FORMAT)),
    "program.jpg": (of("EPS"), fails(NO_FORMAT)),
    "portable.ppm": (of("PPM"), READS),
    "icon.ico": (of("ICO"), fails(NO_FORMAT)),
    "archive.png": (raw(b"PK\x03\x04" + bytes(100)), fails(NO_FORMAT)),
    "phone.heic": (raw(b"\0\0\0\x18ftypheic" + bytes(100)), fails(": ")),
    # under another name
    "png_called.jpg": (of("PNG"), READS),
    "jpeg_called.txt": (of("JPEG"), READS),
    "no_suffix": (of("WEBP"), READS),
    "UPPER.JPG": (of("JPEG"), READS),
    # sizes
    "huge_header.png": (file_of(partial(png, b"", width=60_000, height=60_000)), fails(TOO_LARGE)),
    "a_little_too_large.png": (
        file_of(partial(png, b"", width=10_001, height=10_000)),
        fails(TOO_LARGE),
    ),
    "largest_header.png": (
        file_of(partial(png, b"", width=2**31 - 1, height=2**31 - 1)),
        fails(TOO_LARGE),
    ),
    "huge_header.jpg": (file_of(huge_jpeg), fails(TOO_LARGE)),
    "huge_header.bmp": (file_of(partial(huge_bmp, 60_000, 60_000)), fails(TOO_LARGE)),
    "huge_header.tif": (file_of(huge_tiff), fails(TOO_LARGE)),
    "huge_header.gif": (file_of(huge_gif), fails(TOO_LARGE)),
    "huge_header.webp": (file_of(huge_webp), fails(TOO_LARGE)),
    "zero_width.png": (file_of(partial(png, b"", width=0)), fails(DAMAGED)),
    "zero_size.bmp": (file_of(partial(huge_bmp, 0, 0)), fails(DAMAGED)),
    "one_pixel.png": (of("PNG", lambda: drawn().resize((1, 1))), Expected(size_hw=(1, 1))),
    "one_pixel.jpg": (of("JPEG", lambda: drawn().resize((1, 1))), Expected(size_hw=(1, 1))),
    "one_pixel.gif": (of("GIF", lambda: drawn().resize((1, 1))), Expected(size_hw=(1, 1))),
    "very_wide.png": (of("PNG", lambda: drawn().resize((20_000, 1))), Expected((1, 20_000))),
    "very_high.png": (of("PNG", lambda: drawn().resize((1, 20_000))), Expected((20_000, 1))),
    "very_high.jpg": (of("JPEG", lambda: drawn().resize((1, 20_000))), Expected((20_000, 1))),
    # several frames
    "animated.gif": (file_of(partial(frames, "GIF")), READS),
    "animated.webp": (file_of(partial(frames, "WEBP", lossless=True)), READS),
    "animated.png": (file_of(partial(frames, "PNG")), READS),
    "pages.tif": (file_of(partial(frames, "TIFF")), READS),
    "endless_pages.tif": (file_of(tiff_without_end), READS),
    "stereo.jpg": (file_of(partial(frames, "MPO")), READS),
    # kinds of pixels
    "grey_16_bit.png": (of("PNG", grey16), READS),
    "grey_16_bit.tif": (of("TIFF", grey16), READS),
    "grey_16_bit_big_endian.tif": (of("TIFF", grey16_big_endian), READS),
    "colour_16_bit.png": (
        file_of(lambda: png(rows_of(np.asarray(drawn()).astype(np.uint16) * 257), depth=16)),
        READS,
    ),
    "grey_alpha_16_bit.png": (
        file_of(lambda: png(rows_of(np.full((H, W, 2), 40_000, np.uint16)), depth=16, colour=4)),
        READS,
    ),
    "colour_16_bit.tif": (file_of(partial(tiff_rgb16, "<")), READS),
    "colour_16_bit_big_endian.tif": (file_of(partial(tiff_rgb16, ">")), READS),
    "integers.tif": (of("TIFF", converted("I")), READS),
    "floats.tif": (of("TIFF", floats), READS),
    "floats_with_nan.tif": (
        of("TIFF", partial(floats, np.nan, np.inf, -np.inf)),
        READS,
    ),
    "nothing_but_nan.tif": (of("TIFF", lambda: floats(*[np.nan] * (H * W))), READS),
    "one_bit.png": (of("PNG", converted("1")), READS),
    "one_bit.bmp": (of("BMP", converted("1")), READS),
    "fax.tif": (of("TIFF", converted("1"), compression="group4"), READS),
    "two_bit_grey.png": (
        file_of(lambda: png(b"\0\x1b\x1b\x1b" * H, depth=2, colour=0)),
        READS,
    ),
    "grey.jpg": (of("JPEG", converted("L")), READS),
    "grey_alpha.png": (of("PNG", see_through("LA")), READS),
    "alpha.png": (of("PNG", see_through("RGBA")), READS),
    "alpha.webp": (of("WEBP", see_through("RGBA"), lossless=True), READS),
    "alpha.tif": (of("TIFF", see_through("RGBA")), READS),
    "palette.png": (of("PNG", palette_picture), READS),
    "palette.bmp": (of("BMP", palette_picture), READS),
    "palette_one_transparent.png": (of("PNG", palette_picture, transparency=0), READS),
    "palette_with_alpha.png": (
        of("PNG", palette_picture, transparency=bytes(range(0, 160, 10))),
        READS,
    ),
    "palette_transparent.gif": (of("GIF", palette_picture, transparency=0), READS),
    "palette_missing.png": (
        file_of(lambda: png(rows_of(np.zeros((H, W), np.uint8)), colour=3)),
        fails(DAMAGED),
    ),
    "grey_with_transparent_value.png": (file_of(_grey_with_key), READS),
    "colour_with_transparent_value.png": (file_of(_rgb_with_key), READS),
    "print.jpg": (of("JPEG", converted("CMYK")), READS),
    "print.tif": (of("TIFF", converted("CMYK")), READS),
    "luminance.tif": (of("TIFF", converted("YCbCr")), READS),
    # orientation
    **{
        f"exif_{i}.jpg": (of("JPEG", exif=exif(i)), READS_TURNED if i >= 5 else READS)
        for i in range(1, 9)
    },
    "exif_6.png": (of("PNG", exif=exif(6)), READS_TURNED),
    "exif_6_after_the_pixels.png": (file_of(_exif_after_pixels), READS_TURNED),
    "exif_6.webp": (of("WEBP", exif=exif(6)), READS_TURNED),
    "exif_6.tif": (of("TIFF", exif=exif(6)), READS_TURNED),
    "exif_99.jpg": (of("JPEG", exif=exif(99)), READS),
    "exif_text.jpg": (of("JPEG", exif=b"Exif\0\0II*\0" + bytes(4)), READS),
    "exif_beyond_the_file.jpg": (file_of(partial(jpeg_segment, 0xE1, _UPSIDE_DOWN_TAGS)), READS),
    # damage and excess that does or does not matter
    "bad_profile.jpg": (of("JPEG", icc_profile=_PROFILE), READS),
    "bad_profile.png": (of("PNG", icc_profile=_PROFILE), READS),
    "bad_checksum_of_pixels.png": (file_of(partial(with_broken_crc, b"IDAT")), READS),
    "bad_checksum_of_a_comment.png": (
        file_of(partial(with_broken_crc, b"tEXt")),
        fails(DAMAGED),
    ),
    "too_few_rows.png": (file_of(lambda: png(rows_of(np.asarray(drawn())[:2]))), READS),
    "comment_bomb.png": (file_of(partial(text_bomb, b"zTXt")), fails(DAMAGED)),
    "international_comment_bomb.png": (file_of(partial(text_bomb, b"iTXt")), fails(DAMAGED)),
    "longest_comment.jpg": (file_of(partial(jpeg_segment, 0xFE, b"c" * 65_000)), READS),
    "more_after_the_end.png": (file_of(lambda: encoded(drawn(), "PNG") + b"more" * 99), READS),
    "more_after_the_end.jpg": (file_of(lambda: encoded(drawn(), "JPEG") + b"more" * 99), READS),
    # ways of writing that a decoder may lack
    "interlaced.png": (file_of(lambda: png(adam7(np.asarray(drawn())), interlaced=True)), READS),
    "progressive.jpg": (of("JPEG", progressive=True), READS),
    "top_down.bmp": (file_of(top_down_bmp), READS),
    "deflated.tif": (of("TIFF", compression="tiff_adobe_deflate"), READS),
    # names
    "with space.png": (of("PNG"), READS),
    "déjà vu 天空 🐈.png": (of("PNG"), READS),
    "[1-3]*?.png": (of("PNG"), READS),
    "-rf.png": (of("PNG"), READS),
    "line\nbreak.png": (of("PNG"), READS),
    "line\nbreak and text.png": (
        raw(b"text"),
        fails(r"line\nbreak and text.png' is of another format"),
    ),
    "n" * 240 + ".png": (of("PNG"), READS),
    # not a file
    "folder.jpg": (Path.mkdir, fails("is a folder")),
    "pipe.png": (os.mkfifo, fails("is not a regular file")),
    "link_to_itself.png": (link("link_to_itself.png"), fails("cannot be read")),
    "link_to_nothing.png": (link("nothing at all"), fails("does not exist")),
    "link_to_a_picture.png": (link("with space.png"), READS),
}


def make_corpus(folder: Path) -> dict[str, Expected]:
    """Make every file of the corpus in a folder, and give for each name what it has to end in."""
    for name, (make, _) in CORPUS.items():
        make(folder / name)
    return {name: expected for name, (_, expected) in CORPUS.items()}
