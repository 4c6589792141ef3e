"""Labels of a vocabulary taught by examples, with a method that knows colours."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from escnet.class_lists.details import LabelDetails
from escnet.errors import ConfigError, DatasetError, EscnetError
from escnet.inference.segmenter import Segmenter
from escnet.teaching.examples import ExampleFile, examples_of_masks
from escnet.teaching.teach import forget, teach
from escnet.vocabulary import Vocabulary
from tests.colour_method import ColourMethod, colour_labels, colour_picture, colour_segmenter


class TeachableColours(ColourMethod):
    """Each pixel is a patch; a word that is no colour means yellow."""

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        known = super().encode_text(texts)
        known[(known == known[:, :1]).all(axis=1)] = (0.6, 0.6, -0.5)
        return known

    def patch_embedding(self, view: Any) -> np.ndarray:
        return np.moveaxis(view.astype(np.float32) / 255 + 1e-3, 2, 0)


def segmenter(weights_hash: str = "0" * 64) -> Segmenter:
    return Segmenter(TeachableColours(), model="colours", weights_hash=weights_hash)


def written(folder: Path, label: int, *, number: int = 1) -> tuple[list[Path], list[Path]]:
    """Pictures of red, green and blue, and the masks of one of them."""
    pictures, masks = [], []
    for index in range(number):
        turned = np.rot90(colour_picture(), 2 * index)
        is_inside = np.rot90(colour_labels() == label, 2 * index)
        pictures.append(folder / f"p{index}.png")
        masks.append(folder / f"m{index}.png")
        Image.fromarray(turned).save(pictures[-1])
        Image.fromarray(is_inside.astype(np.uint8) * 255).save(masks[-1])
    return pictures, masks


def examples(folder: Path, name: str, label: int, *, number: int = 1) -> list[ExampleFile]:
    return examples_of_masks(name, *written(folder, label, number=number))


def test_a_name_that_says_nothing_is_taught_by_one_mask(tmp_path: Path) -> None:
    names = Vocabulary.of(["red", "green", "qxz"])
    before = segmenter().segment(colour_picture(), names).label_map
    assert not (before == 2).any()
    taught, (lesson,) = teach(segmenter(), names, examples(tmp_path, "qxz", 2))
    assert lesson == ("qxz", ("p0.png",), None, None, True)
    after = segmenter().segment(colour_picture(), taught).label_map
    assert (after == colour_labels()).all()
    assert taught.labels == names.labels
    assert taught.details_of("qxz").taught[0].source == ("p0.png",)


def test_a_new_label_comes_to_the_end_and_the_file_keeps_it(tmp_path: Path) -> None:
    taught, _ = teach(
        segmenter(), Vocabulary.of(["red", "green"]), examples(tmp_path, "my valve", 2)
    )
    taught.save(tmp_path / "names.toml")
    again = Vocabulary.read(tmp_path / "names.toml")
    assert again == taught
    assert (segmenter().segment(colour_picture(), again).label_map == colour_labels()).all()


def test_each_picture_is_tried_by_what_the_others_teach(tmp_path: Path) -> None:
    names = Vocabulary.of(["red", "green", "qxz"])
    taught, (lesson,) = teach(segmenter(), names, examples(tmp_path, "qxz", 2, number=3))
    assert lesson.pictures == ("p0.png", "p1.png", "p2.png")
    assert lesson.iou_by_name == 0
    assert lesson.iou_as_taught == 1
    assert taught.details_of("qxz").taught


def test_a_name_that_does_better_alone_stays(tmp_path: Path) -> None:
    pictures, masks = written(tmp_path, 1, number=2)
    Image.fromarray((colour_labels() == 2).astype(np.uint8)).save(masks[0])  # of another thing
    names = Vocabulary.of(["red", "green"])
    taught, (lesson,) = teach(segmenter(), names, examples_of_masks("green", pictures, masks))
    assert lesson.iou_by_name is not None
    assert lesson.iou_as_taught is not None
    assert lesson.iou_by_name > lesson.iou_as_taught
    assert not lesson.is_taught
    assert taught == names


def test_what_was_taught_before_is_replaced_for_these_weights_alone_and_forgotten_for_all(
    tmp_path: Path,
) -> None:
    names = Vocabulary.of(["red", "qxz"])
    for weights in ("1" * 64, "0" * 64, "0" * 64):
        names, _ = teach(segmenter(weights), names, examples(tmp_path, "qxz", 2))
    hashes = [one.weights_hash for one in names.details_of("qxz").taught]
    assert hashes == ["1" * 64, "0" * 64]
    assert forget(names, "qxz") == Vocabulary.of(["red", "qxz"])
    with pytest.raises(ConfigError, match="'red' was taught nothing"):
        forget(names, "red")


def test_only_as_many_pictures_as_asked_for_are_looked_at(tmp_path: Path) -> None:
    seen: list[str] = []
    _, (lesson,) = teach(
        segmenter(),
        Vocabulary.of(["red", "qxz"]),
        examples(tmp_path, "qxz", 2, number=3),
        most=2,
        on_example=lambda one: seen.append(one.picture.name),
    )
    assert seen == ["p0.png", "p1.png"] == list(lesson.pictures)


def test_other_labels_keep_what_is_said_of_them(tmp_path: Path) -> None:
    names = Vocabulary.of(["red", "qxz"]).with_details("red", LabelDetails(color=(1, 2, 3)))
    taught, _ = teach(segmenter(), names, examples(tmp_path, "qxz", 2))
    assert taught.details_of("red") == LabelDetails(color=(1, 2, 3))


@pytest.mark.parametrize("kind", ["empty", "size", "values", "no picture", "no mask", "counts"])
def test_what_cannot_teach_is_one_line(tmp_path: Path, kind: str) -> None:
    pictures, masks = written(tmp_path, 2)
    mask = np.array(Image.open(masks[0]))
    match kind:
        case "empty":
            Image.fromarray(mask * 0).save(masks[0])
            message = "holds nothing but 0, so it does not show 'qxz'"
        case "size":
            Image.fromarray(mask[:-1]).save(masks[0])
            message = "is 40 x 29, but its picture is 40 x 30"
        case "values":
            Image.fromarray(colour_labels()).save(masks[0])
            message = "holds the values 0, 1, 2: say by --value which of them is 'qxz'"
        case "no picture":
            pictures[0].unlink()
            message = r"p0\.png"
        case "no mask":
            masks[0].unlink()
            message = r"m0\.png"
        case _:
            masks.append(masks[0])
            message = "1 picture and 2 masks were given"
    with pytest.raises(EscnetError, match=message):
        teach(segmenter(), Vocabulary.of(["red"]), examples_of_masks("qxz", pictures, masks))


def test_one_value_of_a_label_map_can_be_meant(tmp_path: Path) -> None:
    pictures, masks = written(tmp_path, 2)
    Image.fromarray(colour_labels()).save(masks[0])
    own = examples_of_masks("qxz", pictures, masks, value=2)
    taught, _ = teach(segmenter(), Vocabulary.of(["red", "green", "qxz"]), own)
    assert (segmenter().segment(colour_picture(), taught).label_map == colour_labels()).all()
    with pytest.raises(DatasetError, match="holds no pixel of the value 9"):
        teach(
            segmenter(),
            Vocabulary.of(["qxz"]),
            examples_of_masks("qxz", pictures, masks, value=9),
        )


def test_a_label_that_no_picture_shows_and_a_method_that_cannot_learn(tmp_path: Path) -> None:
    own = examples(tmp_path, "qxz", 2)
    with pytest.raises(DatasetError, match="no picture shows 'red'"):
        teach(segmenter(), Vocabulary.of(["red"]), own, labels=["red"])
    with pytest.raises(ConfigError, match="method colours, which cannot be taught"):
        teach(colour_segmenter(), Vocabulary.of(["red"]), own)
