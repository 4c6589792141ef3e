import numpy as np
import pytest

from escnet.errors import ConfigError
from escnet.evaluation.protocol import WHOLE_VIEW
from escnet.evaluation.target import EvalTarget, Question


def asked(
    classes: list[str], truth: list[int], *, others: tuple[str, ...] = (), **changes: object
) -> tuple[dict[str, list[str]], list[int]]:
    target = EvalTarget(name="t", root="r", items=(), classes=tuple(classes), others=others)
    about = Question(target, WHOLE_VIEW.with_changes(**changes)).about(truth)
    assert about is not None
    vocabulary, class_of = about
    queries: dict[str, list[str]] = {}
    for query, owner in zip(vocabulary.queries, vocabulary.owner, strict=True):
        queries.setdefault(vocabulary.labels[owner], []).append(query)
    return queries, class_of.tolist()


def test_all_names_are_asked_as_they_are_written() -> None:
    names = ["door, double door", "sky"]
    queries, class_of = asked(names, [0])
    assert queries == {"door, double door": ["door, double door"], "sky": ["sky"]}
    assert class_of == [0, 1]


def test_only_present_names_are_asked_and_answers_find_their_class() -> None:
    queries, class_of = asked(["cat", "dog", "sky"], [0, 2], vocabulary="present")
    assert list(queries) == ["cat", "sky"]
    assert class_of == [0, 2]


def test_nothing_is_asked_about_a_picture_without_a_label() -> None:
    target = EvalTarget(name="t", root="r", items=(), classes=("cat",))
    assert Question(target, WHOLE_VIEW).about([]) is None


def test_synonyms_are_asked_one_by_one_each_for_one_class() -> None:
    names = ["seat, bench", "bench", "car; auto", "auto, car"]
    queries, _ = asked(names, [0], names="synonyms")
    assert queries == {
        "seat, bench": ["seat"],  # "bench" is the other's first name
        "bench": ["bench"],
        "car; auto": ["car"],
        "auto, car": ["auto"],
    }
    assert asked(["sofa, couch; settee"], [0], names="synonyms")[0] == {
        "sofa, couch; settee": ["sofa", "couch", "settee"]
    }


def test_the_first_name_is_asked_unless_another_class_has_it() -> None:
    queries, _ = asked(["bar, pub", "bar, rod"], [0], names="first")
    assert queries == {"bar, pub": ["bar"], "bar, rod": ["bar, rod"]}


def test_other_names_count_as_background_the_last_class() -> None:
    classes, others = ["cat", "dog", "background"], ("wall", "floor", "door")
    queries, class_of = asked(classes, [0], others=others, background="others")
    assert list(queries) == ["cat", "dog", "wall", "floor", "door"]
    assert class_of == [0, 1, 2, 2, 2]
    queries, class_of = asked(classes, [0], others=others, background="name")
    assert list(queries) == classes
    assert class_of == [0, 1, 2]


def test_with_background_in_the_truth_all_other_names_are_present() -> None:
    _, class_of = asked(
        ["cat", "dog", "background"],
        [1, 2],
        others=("wall", "floor"),
        background="others",
        vocabulary="present",
    )
    assert class_of == [1, 2, 2]


def test_a_target_without_other_names_has_no_background_to_count_them_as() -> None:
    with pytest.raises(ConfigError, match="t has no other names"):
        asked(["cat"], [0], background="others")


def test_class_indices_can_be_looked_up_by_label_maps() -> None:
    target = EvalTarget(name="t", root="r", items=(), classes=("cat", "dog", "sky"))
    about = Question(target, WHOLE_VIEW.with_changes(vocabulary="present")).about([2])
    assert about is not None
    found = about[1][np.zeros((2, 2), np.uint8)]
    assert found.tolist() == [[2, 2], [2, 2]]
