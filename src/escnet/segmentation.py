"""The result for one picture: a label map, its confidence, and the names of its classes.

Sizes: H x W are the picture's own, in the orientation in which it is displayed.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt, UInt8

from escnet.annotations.label_png import encode_label_png
from escnet.annotations.overlay import draw_overlay, encode_overlay
from escnet.annotations.summary import label_counts, mean_confidences, summarise
from escnet.errors import ConfigError, ImageError, OutputError, VocabularyError
from escnet.files import MARK_KEY, make_folder, write_file

FORMATS: Mapping[str, str] = {  # what is written, and how its file's name ends
    "labels": ".labels.png",
    "overlay": ".overlay.jpg",
    "json": ".json",  # last, as it seals the others with their digests
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Segmentation:
    """One label for every pixel of a picture.

    Attributes:
        label_map: Indices into `names`, or `void_label`; uint8 up to 254 names, else uint16.
        confidence: Confidence of each pixel's class, from 0 to 1.
        names: Class names in index order, "background" last where it was asked for.
        picture: The picture itself, for overlays.
        model: Name of the model.
        weights_hash: Digest of the model's weights.
        settings: Everything else that moves a pixel.
        stem: What files of this result are called, such as the picture's file name without suffix.
        source: Name, bytes and SHA-256 of the picture's file; None if it did not come from one.
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

    @property
    def void_label(self) -> int:
        """The value of pixels without a class: 255 in a uint8 label map, 65535 in a uint16 one."""
        return int(np.iinfo(self.label_map.dtype).max)

    def share(self, name: str) -> float:
        """Fraction of all pixels that show the class.

        Raises:
            VocabularyError: If the name is not among `names`.
        """
        counts = label_counts(self.label_map, len(self.names))
        return float(counts[self._index(name)] / max(self.label_map.size, 1))

    def mean_confidence(self, name: str) -> float | None:
        """Mean confidence over the class's own pixels; None if it has none.

        Raises:
            VocabularyError: If the name is not among `names`.
        """
        mean = mean_confidences(self.label_map, self.confidence, len(self.names))[self._index(name)]
        return None if np.isnan(mean) else float(mean)

    def mask(self, name: str) -> Bool[np.ndarray, "H W"]:
        """True where the class is.

        Raises:
            VocabularyError: If the name is not among `names`.
        """
        return self.label_map == self._index(name)

    def summary(self) -> dict[str, Any]:
        """Size, shares, mean confidences, and what they are of and by, as plain values for JSON."""
        summary = summarise(
            self.label_map,
            self.confidence,
            self.names,
            void_label=self.void_label,
            model=self.model,
            weights_hash=self.weights_hash,
            settings=self.settings,
        )
        return summary | {"source": None if self.source is None else dict(self.source)}

    def overlay(
        self, *, opacity: float = 0.55, legend: bool = True
    ) -> UInt8[np.ndarray, "H_out W_out 3"]:
        """The picture washed with the colours of its classes, and a legend beside it.

        Args:
            opacity: Share of the colour, from 0 to 1.
            legend: Whether to add the legend; without it the size stays that of the picture.

        Raises:
            ConfigError: If `opacity` is out of range.
            ImageError: If the result does not hold its picture.
        """
        if not 0 <= opacity <= 1:
            raise ConfigError(f"opacity {opacity} is not a share: choose one from 0 to 1")
        if self.picture is None:
            raise ImageError(
                "the result does not hold its picture, so there is nothing to draw on: "
                "keep the picture, or save without the format overlay"
            )
        return draw_overlay(
            self.picture, self.label_map, self.names, opacity=opacity, legend=legend
        )

    def save(
        self,
        folder: str | Path,
        stem: str | None = None,
        formats: Iterable[str] = tuple(FORMATS),
    ) -> dict[str, Path]:
        """Write the result's files, each atomically: STEM.labels.png, STEM.overlay.jpg, STEM.json.

        STEM.json is written last and holds the others' sizes and SHA-256 digests, so that it tells
        whether the files beside it are its own, and those of the picture's file, if there is one.

        Args:
            folder: Where to; created if it does not exist.
            stem: How the files' names begin; the result's own `stem` if None.
            formats: Some of "labels", "overlay", "json".

        Returns:
            The path of each format's file.

        Raises:
            ConfigError: If a format is unknown.
            ImageError: If an overlay is asked for and the result does not hold its picture.
            OutputError: If a file cannot be written, or `stem` is no file name.
        """
        formats = check_formats(formats)
        stem = self.stem if stem is None else stem
        if Path(stem).name != stem or stem in {"", ".."}:
            raise OutputError(
                f"stem {stem!r} is not the beginning of a file name: leave folders out"
            )
        folder = make_folder(folder)
        paths = {kind: folder / f"{stem}{FORMATS[kind]}" for kind in formats}
        files: dict[str, dict[str, object]] = {}
        for kind, path in paths.items():
            if kind == "json":
                content = to_json(self.summary() | {"files": files})
            else:
                content = self._encoded(kind)
                digest = sha256(content).hexdigest()
                files[kind] = {"file": path.name, "bytes": len(content), "sha256": digest}
            write_file(path, content)
        return paths

    def _encoded(self, kind: str) -> bytes:
        if kind == "labels":
            return encode_label_png(self.label_map, self.names, void_label=self.void_label)
        return encode_overlay(self.overlay())

    def _index(self, name: str) -> int:
        if name not in self.names:
            known = ", ".join(self.names[:20]) + (", ..." if len(self.names) > 20 else "")
            raise VocabularyError(f"no class name {name!r} in this result: choose from {known}")
        return self.names.index(name)


def check_formats(formats: Iterable[str]) -> tuple[str, ...]:
    """The formats, each once, in the order in which they are written.

    Raises:
        ConfigError: If there is none, or one is unknown.
    """
    known = ", ".join(FORMATS)
    formats = tuple(formats)
    for kind in formats:
        if kind not in FORMATS:
            raise ConfigError(f"no format {kind!r}: choose from {known}")
    if not formats:
        raise ConfigError(f"no format is given: choose from {known}")
    return tuple(kind for kind in FORMATS if kind in formats)


def to_marked_json(content: Mapping[str, Any]) -> bytes:
    """`to_json` for a file, with the mark by which a later run knows it."""
    return to_json({MARK_KEY: version("escnet"), **content})


def to_json(content: Mapping[str, Any]) -> bytes:
    """Readable JSON in UTF-8; what is not valid Unicode is escaped."""
    text = json.dumps(content, ensure_ascii=False, indent=2)
    return text.encode("utf-8", "backslashreplace") + b"\n"  # of lone surrogates, JSON's own escape
