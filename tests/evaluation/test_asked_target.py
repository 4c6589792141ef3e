from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from escnet.class_lists.details import LabelDetails
from escnet.data.labelled_picture import LabelledPicture
from escnet.errors import ConfigError
from escnet.evaluation.asked_target import asked_by
from escnet.evaluation.protocol import WHOLE_VIEW
from escnet.evaluation.target import EvalTarget, Question
from escnet.vocabulary import Vocabulary

NAMES = (
    Vocabulary.of({"dog": ["dog", "puppy"], "sky": ["sky"], "cat": ["cat"]})
    .with_details("dog", LabelDetails(group="animal"))
    .with_details("cat", LabelDetails(group="animal", contrast=("toy",)))
)


@pytest.fixture
def target(tmp_path: Path) -> EvalTarget:
    Image.fromarray(np.array([[0, 1, 2, 3, 255]], np.uint8)).save(tmp_path / "a.png")
    item = LabelledPicture(stem="a", image_path=tmp_path / "a.jpg", label_path=tmp_path / "a.png")
    return EvalTarget(name="pets", root="pets", items=(item,), classes=("cat", "Dog", "sky"))


def test_classes_are_asked_as_the_names_file_says(target: EvalTarget) -> None:
    asked = asked_by(target, NAMES)
    assert asked.classes == ("dog", "sky", "cat")
    assert asked.items[0].read_truth().tolist() == [[2, 0, 1, 3, 255]]
    about = Question(asked, WHOLE_VIEW).about([0])
    assert about is not None
    assert about[0] == NAMES
    assert about[1].tolist() == [0, 1, 2]


def test_groups_are_scored_as_one_class(target: EvalTarget) -> None:
    asked = asked_by(target, NAMES, level=1)
    assert asked.classes == ("animal", "sky")
    assert asked.items[0].read_truth().tolist() == [[0, 0, 1, 3, 255]]
    about = Question(asked, WHOLE_VIEW).about([0])
    assert about is not None
    assert about[1].tolist() == [0, 1, 0]


def test_the_background_stays_the_last_class(target: EvalTarget) -> None:
    with_rest = replace(target, classes=(*target.classes, "background"), has_background=True)
    asked = asked_by(with_rest, NAMES, level=1)
    assert asked.classes == ("animal", "sky", "background")
    assert asked.items[0].read_truth().tolist() == [[0, 0, 1, 2, 255]]
    protocol = WHOLE_VIEW.with_changes(background="rest")
    about = Question(asked, protocol).about([0])
    assert about is not None
    assert about[0].has_background
    assert about[1].tolist() == [0, 1, 0, 2]


def test_classes_and_labels_must_be_the_same(target: EvalTarget) -> None:
    with pytest.raises(ConfigError, match="class 'dog' is no label of the names file"):
        asked_by(target, Vocabulary.of(["cat", "sky"]))
    with pytest.raises(ConfigError, match="label 'cow' is no class of pets"):
        asked_by(target, NAMES.with_label("cow"))
    with pytest.raises(ConfigError, match="level 3 is not among"):
        asked_by(target, NAMES, level=3)


def test_other_ways_of_asking_are_refused_beside_it(target: EvalTarget) -> None:
    for change in ({"vocabulary": "present"}, {"names": "first"}):
        with pytest.raises(ConfigError, match="a names file says itself what is asked"):
            Question(asked_by(target, NAMES), WHOLE_VIEW.with_changes(**change))
