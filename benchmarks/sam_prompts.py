"""From a blurred and noisy map of an object to its mask, by SAM: which prompts, choice and fusion.

    python benchmarks/sam_prompts.py FOLDER DECODER EMBEDDINGS --out RESULTS.jsonl [--encoder ONNX]

FOLDER is a folder dataset, DECODER a file with SAM's prompt encoder and mask decoder, EMBEDDINGS a
folder of what SAM's image encoder makes of each picture (STEM.npy; made with --encoder where a
file is missing). Of every object class of every voc20 and coco80 picture, in a fixed random order,
the truth is shrunk to 24 x 24, blurred by one patch and disturbed by smooth noise; each line of the
results has the IoU and the boundary IoU at each threshold for each way. A second run goes on where
the first stopped.
"""

import argparse
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from escnet.data.folder import FolderDataset, FolderItem
from escnet.inference.sam_masks import agreement, masks_for, sharpened
from escnet.inference.sam_prompting import Sam, SamPicture, grid_size, sam_square
from escnet.weights.sam_model import load_sam_decoder

SOURCES = ("voc20", "coco80")
LEVELS = (0.0, 0.3, 0.6)
THRESHOLDS = [round(0.05 * step, 2) for step in range(2, 19)]
SHARES = (0.3, 0.5, 0.7)
SIDE = 24
_BOUNDARY = 0.02  # of the diagonal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("decoder", type=Path)
    parser.add_argument("embeddings", type=Path)
    parser.add_argument("--encoder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after these")
    arguments = parser.parse_args()
    start = time.monotonic()
    dataset = FolderDataset.read(arguments.folder)
    items = [item for item in dataset if item.source in SOURCES]
    if arguments.encoder is not None:
        encode_missing(items, arguments.embeddings, arguments.encoder)
    sam = Sam(load_sam_decoder(arguments.decoder))
    done = set()
    if arguments.out.is_file():
        lines = map(json.loads, arguments.out.read_text().splitlines())
        done = {(line["stem"], line["label"]) for line in lines}
    todo = list(objects(items, dataset))
    random.Random(0).shuffle(todo)  # noqa: S311 -- an order, not a secret
    for item, label in todo:
        if (item.stem, label) in done:
            continue
        if time.monotonic() - start > arguments.seconds:
            break
        lines = [json.dumps(line) for line in measure(sam, item, label, arguments.embeddings)]
        with arguments.out.open("a") as file:
            file.write("\n".join(lines) + "\n")


def objects(items: list[FolderItem], dataset: FolderDataset) -> Iterator[tuple[FolderItem, int]]:
    """Every class of a picture that covers a patch or more."""
    for item in items:
        truth = np.asarray(Image.open(item.mask_path))
        for label in np.unique(truth).tolist():
            is_class = label < min(dataset.ignore_index, dataset.background_index)
            if is_class and np.mean(truth == label) * SIDE**2 >= 1:
                yield item, label


@torch.inference_mode()
def measure(sam: Sam, item: FolderItem, label: int, embeddings: Path) -> Iterator[dict]:
    truth = np.asarray(Image.open(item.mask_path))
    size_hw = grid_size(truth.shape)
    embedding = torch.from_numpy(np.load(embeddings / f"{item.stem}.npy")).float()
    picture = SamPicture(embedding, size_hw)
    mask = torch.from_numpy((truth == label).astype(np.float32))[None, None]
    labelled = torch.from_numpy((truth != 255).astype(np.float32))[None, None]
    target = F.interpolate(mask, size=size_hw, mode="area")[0, 0] > 0.5
    valid = F.interpolate(labelled, size=size_hw, mode="area")[0, 0] > 0.5
    for level in LEVELS:
        coarse = noisy_map(mask, level, seed=f"{item.stem} {label} {level}")
        found = ways(sam, picture, coarse)
        yield {
            "stem": item.stem,
            "label": label,
            "level": level,
            "iou": {way: at_thresholds(value, target, valid) for way, value in found.items()},
            "boundary": {
                way: at_thresholds(value, target, valid, distance=boundary_distance(size_hw))
                for way, value in found.items()
            },
        }


def ways(sam: Sam, picture: SamPicture, coarse: Tensor) -> dict[str, Tensor]:
    """What is compared, each a map from 0 to 1."""
    fine = F.interpolate(
        coarse[None, None], size=picture.size_hw, mode="bilinear", align_corners=False
    )[0, 0]
    return fused(fine, *masks_for(sam, picture, coarse))


def fused(fine: Tensor, masks: Tensor, quality: Tensor) -> dict[str, Tensor]:
    """The same from SAM's masks, of which the first three answer all points together."""
    score = agreement(masks, fine)
    found = {
        "map": unit(fine),
        "together, SAM's quality": masks[:3][quality[:3].argmax()],
        "together, agreement": masks[:3][score[:3].argmax()],
        "all, SAM's quality": masks[quality.argmax()],
        "all, agreement and quality": masks[(score * quality.clamp(0, 1)).argmax()],
        "all, averaged": unit(sharpened(fine, masks, quality, 1.0)),
    }
    for share in SHARES:
        found[f"together, averaged, share {share}"] = unit(
            sharpened(fine, masks[:3], quality[:3], share)
        )
    for share in SHARES:
        found[f"all, averaged, share {share}"] = unit(sharpened(fine, masks, quality, share))
    return found


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


def at_thresholds(
    value: Tensor, target: Tensor, valid: Tensor, distance: int | None = None
) -> list[float]:
    """IoU at each threshold, of the whole masks or of the bands along their edges."""
    levels = torch.tensor(THRESHOLDS)[:, None, None]
    masks, target = (value >= levels) & valid, (target & valid)[None]
    if distance is not None:
        masks, target = band(masks, distance), band(target, distance)
    shared = (masks & target).sum(dim=(1, 2)).tolist()
    union = (masks | target).sum(dim=(1, 2)).tolist()
    return [
        round(some / all_, 4) if all_ else 1.0 for some, all_ in zip(shared, union, strict=True)
    ]


def band(masks: Tensor, distance: int) -> Tensor:
    """The pixels of each mask that are no farther than that from its outside."""
    outside = F.pad((~masks).float()[:, None], (distance,) * 4, value=1.0)
    size = 2 * distance + 1
    near = F.max_pool2d(F.max_pool2d(outside, (size, 1), 1), (1, size), 1)[:, 0]
    return masks & near.bool()


def boundary_distance(size_hw: tuple[int, int]) -> int:
    return max(1, round(_BOUNDARY * float(np.hypot(*size_hw))))


def encode_missing(items: list[FolderItem], folder: Path, encoder: Path) -> None:
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
