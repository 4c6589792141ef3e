import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from escnet.data.labelled_picture import LabelledPicture
from escnet.mini.training.recipe import ViewsSection
from escnet.mini.training.views import Part, PartView, ReadPart, labels_in, random_box
from escnet.training.sources import Source

PICTURE = np.zeros((40, 60, 3), np.uint8)
PICTURE[:20] = (255, 0, 0)  # red above, black below
LABELS = np.repeat([[1], [2]], 20, axis=0).repeat(60, axis=1)  # 1 above, 2 below


def view_of(
    picture: np.ndarray,
    labels: np.ndarray,
    settings: ViewsSection,
    random: np.random.Generator,
    *,
    side: int,
    label_side: int,
) -> PartView:
    """A random part of a picture that is written to disk and read from there."""
    with tempfile.TemporaryDirectory() as folder:
        image_path, label_path = Path(folder, "a.png"), Path(folder, "b.png")
        Image.fromarray(picture).save(image_path)
        Image.fromarray(labels.astype(np.uint8)).save(label_path)
        pair = LabelledPicture(stem="a", image_path=image_path, label_path=label_path)
        table = np.arange(65_536)
        source = Source(name="a", section=0, pictures=[pair], annotated=(0, 1, 2), table=table)
        return ReadPart(settings, side, label_side)(source, 0, random)


def test_the_labels_of_a_part_by_hand() -> None:
    label_map = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])
    assert labels_in(label_map, (0.0, 0.0, 4.0, 2.0), 2).tolist() == [[2, 4], [6, 8]]
    assert labels_in(label_map, (1.0, 0.0, 3.0, 1.0), 2).tolist() == [[2, 3], [2, 3]]
    assert labels_in(label_map, (2.0, 1.0, 4.0, 2.0), 4).tolist() == [[7, 7, 8, 8]] * 4


def test_the_whole_picture_is_shown_where_the_recipe_says_so() -> None:
    random = np.random.default_rng(0)
    boxes = {random_box((40, 60), ViewsSection(whole=1.0), random) for _ in range(20)}
    assert boxes == {(0.0, 0.0, 60.0, 40.0)}


def test_parts_lie_inside_have_the_least_area_and_come_in_all_sizes() -> None:
    random = np.random.default_rng(0)
    settings = ViewsSection(whole=0.0, least_area=0.25, stretch=1.0)
    boxes = [random_box((40, 60), settings, random) for _ in range(300)]
    shares = [(right - left) * (lower - upper) / 2400 for left, upper, right, lower in boxes]
    assert all(left >= 0 and upper >= 0 for left, upper, _, _ in boxes)
    assert all(right <= 60 and lower <= 40 for _, _, right, lower in boxes)
    assert min(shares) >= 0.25 - 1e-9
    assert min(shares) < 0.3
    assert max(shares) > 0.95


def test_a_part_is_stretched_by_the_given_factor_at_most() -> None:
    random = np.random.default_rng(0)
    settings = ViewsSection(whole=0.0, least_area=0.1, stretch=1.5)
    shapes = []
    for _ in range(300):
        left, upper, right, lower = random_box((40, 40), settings, random)
        shapes.append((right - left) / (lower - upper))
    assert max(shapes) <= 1.5**2 + 1e-9
    assert min(shapes) >= 1.5**-2 - 1e-9
    assert max(shapes) > 1.8


def test_picture_and_labels_stay_on_each_other_in_every_view() -> None:
    random = np.random.default_rng(0)
    settings = ViewsSection(whole=0.2, least_area=0.1, colour=0.0)
    for _ in range(50):
        image, labels, _ = view_of(PICTURE, LABELS, settings, random, side=48, label_side=48)
        is_red = image[0, 0].numpy() > 0.5
        differ = is_red != (labels.numpy() == 1)
        assert differ.mean() <= 1 / 24  # of the two rows where one becomes the other


def test_a_mirrored_view_mirrors_both() -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[:, :4] = 255
    labels = np.repeat([[1, 2]], 4, axis=1).repeat(8, axis=0).reshape(8, 8)
    random = np.random.default_rng(0)
    settings = ViewsSection(whole=1.0, colour=0.0)
    left = set()
    for _ in range(20):
        image, seen, _ = view_of(picture, labels, settings, random, side=8, label_side=8)
        is_left = bool(image[0, 0, 0, 0] > 0.5)
        assert (seen[0, 0] == 1) == is_left
        left.add(is_left)
    assert left == {True, False}


def test_a_view_is_a_tensor_of_the_sides_asked_for() -> None:
    view = view_of(
        PICTURE, LABELS, ViewsSection(), np.random.default_rng(0), side=32, label_side=12
    )
    assert view.image.shape == (1, 3, 32, 32)
    assert view.image.dtype == torch.float32
    assert view.target.shape == (12, 12)
    assert view.image.min() >= 0
    assert view.image.max() == pytest.approx(1.0, abs=0.2)


def test_maps_of_the_whole_picture_are_cut_as_its_pixels_are() -> None:
    y, x = np.mgrid[:48, :64]
    labels = np.zeros((48, 64), int)
    picture = np.stack([4 * x, 5 * y, x + y], axis=2).astype(np.uint8)  # nothing is sharp
    whole = torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1) / 255
    random, settings = np.random.default_rng(0), ViewsSection(whole=0.0, colour=0.0)
    mirrored = set()
    for _ in range(20):
        view = view_of(picture, labels, settings, random, side=32, label_side=32)
        inner = np.s_[:, 2:-2, 2:-2]
        found = view.part.of(whole, 32)
        torch.testing.assert_close(found[inner], view.image[0][inner], atol=0.01, rtol=0)
        mirrored.add(view.part.is_mirrored)
    assert mirrored == {True, False}


def test_a_part_of_maps_by_hand() -> None:
    maps = torch.arange(16.0).reshape(1, 4, 4)
    assert torch.equal(Part().of(maps, 4), maps)
    right = Part(left=0.5, upper=0.0, right=1.0, lower=0.5)
    assert right.of(maps, 2).tolist() == [[[2, 3], [6, 7]]]
    assert right._replace(is_mirrored=True).of(maps, 2).tolist() == [[[3, 2], [7, 6]]]
    assert right.of(maps, 1).tolist() == [[[4.5]]]
