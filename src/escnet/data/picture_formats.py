"""The formats that pictures come in, and what reads each: Pillow, or a plug-in of it.

The content decides, not the suffix. HEIC and JPEG XL need the packages of the extra `pictures`,
which are loaded when the first such file is met.
"""

from collections.abc import Callable

from escnet.errors import ImageError

EXTRA = "pip install 'escnet[pictures]'"
PLUGIN_FORMATS = ("HEIF", "JXL")
PICTURE_FORMATS = (
    *("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "JPEG2000", "PPM"),
    *PLUGIN_FORMATS,
)  # as Pillow and its plug-ins call them
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"),
    *(".avif", ".jp2", ".j2k", ".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif", ".jxl"),
)
SIGNATURES = {  # how files of a format begin, whatever comes after
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n",),
    "WEBP": (b"RIFF",),
    "BMP": (b"BM",),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "GIF": (b"GIF8",),
    "JPEG2000": (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
    "JXL": (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"),
}
BEGINNING_BYTES = 12  # that tell formats apart
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}


def format_of(beginning: bytes) -> str | None:
    """The format of a file that begins so; None if it is none of those that have a signature."""
    if beginning[4:8] == b"ftyp":
        brand = beginning[8:12]
        return "HEIF" if brand in _HEIF_BRANDS else "AVIF" if brand in _AVIF_BRANDS else None
    return next((kind for kind, starts in SIGNATURES.items() if beginning.startswith(starts)), None)


def load_plugin(kind: str, shown: str) -> None:
    """Make Pillow read a format that it needs a plug-in for; for others nothing is done.

    Args:
        kind: The format.
        shown: What an error calls the picture.

    Raises:
        ImageError: If the plug-in is not installed.
    """
    if (register := _PLUGINS.get(kind)) is None:
        return
    try:
        register()
    except ImportError:
        noun = "HEIC" if kind == "HEIF" else "JPEG XL"
        raise ImageError(
            f"{shown} is {noun}, which a plug-in of Pillow reads: {EXTRA}, or convert it to JPEG"
        ) from None


def _heif() -> None:
    import pillow_heif  # noqa: PLC0415 -- of an extra

    pillow_heif.register_heif_opener()


def _jpeg_xl() -> None:
    import pillow_jxl  # noqa: F401, PLC0415 -- of an extra; it registers itself


_PLUGINS: dict[str, Callable[[], None]] = {"HEIF": _heif, "JXL": _jpeg_xl}
