"""From a blurred and noisy map of an object to its mask, by SAM: which prompts, choice and fusion.

    python benchmarks/sam_prompts.py FOLDER DECODER EMBEDDINGS [--encoder ONNX] [--answers ANSWERS]
        --out RESULTS.jsonl
    python benchmarks/sam_prompts.py FOLDER DECODER EMBEDDINGS [--answers ANSWERS]
        --sheet SHEET.png [--rows 8]

FOLDER is a folder dataset, DECODER a file with SAM's prompt encoder and mask decoder, EMBEDDINGS a
folder of what SAM's image encoder makes of each picture (STEM.npy; made with --encoder where a
file is missing). Of every object class of every voc20 and coco80 picture, in a fixed random order,
the truth is shrunk to 24 x 24, blurred by one patch and disturbed by smooth noise; each line of the
results has the IoU and the boundary IoU, in thousandths, at each threshold for each way, and in
which half of the pictures it is: ways are chosen on half 0 and confirmed on half 1. A second run
goes on where the first stopped; with ANSWERS, a change of the ways alone does not ask SAM again.
The second form draws the first objects of that order; it shows their pictures.
"""

import argparse
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from PIL import Image
from torch import Tensor

from escnet.data.folder import FolderDataset
from escnet.data.labelled_picture import LabelledPicture
from escnet.inference.figures.sheet import blank_sheet, caption, encode_sheet, reduced
from escnet.inference.sam.masks import (
    MapMasks,
    answers_for,
    consensus,
    enlarged,
    mask_share,
    with_unions,
)
from escnet.inference.sam.prompting import Sam, SamPicture, grid_size, sam_square
from escnet.model.mask_head import agreement, levels
from escnet.weights.sam_model import load_sam_decoder

SOURCES = ("voc20", "coco80")
LEVELS = (0.0, 0.3, 0.6)
THRESHOLDS = [round(0.05 * step, 2) for step in range(2, 19)]
SHARES = (0.5,)
DEFAULT = "all and unions, averaged, share by agreement"
SIDE = 24
_BOUNDARY = 0.02  # of the diagonal
_OUTSIDE = -1.0  # below every threshold
_SMALLEST_RANGE = 1e-6
_DRAWN_THRESHOLD = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("decoder", type=Path)
    parser.add_argument("embeddings", type=Path)
    parser.add_argument("--encoder", type=Path)
    parser.add_argument("--answers", type=Path, help="folder where SAM's answers are kept")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after these")
    parser.add_argument("--sheet", type=Path, help="draw instead of measuring")
    parser.add_argument("--rows", type=int, default=8, help="objects of the sheet")
    arguments = parser.parse_args()
    dataset = FolderDataset.read(arguments.folder)
    items = [item for item in dataset if item.source in SOURCES]
    if arguments.encoder is not None:
        encode_missing(items, arguments.embeddings, arguments.encoder)
    asking = Asking(
        Sam(load_sam_decoder(arguments.decoder)), arguments.embeddings, arguments.answers
    )
    todo = list(objects(items, dataset))
    random.Random(0).shuffle(todo)  # noqa: S311 -- an order, not a secret
    if arguments.sheet is not None:
        draw(asking, todo[: arguments.rows], dataset, arguments.sheet)
    elif arguments.out is not None:
        half = {item.stem: index % 2 for index, item in enumerate(items)}
        run(asking, todo, half, arguments.out, arguments.seconds)
    else:
        parser.error("give --out or --sheet")


def run(
    asking: "Asking",
    todo: list[tuple[LabelledPicture, int]],
    half: dict[str, int],
    out: Path,
    seconds: float,
) -> None:
    """Write the lines of every object that the file lacks."""
    start = time.monotonic()
    done = set()
    if out.is_file():
        lines = map(json.loads, out.read_text().splitlines())
        done = {(line["stem"], line["label"]) for line in lines}
    for item, label in todo:
        if (item.stem, label) in done:
            continue
        if time.monotonic() - start > seconds:
            break
        found = [{"half": half[item.stem], **line} for line in measure(asking, item, label)]
        with out.open("a") as file:
            file.writelines(json.dumps(line, separators=(",", ":")) + "\n" for line in found)


def objects(
    items: list[LabelledPicture], dataset: FolderDataset
) -> Iterator[tuple[LabelledPicture, int]]:
    """Every class of a picture that covers a patch or more."""
    for item in items:
        truth = np.asarray(Image.open(item.label_path))
        for label in np.unique(truth).tolist():
            is_class = label < min(dataset.ignore_index, dataset.background_index)
            if is_class and np.mean(truth == label) * SIDE**2 >= 1:
                yield item, label


class Seen(NamedTuple):
    """An object at one level of noise."""

    level: float
    coarse: Tensor
    fine: Tensor
    answers: MapMasks
    target: Tensor
    valid: Tensor


class Asking:
    """SAM, what its image encoder made of the pictures, and the answers that are kept."""

    def __init__(self, sam: Sam, embeddings: Path, kept: Path | None) -> None:
        self._sam = sam
        self._embeddings = embeddings
        self._kept = kept

    @torch.inference_mode()
    def about(self, item: LabelledPicture, label: int) -> Iterator[Seen]:
        truth = np.asarray(Image.open(item.label_path))
        size_hw = grid_size(truth.shape)
        mask = torch.from_numpy((truth == label).astype(np.float32))[None, None]
        labelled = torch.from_numpy((truth != 255).astype(np.float32))[None, None]
        target = F.interpolate(mask, size=size_hw, mode="area")[0, 0] > 0.5
        valid = F.interpolate(labelled, size=size_hw, mode="area")[0, 0] > 0.5
        maps = {
            level: noisy_map(mask, level, seed=f"{item.stem} {label} {level}") for level in LEVELS
        }
        for level, answers in self._answers(item, label, maps, size_hw).items():
            fine = enlarged(maps[level][None], size_hw)[0]
            yield Seen(level, maps[level], fine, answers, target, valid)

    def _answers(
        self,
        item: LabelledPicture,
        label: int,
        maps: dict[float, Tensor],
        size_hw: tuple[int, int],
    ) -> dict[float, MapMasks]:
        path = None if self._kept is None else self._kept / f"{item.stem}.{label}.npz"
        if path is not None and path.is_file():
            return read_answers(path)
        embedding = torch.from_numpy(np.load(self._embeddings / f"{item.stem}.npy")).float()
        picture = SamPicture(embedding, size_hw)
        answers = {level: answers_for(self._sam, picture, coarse) for level, coarse in maps.items()}
        if path is not None:
            write_answers(path, answers)
        return answers


@torch.inference_mode()
def measure(asking: Asking, item: LabelledPicture, label: int) -> Iterator[dict]:
    for seen in asking.about(item, label):
        distance = boundary_distance(seen.fine.shape)
        found = {
            way: at_thresholds(value, seen.target, seen.valid, distance)
            for way, value in ways(seen).items()
        }
        yield {
            "stem": item.stem,
            "label": label,
            "level": seen.level,
            "iou": {way: thousandths(scores.iou) for way, scores in found.items()},
            "boundary": {way: thousandths(scores.boundary) for way, scores in found.items()},
        }


def thousandths(values: list[float]) -> list[int]:
    """Short, since there are half a million of them."""
    return [round(1000 * value) for value in values]


@torch.inference_mode()
def draw(
    asking: Asking, some: list[tuple[LabelledPicture, int]], dataset: FolderDataset, path: Path
) -> None:
    """A row for each object: the truth, then at each level its map and what SAM makes of it."""
    figure, cells = blank_sheet(
        len(some),
        1 + 2 * len(LEVELS),
        cell_hw=(1.9, 2.4),
        title="the truth; then, at each level of noise, the map and the map sharpened by SAM\n"
        f"green: the truth's outline; red: where a map exceeds {_DRAWN_THRESHOLD}",
    )
    for row, (item, label) in zip(cells, some, strict=True):
        pixels = reduced(np.asarray(Image.open(item.image_path).convert("RGB")))
        frame = (0, pixels.shape[1], pixels.shape[0], 0)
        names = dataset.source(item.source).classes
        for index, seen in enumerate(asking.about(item, label)):
            found = ways(seen)
            if not index:
                row[0].imshow(pixels)
                _outline(row[0], seen.target.float(), "lime", frame)
                caption(row[0], names[label])
            for cell, way in zip(row[1 + 2 * index :], ("map", DEFAULT), strict=False):
                cell.imshow(found[way], extent=frame, vmin=0, vmax=1)
                _outline(cell, found[way] - _DRAWN_THRESHOLD + 0.5, "red", frame)
                scores = at_thresholds(
                    found[way], seen.target, seen.valid, boundary_distance(seen.fine.shape)
                )
                at = THRESHOLDS.index(_DRAWN_THRESHOLD)
                shown = "the map" if way == "map" else "with SAM"
                caption(cell, f"{shown}, noise {seen.level}, IoU {scores.iou[at]:.2f}")
    path.write_bytes(encode_sheet(figure))


def _outline(cell: Axes, value: Tensor, colour: str, frame: tuple[int, ...]) -> None:
    if value.min() < 0.5 < value.max():
        cell.contour(value, levels=[0.5], colors=colour, linewidths=1, extent=frame, origin="upper")


def ways(seen: Seen) -> dict[str, Tensor]:
    """What is compared, each a map from 0 to 1.

    Of the answers the first three are to all points together, the next three to the peak, the rest
    to each point alone.
    """
    coarse = seen.coarse
    masks, quality = seen.answers.logits.float().sigmoid(), seen.answers.quality
    score = agreement(masks, coarse) * quality.clamp(0, 1)
    mask = consensus(coarse, masks, quality)
    united = consensus(coarse, *with_unions(coarse, masks, quality))
    points = torch.cat([torch.arange(3), torch.arange(6, len(masks))])
    without_peak = consensus(coarse, *with_unions(coarse, masks[points], quality[points]))
    together = consensus(coarse, *with_unions(coarse, masks[:3], quality[:3]))
    return {
        "map": unit(seen.fine),
        "together, SAM's quality": masks[:3][quality[:3].argmax()],
        "together, agreement": masks[:3][score[:3].argmax()],
        "all, SAM's quality": masks[quality.argmax()],
        "all, agreement": masks[score.argmax()],
        "all, averaged": mask,
        "all and unions, averaged": united,
        "together and unions, averaged, share by agreement": mixed(seen, together),
        "all but the peak and unions, averaged, share by agreement": mixed(seen, without_peak),
        **{f"all, averaged, share {share}": mixed(seen, mask, share) for share in SHARES},
        "all, averaged, share by agreement": mixed(seen, mask),
        DEFAULT: mixed(seen, united),
    }


def mixed(seen: Seen, mask: Tensor, share: float | None = None) -> Tensor:
    """A mask mixed with the map, the map's level beside the mask being 0 and that inside 1."""
    outside, inside = levels(seen.coarse, mask)
    share = mask_share(seen.coarse, mask) if share is None else share
    own = (seen.fine - outside) / (inside - outside).clamp(min=_SMALLEST_RANGE)
    return ((1 - share) * own + share * mask).clamp(0, 1)


def read_answers(path: Path) -> dict[float, MapMasks]:
    with np.load(path) as file:
        return {
            level: MapMasks(
                torch.from_numpy(file[f"logits {level}"]),
                torch.from_numpy(file[f"quality {level}"]),
            )
            for level in LEVELS
        }


def write_answers(path: Path, answers: dict[float, MapMasks]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {}
    for level, (logits, quality) in answers.items():
        kept[f"logits {level}"] = logits.clamp(-20, 20).half().numpy()
        kept[f"quality {level}"] = quality.numpy()
    part = path.with_suffix(".part.npz")
    np.savez(part, **kept)
    part.rename(path)


def noisy_map(mask: Tensor, level: float, seed: str) -> Tensor:
    small = smooth(F.interpolate(mask, size=(SIDE, SIDE), mode="area"))[0, 0]
    generator = np.random.default_rng(list(seed.encode()))
    noise = torch.from_numpy(generator.standard_normal((1, 1, SIDE, SIDE)).astype(np.float32))
    noise = smooth(noise)[0, 0]
    return small / small.max() + level * noise / noise.std()


def smooth(values: Tensor) -> Tensor:
    """Blurred by a Gaussian of one patch."""
    place = torch.arange(-4, 5, dtype=torch.float32)
    kernel = torch.softmax(-place.square() / 2, dim=0)
    values = F.conv2d(F.pad(values, (4, 4, 0, 0), mode="replicate"), kernel[None, None, None])
    return F.conv2d(F.pad(values, (0, 0, 4, 4), mode="replicate"), kernel[None, None, :, None])


def unit(values: Tensor) -> Tensor:
    return (values - values.min()) / (values.max() - values.min()).clamp(min=1e-6)


class Scores(NamedTuple):
    """At each threshold the IoU of the masks, and that of the bands along their edges."""

    iou: list[float]
    boundary: list[float]


def at_thresholds(value: Tensor, target: Tensor, valid: Tensor, distance: int) -> Scores:
    """How well a map agrees with the truth at each threshold.

    The band of a mask is its pixels that are no farther than `distance` from its outside; that of
    a map at a threshold is where the map reaches it and its lowest value nearby does not, so that
    one pass over the map serves all thresholds.
    """
    value, target = torch.where(valid, value, _OUTSIDE), target & valid
    lowest = lowest_nearby(value, distance)
    band = target & (lowest_nearby(target.float(), distance) < 1)
    whole = _shares(_reaching(value), _reaching(value[target]), int(target.sum()))
    edge = _shares(
        _reaching(value) - _reaching(lowest),
        _reaching(value[band]) - _reaching(lowest[band]),
        int(band.sum()),
    )
    return Scores(whole, edge)


def lowest_nearby(value: Tensor, distance: int) -> Tensor:
    """The lowest value of a square of pixels; beyond the picture all is outside."""
    size = 2 * distance + 1
    padded = F.pad(-value[None, None], (distance,) * 4, value=-_OUTSIDE)
    return -F.max_pool2d(F.max_pool2d(padded, (size, 1), 1), (1, size), 1)[0, 0]


def _reaching(values: Tensor) -> Tensor:
    """How many of them reach each threshold."""
    passed = torch.bucketize(values.flatten(), torch.tensor(THRESHOLDS), right=True)
    count = torch.bincount(passed, minlength=len(THRESHOLDS) + 1)
    return count.flip(0).cumsum(0).flip(0)[1:]


def _shares(found: Tensor, shared: Tensor, wanted: int) -> list[float]:
    union = found + wanted - shared
    return [
        some / all_ if all_ else 1.0
        for some, all_ in zip(shared.tolist(), union.tolist(), strict=True)
    ]


def boundary_distance(size_hw: tuple[int, int]) -> int:
    return max(1, round(_BOUNDARY * float(np.hypot(*size_hw))))


def encode_missing(items: list[LabelledPicture], folder: Path, encoder: Path) -> None:
    import onnxruntime  # noqa: PLC0415 -- not needed where all is encoded

    session = onnxruntime.InferenceSession(str(encoder), providers=["CPUExecutionProvider"])
    folder.mkdir(parents=True, exist_ok=True)
    for item in items:
        path = folder / f"{item.stem}.npy"
        if not path.is_file():
            pixels = np.asarray(Image.open(item.image_path).convert("RGB"))
            embedding = session.run(None, {"input": sam_square(pixels).numpy()})[0]
            np.save(path, embedding.astype(np.float16))


if __name__ == "__main__":
    main()
