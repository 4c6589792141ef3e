"""mIoU of a model on every source of a folder, whole view, as one JSON line a run.

python benchmarks/evaluate_folder.py MODEL FOLDER [--out results.jsonl] [--source NAME]
"""

import argparse
import json
import math
import time
from pathlib import Path

from escnet import Segmenter
from escnet.data.folder import FolderDataset
from escnet.evaluation.evaluate import evaluate, predict_with


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--dtype", default="float32")
    arguments = parser.parse_args()
    segmenter = Segmenter.load(arguments.model, dtype=arguments.dtype)
    dataset = FolderDataset.read(arguments.folder)
    start = time.monotonic()
    scores = evaluate(dataset, predict_with(segmenter))
    record = {
        "model": arguments.model,
        "weights_hash": segmenter.weights_hash,
        "dtype": arguments.dtype,
        "seconds": round(time.monotonic() - start, 1),
        "scores": {
            source: {
                "miou_in_truth": round(score.miou_in_truth, 4),
                "miou_in_either": round(score.miou_in_either, 4),
                "pixel_accuracy": round(score.pixel_accuracy, 4),
                "iou": {
                    name: round(float(value), 4)
                    for name, value in zip(dataset.source(source).classes, score.iou, strict=True)
                    if not math.isnan(value)  # not in the truth
                },
            }
            for source, score in scores.items()
        },
    }
    line = json.dumps(record)
    print({source: score["miou_in_truth"] for source, score in record["scores"].items()})
    if arguments.out is not None:
        with arguments.out.open("a") as file:
            file.write(line + "\n")


if __name__ == "__main__":
    main()
