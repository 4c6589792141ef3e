"""What a format is: how the files of one picture are made, and those of a whole folder.

Every file of a picture has its place below the output folder, which follows from the picture alone.
Where a format has one file for all pictures, such as COCO's JSON, each picture has a file of its
own too, its part; the whole is put together from the parts on disk, one after the other. So no
result is kept in memory, and a job that goes on where another stopped ends with the same file.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt, UInt8

from escnet.annotations.georeference import Georeference
from escnet.annotations.palette import class_colours, name_colours
from escnet.annotations.polygons import DEFAULT_TOLERANCE
from escnet.errors import ConfigError, ImageError, OutputError, VocabularyError, setting
from escnet.files import display_path


@runtime_checkable
class PictureResult(Protocol):
    """What formats are made of; a `Segmentation` is one."""

    @property
    def label_map(self) -> UInt[np.ndarray, "H W"]:
        """Indices into `names`, or `void_label`."""

    @property
    def confidence(self) -> Float[np.ndarray, "H W"]:
        """Confidence of each pixel's class."""

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in index order."""

    @property
    def void_label(self) -> int:
        """The value of pixels without a class."""

    @property
    def model(self) -> str:
        """Name of the model."""

    @property
    def picture(self) -> UInt8[np.ndarray, "H W 3"] | None:
        """The picture itself, if it was kept."""

    @property
    def georeference(self) -> Georeference | None:
        """Where on Earth the picture is, if it is known."""


class Place(NamedTuple):
    """Where the files of one picture go, counted from the output folder.

    Attributes:
        stem: How their names begin.
        below: The folder below the output folder, such as "monday/", or "".
        picture: The name of the picture's own file.
        number: The picture's number in its folder, from 1.
    """

    stem: str
    below: str = ""
    picture: str = ""
    number: int = 1

    @property
    def picture_path(self) -> str:
        """The picture's file, counted from the folder that all pictures have in common."""
        return self.below + (self.picture or f"{self.stem}.jpg")


Colour = tuple[int, int, int]  # red, green and blue in 0..255

_COARSEST = 100  # pixels
_CHOICES = {
    "per": ("name", "region"),
    "shape": ("polygon", "rle"),
    "palette": ("names", "index"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatOptions:
    """How files are written; none of this moves a label.

    Attributes:
        tolerance: How coarse polygons may be, in pixels; 0 follows the pixels exactly.
        per: What one annotation covers: all of a "name", or one connected "region".
        shape: How COCO's annotations hold it: as a "polygon", or as run lengths, "rle".
        palette: Colours by what the "names" mean, or by their "index" alone.
        opacity: Share of the colour in overlays, from 0 to 1.
        outlines: Whether overlays show outlines alone.
        only: The names that overlays show; all, if there are none.
        doubtful_below: The confidence below which a pixel is doubtful, from 0 to 1.
        own_colours: Colours that a names file gives to names, for the palette of names.

    Raises:
        ConfigError: If a value is out of range.
    """

    tolerance: float = DEFAULT_TOLERANCE
    per: str = "name"
    shape: str = "polygon"
    palette: str = "names"
    opacity: float = 0.55
    outlines: bool = False
    only: tuple[str, ...] = ()
    doubtful_below: float = 0.5
    own_colours: tuple[tuple[str, Colour], ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance <= _COARSEST:
            raise ConfigError(
                f"{setting('tolerance')} {self.tolerance} is out of range: "
                f"choose from 0 (exact) to {_COARSEST} pixels"
            )
        for name, known in _CHOICES.items():
            if (value := getattr(self, name)) not in known:
                raise ConfigError(
                    f"{setting(name)} {value!r} is unknown: choose from {', '.join(known)}"
                )
        for name in ("opacity", "doubtful_below"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise ConfigError(
                    f"{setting(name)} {value} is out of range: choose one from 0 to 1"
                )

    def check_only(self, names: Sequence[str]) -> None:
        """Make sure that the names that overlays show are among those of the result.

        Raises:
            VocabularyError: If one is not.
        """
        for name in self.only:
            if name not in names:
                known = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
                raise VocabularyError(
                    f"no class name {name!r} to show in overlays: choose from {known}"
                )

    def colours(self, names: Sequence[str]) -> UInt8[np.ndarray, "N 3"]:
        """Red, green, and blue of each name."""
        if self.palette == "index":
            return class_colours(len(names))
        return name_colours(names, dict(self.own_colours))

    def with_colours(self, own: Mapping[str, Colour]) -> "FormatOptions":
        """The same with the colours that a names file gives to names."""
        return replace(self, own_colours=tuple(own.items())) if own else self

    def as_settings(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "tolerance": self.tolerance,
            "per": self.per,
            "shape": self.shape,
            "palette": self.palette,
            "opacity": self.opacity,
            "outlines": self.outlines,
            "only": list(self.only),
            "doubtful_below": self.doubtful_below,
            **({"own_colours": dict(self.own_colours)} if self.own_colours else {}),
        }


class EncodedFile(NamedTuple):
    """A file to write: its path below the output folder, with slashes, and its content."""

    path: str
    content: bytes


class WholeFile(NamedTuple):
    """A file of a whole folder, whose content comes piece by piece."""

    path: str
    content: Iterable[bytes]


@dataclass(frozen=True, slots=True)
class FolderResults:
    """The finished pictures of an output folder, for the files that are about all of them."""

    folder: Path
    names: tuple[str, ...]
    places: Sequence[Place]
    options: FormatOptions = field(default_factory=FormatOptions)


def _no_check(_: Sequence[str]) -> None:
    pass


Encode = Callable[[PictureResult, Place, FormatOptions], Iterator[EncodedFile]]
EncodeWhole = Callable[[FolderResults], Iterator[WholeFile]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One format.

    Attributes:
        about: What it is and what reads it, in one line.
        path: The first file of a picture; {below} and {stem} stand for the picture's place.
        encode: The files of one picture, that of `path` first. None for the format that
            `Segmentation.save` writes itself.
        whole: The files of a whole folder, if there are any.
        whole_paths: Their paths, but for the further pages of one that has several.
        folder: The format's own folder below the output folder, if it has one.
        use: How the program it is for reads it, for the README in its own folder and the docs.
        needs_picture: Whether the result must hold its picture.
        check_names: Raises a `ConfigError` for names that the format cannot hold.
    """

    about: str
    path: str
    encode: Encode | None
    whole: EncodeWhole | None = None
    whole_paths: tuple[str, ...] = ()
    folder: str = ""
    use: str = ""
    needs_picture: bool = False
    check_names: Callable[[Sequence[str]], None] = _no_check

    def is_inside(self, path: str) -> bool:
        """Whether the file lies in the format's own folder."""
        return bool(self.folder) and path.startswith(f"{self.folder}/")

    def first_file(self, place: Place) -> str:
        """The path of a picture's first file below the output folder."""
        return self.path.format(below=place.below, stem=place.stem)

    def parts(self, finished: FolderResults) -> Iterator[tuple[Place, bytes]]:
        """Each picture's place with the content of its first file, read as it is asked for.

        Raises:
            OutputError: If one cannot be read.
        """
        for place in finished.places:
            path = finished.folder / self.first_file(place)
            try:
                content = path.read_bytes()
            except OSError as error:
                raise OutputError(
                    f"{display_path(path)}, a part of a file for the whole folder, cannot be read "
                    f"({error.strerror}): run the job again with --resume"
                ) from error
            yield place, content


def picture_of(result: PictureResult, kind: str) -> UInt8[np.ndarray, "H W 3"]:
    """The picture that a format needs.

    Raises:
        ImageError: If the result does not hold it.
    """
    if result.picture is None:
        raise ImageError(
            f"the result does not hold its picture, which the format {kind} needs: "
            "keep the picture, or save without this format"
        )
    return result.picture


def check_name_count(names: Sequence[str], most: int, kind: str) -> None:
    """Make sure that a format has a value for each name.

    Raises:
        ConfigError: If there are too many.
    """
    if len(names) > most:
        raise ConfigError(
            f"{len(names)} class names are more than the {most} that the format {kind} can hold: "
            "give fewer, or choose another format, such as coco"
        )
