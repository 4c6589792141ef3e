"""How long each format takes and how large it is, on a folder's true label maps.

    python benchmarks/formats.py FOLDER [--out formats.jsonl] [--kinds coco,yolo]

FOLDER has images/, masks/ and classes.json with a class list for each source, as in the file names
up to "__". The label maps are taken as results, so that no network's time is in it; pictures are
decoded before the clock runs. One JSON line for each format, but for those of probabilities, which
true label maps do not have.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from escnet.annotations.format import FormatOptions
from escnet.annotations.registry import FORMATS
from escnet.segmentation import Segmentation, save_all

_OF_PROBABILITIES = {"top3", "scores"}
_VARIANTS = {  # what is measured beside each format with its own defaults
    "coco, exact (--tolerance 0)": ("coco", FormatOptions(tolerance=0.0)),
    "coco, by region": ("coco", FormatOptions(per="region")),
    "coco, run lengths": ("coco", FormatOptions(shape="rle")),
}


def results(folder: Path, source: str) -> Iterator[Segmentation]:
    """Every true label map of one source as a result."""
    described = json.loads((folder / "classes.json").read_text())["datasets"][source]
    names = tuple(described["classes"])
    for path in sorted((folder / "masks").glob(f"{source}__*.png")):
        label_map = np.array(Image.open(path))
        label_map[label_map >= len(names)] = 255
        photo = next((folder / "images").glob(f"{path.stem}.*"))
        yield Segmentation(
            label_map=label_map,
            confidence=np.full(label_map.shape, 0.9, np.float32),
            names=names,
            picture=np.asarray(Image.open(photo).convert("RGB")),
            model="truth",
            stem=path.stem,
        )


def measured(folder: Path, kind: str, options: FormatOptions) -> dict[str, float]:
    """Seconds and bytes of a format over all sources, each a folder of its own."""
    seconds, num_bytes, num_pictures = 0.0, 0, 0
    for source in json.loads((folder / "classes.json").read_text())["datasets"]:
        loaded = list(results(folder, source))
        num_pictures += len(loaded)
        with tempfile.TemporaryDirectory() as out:
            start = time.process_time()
            save_all(loaded, out, [kind], options=options)
            seconds += time.process_time() - start
            num_bytes += sum(path.stat().st_size for path in Path(out).rglob("*") if path.is_file())
    return {
        "pictures": num_pictures,
        "milliseconds_a_picture": round(1000 * seconds / num_pictures, 1),
        "kilobytes_a_picture": round(num_bytes / num_pictures / 1000, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, help="file to append the lines to")
    parser.add_argument("--kinds", default="", help="some formats alone")
    arguments = parser.parse_args()
    kinds = [kind for kind in FORMATS if kind not in _OF_PROBABILITIES]
    runs = {kind: (kind, FormatOptions()) for kind in kinds} | _VARIANTS
    for name, (kind, options) in runs.items():
        if arguments.kinds and kind not in arguments.kinds.split(","):
            continue
        line = json.dumps({"format": name, **measured(arguments.folder, kind, options)})
        print(line, flush=True)
        if arguments.out:
            with arguments.out.open("a", encoding="utf-8") as file:
                file.write(line + "\n")


if __name__ == "__main__":
    main()
