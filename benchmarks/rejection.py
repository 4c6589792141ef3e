"""What early rejection of names costs: `python benchmarks/rejection.py DATA --out FILE [...]`.

DATA is a folder with label maps, as `escnet evaluate` reads it. Each picture is segmented with its
source's own names and as many distractors as asked, once exactly and once for each list of counts.
One JSON line for each source, distractors and counts: scores by both rules over all names asked,
the share of pixels that change against exact, how many of the names that are truly there are left
at the end, and the seconds of a picture without its towers.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from escnet.data.folder import FolderDataset
from escnet.data.image import read_image
from escnet.data.layout import synonyms_in
from escnet.inference.label_maps.labelling import label_pixels
from escnet.inference.methods.esc_method import EscMethod, square_image
from escnet.inference.segmenter import Segmenter
from escnet.model.pruning import Rejection
from escnet.vocabulary import Vocabulary

_SAME = 0.8  # cosine of two texts from which on a distractor may mean what a name means


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="file to append the lines to")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--source", action="append", help="of the data; all if not given")
    parser.add_argument("--distractors", type=Path, help="JSON list of names")
    parser.add_argument("--counts", action="append", default=[], help="such as 32,16,8; repeatable")
    parser.add_argument("--every", type=int, default=1, help="take every N-th picture")
    parser.add_argument("--first", type=int, default=0, help="begin with that picture")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    segmenter = Segmenter.load(arguments.model, threads=arguments.threads)
    data = FolderDataset.read(arguments.data)
    counts = [tuple(int(c) for c in text.split(",")) for text in arguments.counts]
    others = json.loads(arguments.distractors.read_text()) if arguments.distractors else []
    for source in arguments.source or list(data.sources):
        items = [item for item in data if item.source == source]
        taken = items[arguments.first :: arguments.every]
        own = data.source(source).classes
        names = with_distractors(segmenter, own, others)
        for line in measured(segmenter, taken, names, counts, len(own)):
            record = {"source": source, "distractors": len(names) - len(own), **line}
            with arguments.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")


def with_distractors(
    segmenter: Segmenter, names: Sequence[str], others: Sequence[str]
) -> list[str]:
    """The names, and those of the others that mean something else."""
    firsts = list(dict.fromkeys(synonyms_in(other)[0] for other in others))
    own = {word.casefold() for name in names for word in (name, name.split()[-1])}
    alike = {
        synonyms_in(other)[0]
        for other in others
        for synonym in synonyms_in(other)
        if {synonym.casefold(), synonym.casefold().split()[-1]} & own
    }
    firsts = [first for first in firsts if first not in alike]
    if not firsts:
        return list(names)
    text = torch.as_tensor(segmenter.text_embedding(Vocabulary.of([*names, *firsts])))
    text = F.normalize(text, dim=1)
    near = (text[len(names) :] @ text[: len(names)].T).amax(dim=1) > _SAME
    return [*names, *(first for first, is_near in zip(firsts, near, strict=True) if not is_near)]


def measured(
    segmenter: Segmenter,
    items: Sequence[Any],
    names: Sequence[str],
    counts: Sequence[tuple[int, ...]],
    num_own: int,
) -> Iterator[dict[str, Any]]:
    vocabulary = Vocabulary.of(names)
    text = torch.as_tensor(segmenter.text_embedding(vocabulary))
    variants: list[tuple[int, ...]] = [(), *counts]
    matrix = np.zeros((len(variants), num_own, len(names)), np.int64)
    changed, pixels = np.zeros(len(variants)), 0
    left, there = np.zeros(len(variants)), 0
    seconds: list[list[float]] = [[] for _ in variants]
    method = segmenter.method
    assert isinstance(method, EscMethod)
    for item in items:
        picture = read_image(item.image_path)
        truth = np.asarray(item.read_truth()).astype(np.int64)
        size_hw = truth.shape
        is_labelled = truth < num_own
        present = set(np.unique(truth[is_labelled]).tolist())
        with torch.inference_mode():
            image = torch.as_tensor(square_image(picture, method.view_size))[None]
            patches = method.network.vision(image)
            exact_map = None
            for number, variant in enumerate(variants):
                start = time.perf_counter()
                rejection = Rejection(variant, vocabulary.owner) if variant else None
                logits, kept = method.of_patches(patches, text, rejection)
                seconds[number].append(time.perf_counter() - start)
                label_map, _ = label_pixels(
                    logits, kept, len(names), size_hw, share_prior=segmenter.share_prior
                )
                if exact_map is None:
                    exact_map = label_map
                changed[number] += (label_map != exact_map).sum()
                left[number] += len(present & set(kept))
                pairs = truth[is_labelled] * len(names) + label_map[is_labelled]
                matrix[number] += np.bincount(pairs, minlength=num_own * len(names)).reshape(
                    num_own, -1
                )
        pixels += truth.size
        there += len(present)
    for number, variant in enumerate(variants):
        yield {
            "counts": list(variant),
            "pictures": len(items),
            **scores(matrix[number]),
            "changed": changed[number] / pixels,
            "recall": left[number] / there,
            "seconds": float(np.median(seconds[number])),
        }


def scores(matrix: np.ndarray) -> dict[str, float]:
    """Mean IoU over the names in the truth, and over those in the truth or predicted."""
    truth = np.zeros(matrix.shape[1])
    hit = np.zeros(matrix.shape[1])
    truth[: len(matrix)] = matrix.sum(axis=1)
    hit[: len(matrix)] = np.diagonal(matrix)
    predicted = matrix.sum(axis=0)
    iou = hit / np.maximum(truth + predicted - hit, 1)
    return {
        "miou_in_truth": 100 * float(iou[truth > 0].mean()),
        "miou_in_either": 100 * float(iou[truth + predicted > 0].mean()),
        "pixel_accuracy": 100 * float(hit.sum() / truth.sum()),
    }


if __name__ == "__main__":
    main()
