"""What a few masks teach: `python benchmarks/teach.py DATA --source NAME --out FILE [...]`.

DATA is a folder with label maps, as `escnet evaluate` reads it. Its pictures are split in two
halves, those of a group together; all names of a source are taught by pictures of the one half and
scored on the other, without a class for the rest. One JSON line for each number of pictures a name
and each draw: IoUs of all names, seconds of the teaching; 0 pictures are the names alone. With
--beside, names of another folder, such as VOC's, are scored on its pictures with the taught names
in the list, which says what those cost the others.
"""

import argparse
import json
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from escnet.data.folder import FolderDataset
from escnet.data.image import read_image
from escnet.data.labelled_picture import LabelledPicture
from escnet.evaluation.metrics import ConfusionMatrix
from escnet.inference.segmenter import Segmenter
from escnet.teaching.examples import examples_in_folder
from escnet.teaching.teach import teach
from escnet.vocabulary import Vocabulary

Item = TypeVar("Item")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--source", required=True)
    parser.add_argument("--out", type=Path, required=True, help="file to append the lines to")
    parser.add_argument("--group", default="(.*)", help="regex; its group names a picture's group")
    parser.add_argument("--pictures", default="0,1,2,5,10", help="that a name is taught by")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--queries", type=int, default=40, help="pictures that are scored")
    parser.add_argument("--beside", type=Path, help="another folder")
    parser.add_argument("--beside-source")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    segmenter = Segmenter.load(arguments.model, threads=arguments.threads)
    data = FolderDataset.read(arguments.data)
    source = data.source(arguments.source)
    names = [source.classes[index] for index in source.annotated]
    teaching, scored = halves(data, arguments.source, arguments.group)
    scored = shuffled(scored, 0)[: arguments.queries]
    for number in map(int, arguments.pictures.split(",")):
        for draw in range(arguments.draws if number else 1):
            vocabulary, begin = Vocabulary.of(names), time.perf_counter()
            if number:
                drawn = replace(data, items=tuple(shuffled(teaching, draw)))
                examples = list(examples_in_folder(drawn))
                vocabulary, _ = teach(segmenter, vocabulary, examples, most=number, trials=0)
            seconds = time.perf_counter() - begin
            line = {
                "source": arguments.source,
                "pictures": number,
                "draw": draw,
                "seconds": round(seconds, 2),
                "iou": ious(segmenter, data, scored, vocabulary, names),
            }
            if arguments.beside:
                line["beside"] = beside(
                    segmenter, arguments.beside, arguments.beside_source, vocabulary
                )
            with arguments.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            print(json.dumps(line), flush=True)


def halves(
    data: FolderDataset, source: str, group: str
) -> tuple[list[LabelledPicture], list[LabelledPicture]]:
    """The pictures of a source to teach by and to score on, those of a group on one side."""
    items = [item for item in data if item.source == source]

    def group_of(item: LabelledPicture) -> str:
        match = re.fullmatch(group, item.stem)
        assert match, f"{item.stem} does not match {group}"
        return match[1]

    groups = shuffled(sorted({group_of(item) for item in items}), 0)
    first = set(groups[: len(groups) // 2])
    return (
        [item for item in items if group_of(item) in first],
        [item for item in items if group_of(item) not in first],
    )


def shuffled(items: Sequence[Item], seed: int) -> list[Item]:
    """The items in a random order."""
    return [items[place] for place in np.random.default_rng(seed).permutation(len(items))]


def ious(
    segmenter: Segmenter,
    data: FolderDataset,
    items: Sequence[LabelledPicture],
    vocabulary: Vocabulary,
    names: Sequence[str],
) -> dict[str, float]:
    """The IoU of each name that the truth has, in percent, over pixels that are one of them."""
    matrix = ConfusionMatrix(len(names))
    label_of = [vocabulary.labels.index(name) for name in names]
    for item in items:
        classes = data.source(item.source).classes
        found = segmenter.segment_pixels(read_image(item.image_path), vocabulary).label_map
        read = item.read_truth()
        truth, prediction = np.full(read.shape, 255), np.full(read.shape, len(names))
        for place, name in enumerate(names):
            truth[read == classes.index(name)] = place
            prediction[found == label_of[place]] = place
        matrix.add(truth, prediction)
    each = zip(names, 100 * matrix.scores().iou, strict=True)
    return {name: round(float(iou), 1) for name, iou in each if np.isfinite(iou)}


def beside(segmenter: Segmenter, root: Path, source: str, taught: Vocabulary) -> float:
    """The mean IoU of another folder's names with the taught ones in the list, in percent."""
    data = FolderDataset.read(root)
    names = data.source(source).classes
    vocabulary = Vocabulary.of(list(names))
    for label in taught.labels:
        if label not in names:
            vocabulary = vocabulary.with_label(label)
            vocabulary = vocabulary.with_details(label, taught.details_of(label))
    items = [item for item in data if item.source == source][::2]
    found = ious(segmenter, data, items, vocabulary, names)
    return round(float(np.mean(list(found.values()))), 2)


if __name__ == "__main__":
    main()
