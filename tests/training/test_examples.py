"""Pictures as a step sees them: read, augmented together with their labels, loaded by workers."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from escnet.errors import DatasetError
from escnet.training.augmentation import PADDING
from escnet.training.examples import Example, ExampleFeed, Examples
from escnet.training.pictures import LabelledImage, ReadCrop
from escnet.training.pictures_recipe import AugmentationSection, SourceSection
from escnet.training.sampler import Sampler
from escnet.training.sources import Sources, read_sources
from escnet.training.targets import NONE_OF_THEM, UNKNOWN

CLASSES = tuple(f"class {index}" for index in range(12))
NUM_PICTURES = 5
PLAIN = {"short_side": (30, 30), "crop": 24, "colour": 0.0}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Five pictures of blocks, whose red says the label and whose blue says the picture."""
    return drawn(tmp_path / "blocks", NUM_PICTURES)


def drawn(root: Path, num_pictures: int) -> Path:
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    table = {"classes": CLASSES, "sources": {"a": {"annotated": [*range(12)]}}}
    (root / "classes.json").write_text(json.dumps(table))
    rows, columns = np.mgrid[0:30, 0:40]
    label_map = (rows // 10 * 4 + columns // 10).astype(np.uint8)
    for index in range(num_pictures):
        pixels = np.stack([20 * label_map, 255 - 20 * label_map, 0 * label_map + index], axis=2)
        Image.fromarray(pixels).save(root / "images" / f"a__{index}.png")
        Image.fromarray(label_map).save(root / "masks" / f"a__{index}.png")
    return root


def read(root: Path) -> Sources:
    return read_sources([SourceSection(data="folder", root=root)])


def series(
    root: Path, *, image_size: int = 24, seed: int = 0, **settings: object
) -> Examples[LabelledImage]:
    sources = read(root)
    augmentation = AugmentationSection.model_validate({**PLAIN, **settings})
    return Examples(
        sources,
        Sampler([len(sources.sources[0].pictures)], [1.0], seed),
        ReadCrop(augmentation, image_size),
        seed=seed,
    )


def damage(root: Path, *rows: int) -> None:
    for row in rows:
        path = root / "images" / f"a__{row}.png"
        path.write_bytes(path.read_bytes()[:60])


def assert_equal(one: Example[LabelledImage], other: Example[LabelledImage]) -> None:
    assert (one.number, one.place, one.broken) == (other.number, other.place, other.broken)
    assert torch.equal(one.view.image, other.view.image)
    assert torch.equal(one.view.target, other.view.target)


def test_labels_stay_where_their_pixels_are(root: Path) -> None:
    pictures = series(root)
    windows = set()
    for number in range(12):
        example = pictures[number]
        image, target = example.view
        assert image.shape == (3, 24, 24)
        torch.testing.assert_close(image[0], target * 20 / 255)
        torch.testing.assert_close(image[2], torch.full((24, 24), example.place.row / 255))
        windows.add(tuple(target[0].tolist()))
    assert len(windows) > 4  # cut in several places, mirrored or not


def test_beyond_the_picture_is_grey_and_nobody_knows_what(root: Path) -> None:
    view = series(root, crop=36)[0].view  # the picture has 30 rows
    assert (view.target[30:] == UNKNOWN).all()
    assert (view.target[:30] >= 0).all()
    assert (view.image[:, 30:] == PADDING / 255).all()


def test_the_network_sees_the_square_at_its_own_size_and_the_labels_keep_theirs(
    root: Path,
) -> None:
    view, small = series(root)[3].view, series(root, image_size=12)[3].view
    assert torch.equal(small.target, view.target)
    assert small.image.shape == (3, 12, 12)
    # Halved bilinearly, a pixel is the mean of the four that it covers.
    expected = view.image.reshape(3, 12, 2, 12, 2).mean(dim=(2, 4))
    torch.testing.assert_close(small.image, expected)


def test_the_number_alone_decides_what_is_shown(root: Path) -> None:
    pictures = series(root, colour=0.5)
    first = [pictures[number] for number in range(8)]
    again = series(root, colour=0.5)
    for number in reversed(range(8)):
        assert_equal(again[number], first[number])
    other = [series(root, colour=0.5, seed=1)[number] for number in range(8)]
    assert any(
        not torch.equal(one.view.image, example.view.image)
        for one, example in zip(other, first, strict=True)
    )


def test_a_picture_looks_different_when_it_comes_again(root: Path) -> None:
    pictures = series(root)
    examples = [pictures[number] for number in range(4 * NUM_PICTURES)]
    of_one = [one.view.target for one in examples if one.place == examples[0].place]
    assert len(of_one) == 4
    assert any(not torch.equal(of_one[0], target) for target in of_one[1:])


def test_a_broken_picture_is_replaced_and_no_other_is_touched(root: Path) -> None:
    sound = [series(root)[number] for number in range(NUM_PICTURES)]
    damage(root, 2)
    for view in sound:
        found = series(root)[view.number]
        if view.place != (0, 2):
            assert_equal(found, view)
            continue
        assert found.place != (0, 2)
        assert list(found.broken) == [(0, 2)]
        assert "a__2.png" in found.broken[0, 2]
        torch.testing.assert_close(found.view.image[0], found.view.target * 20 / 255)


@pytest.mark.parametrize("what", ["picture", "label map", "size", "label"])
def test_whatever_is_broken_is_replaced(root: Path, what: str) -> None:
    pictures, path = series(root), root / "masks" / "a__1.png"
    if what == "picture":
        (root / "images" / "a__1.png").unlink()
    elif what == "label map":
        path.write_bytes(b"")
    elif what == "size":
        Image.new("L", (3, 3)).save(path)
    else:
        Image.new("L", (40, 30), 77).save(path)
    number = next(n for n in range(NUM_PICTURES) if pictures._sampler.place_of(n).row == 1)
    assert list(pictures[number].broken) == [(0, 1)]


@pytest.mark.parametrize("workers", [0, 1])
def test_nothing_but_broken_pictures_ends_the_run_in_one_line(root: Path, workers: int) -> None:
    damage(root, *range(NUM_PICTURES))
    feed = ExampleFeed(series(root), workers)
    with pytest.raises(
        DatasetError, match=r"^5 pictures in a row are broken \(last: .*: prepare the data again$"
    ) as error:
        next(feed.batches([[0, 1]]))
    assert "\n" not in str(error.value)


def test_workers_bring_the_pictures_that_reading_in_between_would(root: Path) -> None:
    numbers = [[4, 0], [7], [2, 3, 9]]
    here = list(ExampleFeed(series(root, colour=0.5), 0).batches(numbers))
    there = list(ExampleFeed(series(root, colour=0.5), 2).batches(numbers))
    assert [[view.number for view in views] for views in here] == numbers
    for one, other in zip(here, there, strict=True):
        for view, brought in zip(one, other, strict=True):
            assert_equal(brought, view)


def test_loading_leaves_the_networks_chance_alone(root: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    list(ExampleFeed(series(root), 0).batches([[0, 1]]))
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize("workers", [0, 1])
def test_the_feed_counts_and_logs_what_its_workers_met(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, workers: int
) -> None:
    root = drawn(tmp_path / "hundred", 100)
    damage(root, 42)
    feed = ExampleFeed(series(root), workers)
    with caplog.at_level(logging.WARNING):
        views = [
            view
            for batch in feed.batches([[*range(n, n + 10)] for n in range(0, 100, 10)])
            for view in batch
        ]
    assert len(views) == 100
    assert len(feed.broken) == 1
    assert ["a__42.png" in record.getMessage() for record in caplog.records] == [True]


def test_more_than_one_broken_picture_in_a_hundred_ends_the_run(tmp_path: Path) -> None:
    root = drawn(tmp_path / "hundred", 100)
    damage(root, 17, 42)
    feed = ExampleFeed(series(root), 0)
    with pytest.raises(DatasetError, match="2 of 100 pictures are broken, more than 1%"):
        list(feed.batches([[n] for n in range(100)]))


def test_labels_of_other_sources_stay_none_of_them(tmp_path: Path) -> None:
    root = drawn(tmp_path / "part", 1)
    table = {"classes": CLASSES, "sources": {"a": {"annotated": [5, 0]}}}
    (root / "classes.json").write_text(json.dumps(table))
    view = series(root, short_side=(30, 30), crop=40, flip=0.0)[0].view
    assert view.target[:30].unique().tolist() == [NONE_OF_THEM, 0, 1]
    assert (view.target[10:20, 10:20] == 0).all()  # block 5, the first that is annotated
