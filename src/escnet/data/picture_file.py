"""A picture's file, opened once and read once: digest and pixels are of the same bytes.

Sizes: H x W pixels.
"""

from contextlib import ExitStack
from hashlib import file_digest
from io import SEEK_END, BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from escnet.data.image import (
    ReadPicture,
    Stream,
    decode_picture,
    header_size,
    open_regular_file,
)
from escnet.data.limits import MAX_PIXELS
from escnet.errors import ImageError
from escnet.files import display_path

if TYPE_CHECKING:
    import hashlib

_MOST_BYTES = 512 * 2**20  # of a file that is held in memory; a larger one is read from the disk


class PictureSource(NamedTuple):
    """Which file a picture is of.

    Attributes:
        file: Its name.
        bytes: Its size.
        sha256: Of its content.
    """

    file: str
    bytes: int
    sha256: str


class PictureFile:
    """An open picture file of which the header has been checked.

    `source` and `read` may be asked for in another thread than the one that opened it. Close it,
    or use it as a context.

    Args:
        path: A regular file, of any name.
        max_pixels: The largest H x W that is read.
        shown: What errors call the file, if not by its path.

    Attributes:
        path: The same.
        num_pixels: By its header.

    Raises:
        ImageError: If there is no such picture, its header is damaged, or it is too large.
    """

    def __init__(
        self, path: str | Path, *, max_pixels: int = MAX_PIXELS, shown: str | None = None
    ) -> None:
        self.path = Path(path)
        self._shown = f"picture {display_path(path if shown is None else shown)}"
        self._max_pixels = max_pixels
        self._content: Stream | None = None
        self._digest: hashlib._Hash | None = None
        with ExitStack() as stack:
            self._stream = stack.enter_context(open_regular_file(self.path, self._shown))
            width, height = header_size(self._stream, shown=self._shown, max_pixels=max_pixels)
            self._open = stack.pop_all()
        self.num_pixels = width * height

    def __enter__(self) -> "PictureFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the file go."""
        self._content = None
        self._open.close()

    @property
    def source(self) -> PictureSource:
        """Name, bytes and SHA-256 of the file.

        Raises:
            ImageError: If it cannot be read.
        """
        digest = self.digest().hexdigest()
        return PictureSource(self.path.name, self._rewound().seek(0, SEEK_END), digest)

    def digest(self) -> "hashlib._Hash":
        """SHA-256 of the content, of the caller's own, so that more can be added to it.

        Raises:
            ImageError: If the file cannot be read.
        """
        if self._digest is None:
            self._digest = file_digest(self._rewound(), "sha256")
        return self._digest.copy()

    def read(self, *, page: int = 1, depth: int | None = None) -> ReadPicture:
        """The picture as it is displayed, with what was done to read it.

        Args:
            page: Of a file with several pages or frames, from 1.
            depth: As in `escnet.data.image.read_image`.

        Raises:
            ImageError: If it cannot be decoded, or has no such page.
        """
        return decode_picture(
            self._rewound(),
            shown=self._shown,
            max_pixels=self._max_pixels,
            page=page,
            depth=depth,
        )

    def _rewound(self) -> Stream:
        """All of the content, at its beginning."""
        try:
            if self._content is None:
                self._stream.seek(0)
                head = self._stream.read(_MOST_BYTES)
                is_whole = len(head) < _MOST_BYTES
                self._content = BytesIO(head) if is_whole else self._stream
            self._content.seek(0)
        except (OSError, ValueError) as error:  # ValueError: it has been closed
            reason = getattr(error, "strerror", None) or error
            raise ImageError(f"{self._shown} cannot be read ({reason}): read it again") from None
        return self._content
