"""Pictures with texts but no label maps: which are shown at a step, and with which texts.

As with labelled pictures, the number of a picture in the run decides everything. All texts of a
step are known without a look at its pictures, so that every process compares its own pictures with
the same texts.

Sizes: M texts of a step, s the network's side.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from escnet.data.picture_formats import IMAGE_SUFFIXES
from escnet.errors import DatasetError
from escnet.files import shown_path
from escnet.small_file import SmallFile
from escnet.training.features import whole_view
from escnet.training.mixture import Mixture

_TEXTS_FILE = SmallFile(
    noun="", error=DatasetError, cure="it holds {STEM: [text, ...]}", most_bytes=2**30
)
_VIEW, _TEXTS, _ORDER = 4, 5, 6  # kinds of chance, beside those of the labelled pictures


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedPictures:
    """Pictures with their texts; made by `read`.

    Attributes:
        paths: Of the pictures.
        texts: All different texts.
        rows: For each picture the rows of its texts.
    """

    paths: tuple[Path, ...]
    texts: tuple[str, ...]
    rows: tuple[frozenset[int], ...]

    @classmethod
    def read(cls, root: Path) -> "TaggedPictures":
        """The pictures of a folder with images/ and texts.json; none is opened.

        Raises:
            DatasetError: If it has no such files, or a picture of texts.json is missing.
        """
        table = _table_of(root / "texts.json")
        files = _by_stem(root / "images")
        if missing := sorted(set(table) - set(files)):
            raise DatasetError(
                f"{shown_path(root)} has texts for {missing[0]!r}, but no such picture in images/ "
                f"({len(missing)} missing): leave them out, or copy the folder again"
            )
        row: dict[str, int] = {}
        rows = tuple(
            frozenset(row.setdefault(text, len(row)) for text in texts) for texts in table.values()
        )
        return cls(paths=tuple(files[stem] for stem in table), texts=tuple(row), rows=rows)

    def content_hash(self) -> str:
        """A hash of the pictures' names and of what their texts say."""
        digest = sha256()
        for path, rows in zip(self.paths, self.rows, strict=True):
            said = json.dumps([path.stem, sorted(self.texts[row] for row in rows)])
            digest.update(f"{said}\n".encode())
        return digest.hexdigest()

    def series(self, seed: int) -> Mixture:
        """Which picture comes when."""
        return Mixture([len(self.paths)], [1.0], seed=seed + _ORDER)

    def texts_of_step(
        self, pictures: Sequence[int], num_texts: int, *, seed: int, step: int
    ) -> Int[np.ndarray, " M"]:
        """Rows of the texts of a step: one of each picture, then others, none twice.

        Args:
            pictures: All pictures of the step.
            num_texts: M, unless there are more pictures or fewer texts.
            seed: Of the run.
            step: In the run.
        """
        random = np.random.default_rng([seed, _TEXTS, step])
        own = {int(random.choice(sorted(self.rows[picture]))) for picture in pictures}
        num_others = max(0, num_texts - len(own))
        drawn = random.permutation(len(self.texts))[: num_texts + len(own)].tolist()
        others = [text for text in drawn if text not in own][:num_others]
        return np.array([*sorted(own), *others], np.int64)

    def matches(self, pictures: Sequence[int], texts: Int[np.ndarray, " M"]) -> Bool[Tensor, "B M"]:
        """Which of the texts are true of which picture, as far as anybody said so."""
        return torch.tensor([[int(t) in self.rows[picture] for t in texts] for picture in pictures])

    def view(self, picture: int, side: int, *, seed: int, number: int) -> Float[Tensor, "3 s s"]:
        """The whole picture in a square, mirrored every other time.

        Raises:
            ImageError: If it cannot be read.
        """
        image = whole_view(self.paths[picture], side)
        is_mirrored = np.random.default_rng([seed, _VIEW, number]).integers(2)
        return image.flip(2) if is_mirrored else image


def _table_of(path: Path) -> dict[str, list[str]]:
    table = _TEXTS_FILE.object_of(path)
    if not table:
        raise DatasetError(f"{shown_path(path)} holds no texts: write {{STEM: [text, ...]}}")
    for stem, texts in table.items():
        are_texts = isinstance(texts, list) and all(isinstance(t, str) and t for t in texts)
        if not are_texts or not texts:
            raise DatasetError(f"{shown_path(path)} has no list of texts for {stem!r}: give one")
    return table


def _by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DatasetError(f"{shown_path(folder)} is no folder: pictures with texts lie there")
    return {p.stem: p for p in sorted(folder.iterdir()) if p.suffix.lower() in IMAGE_SUFFIXES}
