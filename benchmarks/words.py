"""Do other words for a thing find it as its class name does?

    python benchmarks/words.py MODEL FOLDER [--out results.jsonl]

Every class of the list below is asked for by its own name, then by another word for it, all of them
at once; the mean IoU of those classes is compared. Some words stand in the recipe as synonyms
(recipes/mini.toml), so the built-in model has met them; the others it has never met.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from escnet import Segmenter, Vocabulary
from escnet.data.folder import FolderDataset
from escnet.evaluation.evaluate import evaluate
from escnet.evaluation.model_answers import predict_with

SOURCES = ("voc20", "coco80")
WORDS: dict[str, dict[str, str]] = {
    "met in training": {
        "dog": "puppy",
        "cat": "kitten",
        "horse": "pony",
        "sheep": "lamb",
        "cow": "cattle",
        "car": "automobile",
        "bus": "omnibus",
        "train": "locomotive",
        "truck": "lorry",
        "boat": "ship",
        "bicycle": "bike",
        "motorcycle": "motorbike",
        "motorbike": "motorcycle",
        "aeroplane": "airplane",
        "airplane": "aeroplane",
        "person": "human",
        "couch": "sofa",
        "sofa": "couch",
        "tv": "television",
        "refrigerator": "fridge",
    },
    "never met": {
        "dog": "canine",
        "cat": "feline",
        "horse": "stallion",
        "sheep": "ewe",
        "cow": "ox",
        "car": "motorcar",
        "bus": "city bus",
        "train": "railroad train",
        "truck": "tractor trailer",
        "boat": "vessel",
        "bicycle": "pushbike",
        "motorcycle": "moped",
        "motorbike": "moped",
        "aeroplane": "airliner",
        "airplane": "airliner",
        "person": "human being",
        "couch": "loveseat",
        "sofa": "loveseat",
        "tv": "telly",
        "refrigerator": "icebox",
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    segmenter = Segmenter.load(arguments.model)
    dataset = FolderDataset.read(arguments.folder)
    items = tuple(item for item in dataset.items if item.source in SOURCES)
    dataset = replace(dataset, items=items)
    record = {"model": arguments.model, "weights_hash": segmenter.weights_hash}
    record["own names"] = _ious(segmenter, dataset, {})
    for kind, words in WORDS.items():
        record[kind] = _ious(segmenter, dataset, words)
        for source in SOURCES:
            own, other = (_mean(record[key][source], words) for key in ("own names", kind))
            print(f"{source}, {kind}: own names {100 * own:.1f}, other words {100 * other:.1f}")
    if arguments.out is not None:
        with arguments.out.open("a") as file:
            file.write(json.dumps(record) + "\n")


def _ious(
    segmenter: Segmenter, dataset: FolderDataset, words: Mapping[str, str]
) -> dict[str, dict[str, float]]:
    """Of each source the IoU of every class in the truth, asked for by other words."""
    predict = predict_with(segmenter)

    def ask(item, vocabulary):
        return predict(item, Vocabulary.of([words.get(name, name) for name in vocabulary.labels]))

    found = {}
    for source, scores in evaluate(dataset, ask).items():
        pairs = zip(dataset.source(source).classes, scores.iou, strict=True)
        found[source] = {name: round(float(iou), 4) for name, iou in pairs if not np.isnan(iou)}
    return found


def _mean(ious: Mapping[str, float], words: Mapping[str, str]) -> float:
    return float(np.mean([iou for name, iou in ious.items() if name in words]))


if __name__ == "__main__":
    main()
