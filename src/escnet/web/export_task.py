"""Label maps, the service's own or corrected ones, as files in any format; runs in a worker.

Sizes: H x W pixels.
"""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from escnet.annotations.format import FormatOptions
from escnet.annotations.registry import FORMATS
from escnet.errors import ImageError, OutputError
from escnet.segmentation import Segmentation, save_all
from escnet.web.limits import Limits
from escnet.web.messages import AskedExport, Names
from escnet.web.names import client_vocabulary
from escnet.web.pictures import read_labels, read_within
from escnet.web.refusal import Refusal
from escnet.web.requests import Upload
from escnet.web.worker import Engine

# A label map tells no second name of a pixel, and no score.
EXPORT_FORMATS = {k: form for k, form in FORMATS.items() if k not in {"top3", "scores"}}
_STORED = {".png", ".jpg"}  # packed already


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportTask:
    """Pictures with their label maps, to be written as files.

    Attributes:
        pictures: Their files.
        label_maps: One for each picture.
        names: As in `client_vocabulary`.
        asked: The rest of the request.
    """

    pictures: list[Upload]
    label_maps: list[Upload]
    names: Names | bytes
    asked: AskedExport

    def run(self, engine: Engine, limits: Limits) -> bytes:
        """A zip with the files that `escnet segment` would write."""
        vocabulary = client_vocabulary(self.names, limits, background=self.asked.background)
        options = FormatOptions(
            tolerance=self.asked.tolerance,
            per=self.asked.per,
            shape=self.asked.shape,
            opacity=self.asked.opacity,
            outlines=self.asked.outlines,
        ).with_colours(vocabulary.colours)
        with TemporaryDirectory(prefix="escnet-") as folder:
            results = self._results(engine, vocabulary.result_names, limits)
            try:
                save_all(results, folder, self.asked.formats, options=options)
            except OutputError as error:  # it names the folder
                raise Refusal(507, "the files cannot be written: give fewer") from error
            return _zipped(Path(folder))

    def _results(
        self, engine: Engine, names: tuple[str, ...], limits: Limits
    ) -> Iterator[Segmentation]:
        stems = _stems([one.file for one in self.pictures])
        for stem, picture, labels in zip(stems, self.pictures, self.label_maps, strict=True):
            pixels = read_within(picture.content, limits)
            label_map = read_labels(labels.content, len(names), limits)
            if label_map.shape != pixels.shape[:2]:
                raise ImageError(
                    f"label map of {stem} is {label_map.shape[1]} x {label_map.shape[0]} pixels, "
                    f"but the picture is {pixels.shape[1]} x {pixels.shape[0]}: send its own"
                )
            yield Segmentation(
                label_map=label_map,
                confidence=np.ones(label_map.shape, np.float16),
                names=names,
                picture=pixels,
                model=engine.model,
                weights_hash=engine.weights_hash,
                stem=stem,
            )


def _stems(files: list[str]) -> list[str]:
    """What the pictures' results are called, each once."""
    stems: list[str] = []
    taken: set[str] = set()
    for file in files:
        stem = "".join(c if c.isalnum() or c in " ._-" else "_" for c in Path(file).stem)
        stem = stem.strip(" .")[:100] or "picture"
        own, number = stem, 1
        while own.casefold() in taken:
            number += 1
            own = f"{stem}-{number}"
        taken.add(own.casefold())
        stems.append(own)
    return stems


def _zipped(folder: Path) -> bytes:
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                kind = zipfile.ZIP_STORED if path.suffix in _STORED else zipfile.ZIP_DEFLATED
                archive.write(path, path.relative_to(folder), kind)
    return content.getvalue()
