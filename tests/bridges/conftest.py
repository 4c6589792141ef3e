"""Results that every program gets: drawn ones with all that is awkward, and real label maps."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from escnet.segmentation import Segmentation

DEV = Path(__file__).parents[3] / "shared" / "data" / "dev"
NAMES = ("sky", "wooden table", "naïve café", "absent")


def _drawn(label_map: np.ndarray, stem: str) -> Segmentation:
    height, width = label_map.shape
    rng = np.random.default_rng(0)
    return Segmentation(
        label_map=label_map,
        confidence=np.where(label_map == 255, 0.25, 0.75).astype(np.float32),
        names=NAMES,
        picture=rng.integers(0, 256, (height, width, 3), np.uint8),
        model="drawn",
        stem=stem,
        source={"file": f"{stem}.jpg", "bytes": 1, "sha256": "00"},
    )


def drawn_results() -> list[Segmentation]:
    """Holes, a hole in a hole, diagonal touches, single pixels, void, and one name alone."""
    rings = np.zeros((40, 60), dtype=np.uint8)
    rings[5:35, 5:35] = 1
    rings[10:30, 10:30] = 2
    rings[15:25, 15:25] = 1
    rings[18, 18] = rings[19, 19] = rings[20, 18] = 0
    rings[2:30, 45:55] = 255
    rings[8, 50] = 1
    noise = np.random.default_rng(1).integers(0, 4, (24, 31)).astype(np.uint8)
    noise[noise == 3] = 255
    alone = np.zeros((7, 9), dtype=np.uint8)
    return [_drawn(rings, "rings"), _drawn(noise, "noise"), _drawn(alone, "alone")]


@pytest.fixture
def results() -> list[Segmentation]:
    return drawn_results()


def dev_results(source: str, count: int) -> Iterator[Segmentation]:
    """Real label maps as if a model had made them."""
    names = tuple(json.loads((DEV / "classes.json").read_text())["datasets"][source]["classes"])
    masks = sorted((DEV / "masks").glob(f"{source}__*.png"))[:count]
    assert masks
    for path in masks:
        label_map = np.array(Image.open(path))
        label_map[label_map >= len(names)] = 255
        photo = next((DEV / "images").glob(f"{path.stem}.*"))
        yield Segmentation(
            label_map=label_map,
            confidence=np.full(label_map.shape, 0.9, np.float32),
            names=names,
            picture=np.asarray(Image.open(photo).convert("RGB")),
            model="truth",
            stem=path.stem,
            source={"file": photo.name, "bytes": 1, "sha256": "00"},
        )


@pytest.fixture
def real_results() -> list[Segmentation]:
    if not DEV.is_dir():
        pytest.skip("../shared/data/dev is not here")
    return [*dev_results("voc20", 4)]
