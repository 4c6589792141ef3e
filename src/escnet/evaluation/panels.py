"""A few pictures of an evaluation as overlays: the truth beside what the model said.

Label maps are not kept while an evaluation runs; the model is asked about these pictures again.

Sizes: H x W pixels.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from jaxtyping import Integer, UInt8
from PIL import Image, ImageDraw, ImageFont

from escnet.annotations.overlay import draw_overlay, encode_overlay
from escnet.data.image import read_image
from escnet.data.labelled_picture import LabelledPicture
from escnet.evaluation.evaluate import PictureWithPixels, Predict, answer_item
from escnet.evaluation.protocol import EvalProtocol
from escnet.evaluation.result import EvalResult
from escnet.evaluation.target import EvalTarget, Question
from escnet.files import is_ours, make_folder, write_file

_LONGEST_SIDE = 400  # of a panel's picture, in pixels
_TITLE_HEIGHT = 24
_GAP = 10
_QUALITY = 82
_VOID = np.iinfo(np.uint16).max
_INK = (32, 33, 36)
_PAPER = (255, 255, 255)
_FILE = re.compile(r"[a-z]+-\d+-[0-9a-f]{8}\.jpg")


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelModel:
    """A model under a protocol, to be asked again.

    Attributes:
        title: What its panel is called.
        protocol: How it is asked.
        predict: Asks it.
    """

    title: str
    protocol: EvalProtocol
    predict: Predict


def panels_name(kind: str, number: int, stem: str, results: Sequence[EvalResult]) -> str:
    """The file name of a picture's panels; another model, protocol or picture has another.

    Args:
        kind: Why the picture was chosen, such as "best".
        number: Its place among those of its kind, from 1.
        stem: The picture's name.
        results: Those whose answers are shown.
    """
    shown = [
        f"{result.model.weights_hash} {result.model.method} {result.model.settings} "
        f"{result.protocol.model_dump_json()} {result.data.checksum}"
        for result in results
    ]
    return f"{kind}-{number}-{sha256(repr((stem, shown)).encode()).hexdigest()[:8]}.jpg"


def write_panels(
    folder: Path,
    target: EvalTarget,
    chosen: Sequence[tuple[str, str]],
    answers: Sequence[PanelModel],
) -> None:
    """Write the panels of some pictures, and delete those of earlier runs.

    Args:
        folder: Made if it is not there.
        target: The pictures with their truth.
        chosen: File name and stem of each picture.
        answers: The models whose answers stand beside the truth.

    Raises:
        OutputError: If a file cannot be written.
        ImageError: If a picture cannot be read.
        DatasetError: If a label map cannot be read.
    """
    make_folder(folder)
    names = {name for name, _ in chosen}
    for path in folder.iterdir():
        if _FILE.fullmatch(path.name) and path.name not in names and is_ours(path):
            path.unlink(missing_ok=True)
    items = {item.stem: item for item in target.items}
    asked = [(answer, Question(target, answer.protocol)) for answer in answers]
    for name, stem in chosen:
        write_file(folder / name, _panels_of(target, items[stem], asked))


def _panels_of(
    target: EvalTarget, item: LabelledPicture, asked: Sequence[tuple[PanelModel, Question]]
) -> bytes:
    picture = read_image(item.image_path)
    panels = [_titled("picture", _reduced(picture, Image.Resampling.BOX))]
    for answer, question in asked:
        read = PictureWithPixels.of(item, picture)
        answered = answer_item(target, question, read, answer.predict)
        truth, prediction = answered.truth, answered.prediction
        if len(panels) == 1:
            panels.append(_panel("truth", picture, truth, target.classes))
        counted = np.where(truth == target.ignore_label, _VOID, prediction)
        panels.append(_panel(answer.title, picture, counted, target.classes))
    return encode_overlay(beside_each_other(panels), quality=_QUALITY)


def _panel(
    title: str,
    picture: UInt8[np.ndarray, "H W 3"],
    label_map: Integer[np.ndarray, "H W"],
    classes: Sequence[str],
) -> UInt8[np.ndarray, "H_out W_out 3"]:
    """An overlay with its legend; labels that are no class are grey."""
    labels = np.where(label_map < len(classes), label_map, _VOID)
    return _titled(
        title,
        draw_overlay(
            _reduced(picture, Image.Resampling.BOX),
            _reduced(labels.astype(np.uint16), Image.Resampling.NEAREST),
            classes,
        ),
    )


def _reduced(
    array: UInt8[np.ndarray, "H W 3"] | Integer[np.ndarray, "H W"], way: Image.Resampling
) -> np.ndarray:
    """The picture or label map with its longest side at most that of a panel."""
    height, width = array.shape[:2]
    scale = min(1.0, _LONGEST_SIDE / max(height, width))
    size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(array).resize(size_wh, way))


def _titled(title: str, panel: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H_out W_out 3"]:
    """The panel under its title."""
    font = ImageFont.load_default(15)
    width = max(panel.shape[1], round(font.getlength(title)) + 1)
    canvas = Image.new("RGB", (width, panel.shape[0] + _TITLE_HEIGHT), _PAPER)
    canvas.paste(Image.fromarray(panel), (0, _TITLE_HEIGHT))
    ImageDraw.Draw(canvas).text((0, 3), title, fill=_INK, font=font)
    return np.asarray(canvas)


def beside_each_other(
    panels: Sequence[UInt8[np.ndarray, "_ _ 3"]],
) -> UInt8[np.ndarray, "H_out W_out 3"]:
    """One picture of several, their tops aligned."""
    height = max(panel.shape[0] for panel in panels)
    width = sum(panel.shape[1] for panel in panels) + _GAP * (len(panels) - 1)
    canvas = np.full((height, width, 3), _PAPER, np.uint8)
    left = 0
    for panel in panels:
        canvas[: panel.shape[0], left : left + panel.shape[1]] = panel
        left += panel.shape[1] + _GAP
    return canvas
