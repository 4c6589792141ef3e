"""The result for one picture: a label map, its confidence, and the names of its classes.

Sizes: H x W are the picture's own, in the orientation in which it is displayed.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float16, UInt, UInt8
from PIL import Image

from escnet.annotations.format import Colour, EncodedFile, FormatOptions, Place, picture_of
from escnet.annotations.georeference import Georeference
from escnet.annotations.groups import (
    groups_in,
    merged_highest,
    merged_ranks,
    regrouped,
    summarise_groups,
)
from escnet.annotations.json_text import to_json
from escnet.annotations.label_dtype import label_dtype
from escnet.annotations.overlay import draw_overlay
from escnet.annotations.palette import name_colours
from escnet.annotations.registry import (
    DEFAULT_FORMATS,
    FORMATS,
    check_formats,
    write_format_file,
    write_whole_files,
)
from escnet.annotations.summary import label_counts, mean_confidences, summarise
from escnet.annotations.tidy import fill_holes as filled_holes
from escnet.annotations.tidy import merge_small_regions
from escnet.class_lists.groups import level_of
from escnet.errors import ConfigError, OutputError, VocabularyError
from escnet.files import make_folder


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Segmentation:
    """One label for every pixel of a picture.

    Attributes:
        label_map: Indices into `names`, or `void_label`; uint8 up to 254 names, else uint16.
        confidence: Confidence of each pixel's class, from 0 to 1.
        names: Class names in index order, "background" last where it was asked for.
        presence: The probability that the picture shows each name at all, from 0 to 1, NaN for the
            background; None if it is not known.
        picture: The picture itself, for overlays.
        model: Name of the model.
        weights_hash: Digest of the model's weights.
        settings: Everything else that moves a pixel.
        stem: What files of this result are called, such as the picture's file name without suffix.
        source: Name, bytes and SHA-256 of the picture's file; None if it did not come from one.
        reading: How the file was read: the EXIF orientation that was applied, the values that
            became 0 and 255 (None for bytes), which page of how many; None without a file.
        georeference: Where on Earth the picture is, if it is known.
        scores: Confidence of each name but the background at each place, on the grid that the model
            answers on, which covers the whole picture; None unless it was asked for.
        top_names: The best names of each pixel as indices into `names`, its own first, as it was
            before anything became void or was tidied; `void_label` where there are fewer names.
            None unless they were asked for.
        top_probabilities: Theirs, from 0 to 1.
        paths: For each name the groups that it lies in, the outermost first, and itself; empty if
            there are no groups.
        own_colours: Colours that a names file gives to names and groups.
    """

    label_map: UInt[np.ndarray, "H W"]
    confidence: Float[np.ndarray, "H W"]
    names: tuple[str, ...]
    picture: UInt8[np.ndarray, "H W 3"] | None = None
    model: str = ""
    weights_hash: str = ""
    settings: Mapping[str, object] = field(default_factory=dict)
    stem: str = "picture"
    source: Mapping[str, object] | None = None
    reading: Mapping[str, object] | None = None
    georeference: Georeference | None = None
    presence: Float[np.ndarray, " N"] | None = None
    scores: Float16[np.ndarray, "M h w"] | None = None
    top_names: UInt[np.ndarray, "K H W"] | None = None
    top_probabilities: Float[np.ndarray, "K H W"] | None = None
    paths: tuple[tuple[str, ...], ...] = ()
    own_colours: Mapping[str, Colour] = field(default_factory=dict)

    @property
    def void_label(self) -> int:
        """The value of pixels without a class: 255 in a uint8 label map, 65535 in a uint16 one."""
        return int(np.iinfo(self.label_map.dtype).max)

    def share(self, name: str) -> float:
        """Fraction of all pixels that show the class, or one of a group.

        Raises:
            VocabularyError: If the name is not among `names` and is no group of them.
        """
        counts = label_counts(self.label_map, len(self.names))
        return float(counts[self._indices(name)].sum() / max(self.label_map.size, 1))

    def mean_confidence(self, name: str) -> float | None:
        """Mean confidence over the own pixels of the class, or of a group; None if it has none.

        Raises:
            VocabularyError: If the name is not among `names` and is no group of them.
        """
        own = self.confidence[self.mask(name)]
        return float(own.mean(dtype=np.float64)) if own.size else None

    def mask(self, name: str) -> Bool[np.ndarray, "H W"]:
        """True where the class is, or one of a group.

        Raises:
            VocabularyError: If the name is not among `names` and is no group of them.
        """
        return np.isin(self.label_map, self._indices(name))

    def at_level(self, level: int) -> "Segmentation":
        """The result in groups: a group has the pixels of all its labels.

        Args:
            level: 1 for the outermost groups, 2 for those within them, and so on; a name that lies
                less deep stays as it is.

        Raises:
            ConfigError: If there is no such level.
        """
        names, index = level_of(self.paths or [(name,) for name in self.names], level)
        dtype = label_dtype(len(names))
        top = self.top_names, self.top_probabilities
        if self.top_names is not None and self.top_probabilities is not None:
            ranks = regrouped(self.top_names, index, dtype)
            top = merged_ranks(ranks, self.top_probabilities)
        called = {path[min(level, len(path)) - 1]: path[:level] for path in self.paths}
        return replace(
            self,
            label_map=regrouped(self.label_map, index, dtype),
            names=names,
            presence=None if self.presence is None else merged_highest(self.presence, index),
            scores=None if self.scores is None else merged_highest(self.scores, index),
            paths=tuple(called.values()),
            settings={**self.settings, "level": level},
            top_names=top[0],
            top_probabilities=top[1],
        )

    def to_numpy(self) -> UInt[np.ndarray, "H W"]:
        """A copy of the label map."""
        return self.label_map.copy()

    def to_pil(self) -> Image.Image:
        """The label map as a Pillow image: of up to 254 names in their colours, else of 16 bits."""
        image = Image.fromarray(self.label_map.copy())
        if self.label_map.dtype == np.uint8:
            palette = np.zeros((256, 3), np.uint8)  # void is black
            palette[: len(self.names)] = name_colours(self.names, self.own_colours)
            image.putpalette(palette.tobytes())
        return image

    def to_torch(self) -> Any:
        """The label map as a tensor of int64, as PyTorch's losses and metrics take it."""
        torch = import_module("torch")  # results work without
        return torch.from_numpy(self.label_map.astype(np.int64))

    def summary(self) -> dict[str, Any]:
        """Size, shares and mean confidences, with model, settings and file, as values for JSON."""
        summary = summarise(
            self.label_map,
            self.confidence,
            self.names,
            void_label=self.void_label,
            model=self.model,
            weights_hash=self.weights_hash,
            settings=self.settings,
            presence=self.presence,
        )
        told = {"source": self.source, "reading": self.reading}
        if any(len(path) > 1 for path in self.paths):
            counts = label_counts(self.label_map, len(self.names)).tolist()
            means = mean_confidences(self.label_map, self.confidence, len(self.names)).tolist()
            summary["groups"] = summarise_groups(self.paths, counts, means, self.label_map.size)
        return summary | {key: None if one is None else dict(one) for key, one in told.items()}

    def overlay(
        self,
        *,
        opacity: float = 0.55,
        legend: bool = True,
        palette: str = "names",
        outlines: bool = False,
        only: Iterable[str] = (),
    ) -> UInt8[np.ndarray, "H_out W_out 3"]:
        """The picture washed with the colours of its classes, and a legend beside it.

        Args:
            opacity: Share of the colour, from 0 to 1.
            legend: Whether to add the legend; without it the size stays that of the picture.
            palette: Colours by what the "names" mean, or by their "index" alone.
            outlines: Whether to draw the classes' outlines alone, in their colours.
            only: The names to show, if not all; elsewhere the picture stays as it is.

        Raises:
            ConfigError: If a setting is out of range.
            ImageError: If the result does not hold its picture.
            VocabularyError: If a name of `only` is not among `names`.
        """
        only = tuple(only)
        options = FormatOptions(palette=palette, opacity=opacity, only=only)
        options = options.with_colours(self.own_colours)
        options.check_only(self.names)
        return draw_overlay(
            picture_of(self, "overlay"),
            self.label_map,
            self.names,
            opacity=opacity,
            legend=legend,
            colours=options.colours(self.names),
            outlines=outlines,
            only=only,
        )

    def tidied(self, *, min_area: int = 0, fill_holes: int = 0) -> "Segmentation":
        """The result without specks and small holes; its settings state both.

        The confidence of pixels that change their name becomes 0.

        Args:
            min_area: Regions of fewer pixels go to the neighbour with the longest border.
            fill_holes: Holes of up to this many pixels within one name become that name; 0 fills
                none. Done before `min_area`.

        Raises:
            ConfigError: If one is negative.
        """
        for value in (min_area, fill_holes):
            if value < 0:
                raise ConfigError(f"{value} is not a number of pixels: choose 0 or more")
        label_map = merge_small_regions(
            filled_holes(self.label_map, max_area=fill_holes), min_area=min_area
        )
        confidence = np.where(label_map == self.label_map, self.confidence, np.float32(0))
        settings = {**self.settings, "min_area": min_area, "fill_holes": fill_holes}
        return replace(self, label_map=label_map, confidence=confidence, settings=settings)

    def save(
        self,
        folder: str | Path,
        stem: str | None = None,
        formats: Iterable[str] = DEFAULT_FORMATS,
        *,
        options: FormatOptions | None = None,
    ) -> dict[str, Path]:
        """Write the result's files, each atomically, such as STEM.labels.png and STEM.json.

        STEM.json is written last. It holds size and SHA-256 of the other files, and of the
        picture's file if there is one, so that a later run can tell whether they belong together.
        Of a format with one file for many pictures this writes the picture's part, which is
        complete by itself; `save_all` makes the whole.

        Args:
            folder: Where to; created if it does not exist.
            stem: How the files' names begin; the result's own `stem` if None.
            formats: Some of `escnet.annotations.registry.FORMATS`.
            options: How the files are written.

        Returns:
            The path of each format's first file.

        Raises:
            ConfigError: If a format is unknown, or cannot hold the names.
            ImageError: If a format needs the picture and the result does not hold it.
            OutputError: If a file cannot be written, or `stem` is no file name.
        """
        stem = self.stem if stem is None else stem
        if Path(stem).name != stem or stem in {"", ".."}:
            raise OutputError(
                f"stem {stem!r} is not the beginning of a file name: leave folders out"
            )
        place = Place(stem, picture=picture_name(self.source, stem))
        return self.save_at(folder, place, formats, options or FormatOptions())

    def save_at(
        self, folder: str | Path, place: Place, formats: Iterable[str], options: FormatOptions
    ) -> dict[str, Path]:
        """Write the result's files as `save` does, as one picture among those of a folder.

        Args:
            folder: The output folder of all pictures; created if it does not exist.
            place: The picture's place below it.
            formats: Some of `escnet.annotations.registry.FORMATS`.
            options: How the files are written.

        Raises:
            ConfigError: If a format is unknown, or cannot hold the names.
            ImageError: If a format needs the picture and the result does not hold it.
            OutputError: If a file cannot be written.
        """
        kinds, options = check_formats(formats, self.names), options.with_colours(self.own_colours)
        folder = make_folder(folder)
        paths = {kind: folder / FORMATS[kind].first_file(place) for kind in kinds}
        beside = paths.get("json", folder / FORMATS["json"].first_file(place)).parent
        sealed: dict[str, object] = {}
        for kind, path in paths.items():
            encode = FORMATS[kind].encode
            if encode is None:
                content = {**self.summary(), "format_options": options.as_settings()}
                files = [
                    EncodedFile(
                        path.relative_to(folder).as_posix(), to_json(content | {"files": sealed})
                    )
                ]
            else:
                files = list(encode(self, place, options))
            for file in files:
                write_format_file(folder, FORMATS[kind], file.path, file.content)
            first, *more = (_seal(folder / file.path, file.content, beside) for file in files)
            sealed[kind] = first | ({"more": more} if more else {})
        return paths

    def _indices(self, name: str) -> list[int]:
        """Those of the name, or of the names in a group."""
        for group in groups_in(self.paths):
            if group.name == name:
                return list(group.labels)
        if name not in self.names:
            known = ", ".join(self.names[:20]) + (", ..." if len(self.names) > 20 else "")
            raise VocabularyError(f"no class name {name!r} in this result: choose from {known}")
        return [self.names.index(name)]


def picture_name(source: Mapping[str, object] | None, stem: str) -> str:
    """The name of a result's picture file, which is made up if it did not come from one."""
    return f"{stem}.jpg" if source is None else str(source["file"])


def _seal(path: Path, content: bytes, beside: Path) -> dict[str, object]:
    """What STEM.json, in the folder `beside`, says of a file."""
    file = Path(os.path.relpath(path, beside)).as_posix()
    return {"file": file, "bytes": len(content), "sha256": sha256(content).hexdigest()}


def save_all(
    results: Iterable[Segmentation],
    folder: str | Path,
    formats: Iterable[str] = DEFAULT_FORMATS,
    *,
    options: FormatOptions | None = None,
) -> list[Path]:
    """Write the files of many results, and those that are about all of them, such as coco.json.

    One result is held at a time, so `results` may be a generator over any number of pictures.

    Args:
        results: All of the same names; files are called after each one's `stem`.
        folder: Where to; created if it does not exist.
        formats: Some of `escnet.annotations.registry.FORMATS`.
        options: How the files are written.

    Returns:
        The paths of the files that are about all results.

    Raises:
        ConfigError: If a format is unknown, or cannot hold the names.
        ImageError: If a format needs pictures and a result does not hold its own.
        OutputError: If a file cannot be written, or two results have one stem.
        VocabularyError: If results have different names.
    """
    formats, options = tuple(formats), options or FormatOptions()
    names: tuple[str, ...] | None = None
    own_colours: Mapping[str, Colour] = {}
    places: dict[str, Place] = {}
    for number, result in enumerate(results, 1):
        if names is None:
            names, own_colours = result.names, result.own_colours
        if result.names != names:
            raise VocabularyError(
                f"result {number}, {result.stem!r}, has other class names than the first: "
                "files for a whole folder hold results of the same names"
            )
        if result.stem.casefold() in places:
            raise OutputError(f"two results are called {result.stem!r}: give each its own stem")
        result.save(folder, formats=formats, options=options)
        places[result.stem.casefold()] = Place(
            result.stem, picture=picture_name(result.source, result.stem), number=number
        )
    if names is None:
        return []
    options = options.with_colours(own_colours)
    whole = write_whole_files(folder, names, list(places.values()), formats, options)
    return [path for paths in whole.values() for path in paths]
