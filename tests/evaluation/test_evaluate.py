import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from escnet.data.folder import FolderDataset
from escnet.data.image import read_image
from escnet.data.labelled_picture import LabelledPicture
from escnet.errors import DatasetError
from escnet.evaluation.evaluate import PictureWithPixels, count_item, evaluate
from escnet.evaluation.metrics import ConfusionMatrix
from escnet.evaluation.model_answers import predict_with
from escnet.evaluation.protocol import WHOLE_VIEW
from escnet.evaluation.target import Question, folder_targets
from escnet.inference.segmenter import Segmenter
from escnet.segmentation import Segmentation
from escnet.vocabulary import Vocabulary

PETS = ["cat", "dog", "diningtable"]
STREET = ["road", "car"]
# 254 is none of the names, 255 was not looked at.
LABEL_MAPS = {
    "pets__1": [[0, 0, 1], [1, 254, 255]],
    "pets__2": [[2, 2, 2], [254, 254, 255]],
    "street__1": [[0, 1, 255]],
}


@pytest.fixture
def dataset(tmp_path: Path) -> FolderDataset:
    table = {
        "datasets": {
            "pets": {"classes": PETS, "has_background": True},
            "street": {"classes": STREET},
            "empty": {"classes": ["nothing"]},
        }
    }
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    (tmp_path / "classes.json").write_text(json.dumps(table))
    for stem, rows in LABEL_MAPS.items():
        label_map = np.array(rows, np.uint8)
        Image.fromarray(label_map).save(tmp_path / "masks" / f"{stem}.png")
        height, width = label_map.shape
        Image.new("RGB", (width, height)).save(tmp_path / "images" / f"{stem}.png")
    return FolderDataset.read(tmp_path)


def truth(item: LabelledPicture, _: Vocabulary) -> np.ndarray:
    """What a perfect segmenter says; it must say something where the truth says nothing."""
    label_map = item.read_truth()
    return np.where(label_map < 254, label_map, 0).astype(np.uint8)


def nothing_but_cats(item: LabelledPicture, _: Vocabulary) -> np.ndarray:
    return np.zeros(item.read_truth().shape, np.uint8)


def test_a_perfect_prediction_scores_one(dataset: FolderDataset) -> None:
    scores = evaluate(dataset, truth)
    for score in scores.values():
        assert (score.miou_in_truth, score.miou_in_either, score.pixel_accuracy) == (1.0, 1.0, 1.0)


def test_sources_without_a_picture_have_no_score(dataset: FolderDataset) -> None:
    assert evaluate(dataset, truth).keys() == {"pets", "street"}


def test_pixels_of_no_name_and_those_nobody_labelled_count_nowhere(dataset: FolderDataset) -> None:
    def wrong_elsewhere(item: LabelledPicture, names: Vocabulary) -> np.ndarray:
        return np.where(item.read_truth() < 254, truth(item, names), np.uint8(1))

    plain, found = evaluate(dataset, truth), evaluate(dataset, wrong_elsewhere)
    for name, score in plain.items():
        assert score.miou_in_either == found[name].miou_in_either
        np.testing.assert_array_equal(score.iou, found[name].iou)


def test_the_scores_of_a_hand_counted_case(dataset: FolderDataset) -> None:
    scores = evaluate(dataset, nothing_but_cats)
    # Everything is a cat: 2 of 7 labelled pixels are.
    assert scores["pets"].iou.tolist() == [2 / 7, 0, 0]
    assert scores["pets"].pixel_accuracy == pytest.approx(2 / 7)
    assert scores["street"].iou.tolist() == [1 / 2, 0]


def test_every_source_is_asked_with_its_own_names_as_they_are_written(
    dataset: FolderDataset,
) -> None:
    asked = {}

    def remember(item: LabelledPicture, names: Vocabulary) -> np.ndarray:
        asked[item.stem] = list(names.queries)
        return truth(item, names)

    evaluate(dataset, remember)
    assert asked == {"pets__1": PETS, "pets__2": PETS, "street__1": STREET}


def test_finished_pictures_are_counted(dataset: FolderDataset) -> None:
    counts: list[int] = []
    evaluate(dataset, truth, counts.append)
    assert counts == [1, 2, 3]


def test_a_label_map_of_another_size_is_named_with_both_sizes(dataset: FolderDataset) -> None:
    with pytest.raises(DatasetError, match=r"pets__1\.png is 3 x 2, but its picture is 4 x 5"):
        evaluate(dataset, lambda _, __: np.zeros((5, 4), np.uint8))
    Image.new("RGB", (6, 7)).save(dataset.root / "images" / "pets__1.png")
    with pytest.raises(DatasetError, match=r"pets__1\.png is 3 x 2, but its picture is 6 x 7"):
        evaluate(dataset, truth)


def test_a_label_that_is_no_class_is_refused(dataset: FolderDataset) -> None:
    Image.fromarray(np.full((2, 3), 77, np.uint8)).save(dataset.root / "masks" / "pets__1.png")
    with pytest.raises(DatasetError, match=r"pets__1\.png holds label 77"):
        evaluate(dataset, nothing_but_cats)


def test_an_ignore_index_of_16_bits_is_understood(dataset: FolderDataset) -> None:
    path = dataset.root / "classes.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "ignore_index": 65535}))
    wide = np.array([[0, 0, 1], [1, 254, 65535]], np.uint16)
    Image.fromarray(wide).save(dataset.root / "masks" / "pets__1.png")
    Image.fromarray(np.array([[2, 2, 2], [254] * 3], np.uint8)).save(
        dataset.root / "masks" / "pets__2.png"
    )
    Image.fromarray(np.array([[0, 1, 0]], np.uint8)).save(dataset.root / "masks" / "street__1.png")
    assert evaluate(FolderDataset.read(dataset.root), truth)["pets"].pixel_accuracy == 1.0


def test_a_segmenter_is_asked_with_the_picture_and_the_names(dataset: FolderDataset) -> None:
    segmenter = Segmenter.load("tiny", device="cpu")
    item = folder_targets(dataset)[0].items[0]
    read = PictureWithPixels.of(item, read_image(item.image_path))
    found = predict_with(segmenter)(read, Vocabulary.of(PETS))
    expected = segmenter.segment(item.image_path, PETS)
    assert isinstance(found, Segmentation)
    assert (found.label_map == expected.label_map).all()
    assert (found.confidence == expected.confidence).all()
    assert evaluate(dataset, predict_with(segmenter)).keys() == {"pets", "street"}


def test_the_rest_class_is_scored_like_a_name(dataset: FolderDataset) -> None:
    """By hand: the rest class has every pixel but the upper left one, which is a cat."""

    def predict(item: LabelledPicture, names: Vocabulary) -> np.ndarray:
        assert names.has_background
        assert list(names.queries) == PETS
        label_map = np.full(item.read_truth().shape, 3, np.uint8)
        label_map[0, 0] = 0
        return label_map

    (target,) = folder_targets(dataset, with_background=True)
    assert target.name == "pets"
    question = Question(target, WHOLE_VIEW.with_changes(background="rest"))
    matrix = ConfusionMatrix(4, ignore_label=target.ignore_label)
    for item in target.items:
        read = PictureWithPixels.of(item, read_image(item.image_path))
        matrix.add_counts(count_item(target, question, read, predict)[0])
    # cat 1 of 2 and one more; dog 0; table 0; background 3 of 8 that it has
    assert matrix.scores().iou.tolist() == [1 / 3, 0, 0, 3 / 8]


def test_where_only_background_is_there_nothing_need_be_asked(dataset: FolderDataset) -> None:
    (target,) = folder_targets(dataset, with_background=True)
    label_map = np.full((2, 3), dataset.background_index, np.uint8)
    Image.fromarray(label_map).save(dataset.root / "masks" / "pets__1.png")
    oracle = WHOLE_VIEW.with_changes(background="rest", vocabulary="present")
    item = PictureWithPixels.of(target.items[0], read_image(target.items[0].image_path))
    counts = count_item(target, Question(target, oracle), item, nothing_but_cats).counts
    matrix = ConfusionMatrix(4, ignore_label=target.ignore_label)
    matrix.add_counts(counts)
    assert matrix.counts.tolist() == np.diag([0, 0, 0, 6]).tolist()


def test_confidence_is_held_against_the_truth_where_there_is_one(dataset: FolderDataset) -> None:
    def predict(item: LabelledPicture, _: Vocabulary) -> Segmentation:
        shape = item.read_truth().shape
        return Segmentation(
            label_map=np.zeros(shape, np.uint8),
            confidence=np.full(shape, 0.75, np.float16),
            names=tuple(PETS),
        )

    target = folder_targets(dataset)[0]
    question = Question(target, WHOLE_VIEW)
    item = target.items[0]
    read = PictureWithPixels.of(item, read_image(item.image_path))
    counted = count_item(target, question, read, predict)
    has_truth = counted.truth != target.ignore_label
    assert counted.reliability is not None
    assert counted.reliability.pixels.sum() == has_truth.sum()
    assert counted.reliability.right.sum() == (counted.truth == 0).sum()
    share = (counted.truth == 0).sum() / has_truth.sum()
    assert counted.reliability.calibration_error == pytest.approx(abs(0.75 - share))
    assert count_item(target, question, read, nothing_but_cats).reliability is None
