"""The labels that teachers make for the built-in model's training (recipes/taught_labels.py)."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from escnet.data.folder import FolderDataset
from escnet.training.tagged import TaggedPictures

NONE, UNKNOWN = 254, 255


@pytest.fixture(scope="module")
def taught(recipe_script: Callable[[str], ModuleType]) -> ModuleType:
    return recipe_script("taught_labels")


def test_a_said_name_is_taken_where_it_wins_or_is_likeliest_and_no_other_name_is(
    taught: ModuleType,
) -> None:
    names = np.array([30, 40, 50])  # the captions say the first two
    sure = torch.tensor(
        [
            [[0.90, 0.30, 0.10, 0.02]],
            [[0.10, 0.20, 0.05, 0.01]],
            [[0.20, 0.10, 0.80, 0.02]],
        ]
    )
    # Sure of 30; below the peak and unsure; sure of a name that nobody said; nothing there. The
    # second name is never above a fifth, but somewhere: where it peaks 30 is likelier.
    assert taught.chosen(sure, names, 2).tolist() == [[30, UNKNOWN, UNKNOWN, NONE]]
    sure[0, 0, 1] = 0.12
    assert taught.chosen(sure, names, 2).tolist() == [[30, 40, UNKNOWN, NONE]]


def test_stuff_fills_what_is_none_of_the_things(taught: ModuleType, tmp_path: Path) -> None:
    labels = np.array([[7, NONE, NONE, UNKNOWN], [NONE, NONE, 7, NONE]], np.uint8)
    answer = np.array([[3, 3, 10, 3], [taught.PLANT, 3, 10, 0]], np.uint8)
    Image.fromarray(answer).save(tmp_path / "a.png")
    filled = taught.with_stuff(labels, "a", tmp_path, {3: 171, 10: 112})
    assert filled.tolist() == [[7, 171, 112, UNKNOWN], [UNKNOWN, 171, 7, NONE]]
    assert labels[0, 1] == NONE  # the file's own labels stay


def test_a_few_pixels_of_stuff_are_taken_for_a_mistake(taught: ModuleType, tmp_path: Path) -> None:
    labels = np.full((20, 20), NONE, np.uint8)
    answer = np.full((20, 20), 3, np.uint8)
    answer[0, :3] = 10  # three of four hundred
    Image.fromarray(answer).save(tmp_path / "a.png")
    filled = taught.with_stuff(labels, "a", tmp_path, {3: 171, 10: 112})
    assert (filled[0, :3] == UNKNOWN).all()
    assert (filled == 171).sum() == 397


def test_captions_name_things_in_their_own_and_other_words(taught: ModuleType) -> None:
    tagged = TaggedPictures(
        paths=(Path("coco__1.jpg"), Path("coco__2.jpg"), Path("in1k__3.jpg")),
        texts=("Two puppies on a sofa", "a hot dog", "dog"),
        rows=(frozenset({0}), frozenset({1}), frozenset({2})),
    )
    said = taught.said_names(
        tagged, ["dog", "couch", "hot dog"], [0, 1, 2], {"couch": ["sofa"], "dog": ["puppie"]}
    )
    assert said == {"coco__1": {0, 1}, "coco__2": {2}}


def test_the_classes_say_what_the_taught_maps_annotate(taught: ModuleType, tmp_path: Path) -> None:
    root, out = tmp_path / "train", tmp_path / "out"
    for folder in (root, out / "images", out / "masks"):
        folder.mkdir(parents=True)
    sources = {
        "voc": {"annotated": [0], "has_background": True},
        "coco80": {"annotated": [0, 1], "has_background": True},
        "camvid": {"annotated": [2], "has_background": False},
    }
    table = {"classes": ["cat", "dog", "road", "wall"], "sources": sources}
    (root / "classes.json").write_text(json.dumps(table))
    Image.new("RGB", (4, 4)).save(tmp_path / "p.png")
    taught.put(out, tmp_path / "p.png", "captions__p", np.zeros((4, 4), np.uint8))
    taught.write_classes(root, out, [0, 1], [3])
    dataset = FolderDataset.read(out)
    assert [item.source for item in dataset] == ["captions"]
    assert dataset.source("captions").annotated == (0, 1, 3)
    assert dataset.source("voc").annotated == (0, 3)
    assert dataset.source("camvid").annotated == (2,)
