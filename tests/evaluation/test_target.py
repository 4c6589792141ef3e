import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from escnet.data.folder import FolderDataset
from escnet.data.layout import class_names
from escnet.errors import ConfigError, DatasetError
from escnet.evaluation.protocol import WHOLE_VIEW
from escnet.evaluation.target import EvalTarget, Question, folder_targets

CLASSES = ("cat", "dog", "sofa")


def asked(
    classes: list[str], truth: list[int], *, others: tuple[str, ...] = (), **changes: object
) -> tuple[dict[str, list[str]], list[int]]:
    target = EvalTarget(
        name="t",
        root="r",
        items=(),
        classes=tuple(classes),
        others=others,
        has_background=classes[-1] == "background",
    )
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


def test_a_synonym_belongs_to_the_class_that_has_nothing_else() -> None:
    names = ["pot, flowerpot", "grill; grille", "pot", "bar, pub", "pub; bar", "Pub, bar, rod"]
    queries, class_of = asked(names, [0], names="synonyms")
    assert queries == {
        "pot, flowerpot": ["flowerpot"],
        "grill; grille": ["grill", "grille"],
        "pot": ["pot"],
        "bar, pub": ["bar"],
        "pub; bar": ["pub"],
        "Pub, bar, rod": ["rod"],
    }
    assert class_of == [0, 1, 2, 3, 4, 5]
    left_with_nothing = asked(["bar", "pub", "bar, pub"], [0], names="synonyms")[0]["bar, pub"]
    assert left_with_nothing == ["bar, pub"]


def test_the_first_of_the_classes_that_share_a_first_name_has_it() -> None:
    names = ["sky", "pot, flowerpot", "door", "Pot", "pot, kettle"]
    queries, class_of = asked(names, [0], names="first-once")
    assert queries == {"sky": ["sky"], "pot, flowerpot": ["pot"], "door": ["door"]}
    assert class_of == [0, 1, 2]
    queries, class_of = asked(names, [2, 3], names="first-once", vocabulary="present")
    assert queries == {"door": ["door"], "Pot": ["Pot"]}
    assert class_of == [2, 3]


def test_by_first_names_a_shared_one_is_asked_for_each_of_its_classes() -> None:
    names = ["sky", "pot, flowerpot", "door", "Pot", "pot, kettle"]
    queries, class_of = asked(names, [0], names="first")
    assert queries == {"sky": ["sky"], "pot, flowerpot": ["pot"] * 3, "door": ["door"]}
    assert class_of == [0, 1, 2]
    queries, class_of = asked(names, [1, 3], names="first", vocabulary="present")
    assert queries == {"pot, flowerpot": ["pot"] * 2}
    assert class_of == [1]


def test_the_847_names_of_ade20k_can_be_asked_in_every_way() -> None:
    names = class_names("ade847")
    queries, class_of = asked(list(names), [0], names="first")
    # as CAT-Seg reads the list: what comes before the first ", ", of every class
    firsts = [name.split(", ")[0] for name in names]
    assert sorted(query for own in queries.values() for query in own) == sorted(firsts)
    assert class_of == [firsts.index(first) for first in dict.fromkeys(firsts)]
    queries, class_of = asked(list(names), [0], names="first-once")
    assert [query for (query,) in queries.values()] == list(dict.fromkeys(firsts))
    assert class_of == [firsts.index(first) for first in dict.fromkeys(firsts)]
    assert len(firsts) - len(class_of) == 10
    assert firsts[130] == firsts[188] == "pot"
    assert 188 not in class_of
    queries, class_of = asked(list(names), [0], names="synonyms")
    assert class_of == list(range(847))
    assert queries["pot"] == ["pot"]
    assert queries["pot, flowerpot"] == ["flowerpot"]
    words = {part for name in names for part in name.split(", ")}
    assert sum(len(found) for found in queries.values()) == len(words)


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


def test_the_rest_class_has_the_background_and_its_name_is_not_asked() -> None:
    classes = ["cat", "dog", "background"]
    for truth in ([0], [2], [0, 1, 2]):
        queries, class_of = asked(classes, truth, background="rest")
        assert list(queries) == ["cat", "dog"]
        assert class_of == [0, 1, 2]
    queries, class_of = asked(classes, [1, 2], background="rest", vocabulary="present")
    assert list(queries) == ["dog"]
    assert class_of == [1, 2]


def test_the_rest_class_is_asked_for_in_the_vocabulary() -> None:
    target = EvalTarget(
        name="t", root="r", items=(), classes=("cat", "background"), has_background=True
    )
    about = Question(target, WHOLE_VIEW.with_changes(background="rest")).about([0])
    assert about is not None
    assert about[0].has_background
    oracle = WHOLE_VIEW.with_changes(background="rest", vocabulary="present")
    assert Question(target, oracle).about([1]) is None


@pytest.mark.parametrize("background", ["rest", "name"])
def test_a_target_without_a_class_for_the_background_cannot_have_one(background: str) -> None:
    with pytest.raises(ConfigError, match="t has no class for the background"):
        asked(["cat", "dog"], [0], background=background)


def test_class_indices_can_be_looked_up_by_label_maps() -> None:
    target = EvalTarget(name="t", root="r", items=(), classes=("cat", "dog", "sky"))
    about = Question(target, WHOLE_VIEW.with_changes(vocabulary="present")).about([2])
    assert about is not None
    found = about[1][np.zeros((2, 2), np.uint8)]
    assert found.tolist() == [[2, 2], [2, 2]]


def folder_of(
    labels: list[int], folder: Path, *, classes: tuple[str, ...] = CLASSES, **source: object
) -> FolderDataset:
    """A picture of one row, in a folder whose source says this of its labels."""
    indices = {name: source.pop(name) for name in ("ignore_index",) if name in source}
    table = {"classes": classes, "sources": {"pets": source}, **indices}
    (folder / "classes.json").write_text(json.dumps(table))
    for name in ("images", "masks"):
        (folder / name).mkdir()
        Image.fromarray(np.array([labels], np.uint8)).save(folder / name / "pets__1.png")
    return FolderDataset.read(folder)


def truth_of(labels: list[int], folder: Path, **source: object) -> list[int]:
    """The truth of that picture."""
    (target,) = folder_targets(folder_of(labels, folder, **source))
    return target.items[0].read_truth()[0].tolist()


def test_declared_labels_are_classes_and_background_counts_nowhere(tmp_path: Path) -> None:
    found = truth_of([0, 2, 254, 255], tmp_path, annotated=[2, 0], has_background=True)
    assert found == [0, 2, 255, 255]


def test_a_class_that_its_source_does_not_annotate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"pets__1\.png holds label 1, 'dog', which source 'pets'"
    ):
        truth_of([0, 1, 2], tmp_path, annotated=[0, 2], has_background=False)


def test_background_that_its_source_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"pets__1\.png holds label 254, the background"):
        truth_of([0, 254], tmp_path, annotated=[0, 1, 2], has_background=False)


@pytest.mark.parametrize(("ignore_index", "ignored"), [(255, 255), (3, 4)])
def test_background_is_the_last_class_where_it_is_asked_for(
    tmp_path: Path, ignore_index: int, ignored: int
) -> None:
    dataset = folder_of(
        [0, 2, 254, ignore_index],
        tmp_path,
        annotated=[0, 1, 2],
        has_background=True,
        ignore_index=ignore_index,
    )
    (target,) = folder_targets(dataset, with_background=True)
    assert target.has_background
    assert target.classes == (*CLASSES, "background")
    assert target.ignore_label == ignored
    assert target.items[0].read_truth()[0].tolist() == [0, 2, 3, ignored]
    (plain,) = folder_targets(dataset)
    assert not plain.has_background
    assert plain.classes == CLASSES


@pytest.mark.parametrize(
    "source",
    [
        {"annotated": [0, 1, 2], "has_background": False},
        {"annotated": [0, 1], "has_background": True},  # a sofa may lie in its background
    ],
)
def test_a_folder_without_pixels_of_no_class_has_no_background(
    tmp_path: Path, source: dict[str, object]
) -> None:
    with pytest.raises(
        DatasetError, match=r"no source of .* labels what is none of them 254, the background"
    ):
        folder_targets(folder_of([0], tmp_path, **source), with_background=True)


def test_a_class_that_is_called_background_is_refused_beside_it(tmp_path: Path) -> None:
    classes = ("cat", "Background")
    dataset = folder_of([0], tmp_path, classes=classes, annotated=[0, 1], has_background=True)
    with pytest.raises(DatasetError, match="has a class 'background' beside"):
        folder_targets(dataset, with_background=True)


@pytest.mark.parametrize(("ignore_index", "stray"), [(255, 3), (3, 4)])
def test_a_stray_label_is_not_taken_for_background(
    tmp_path: Path, ignore_index: int, stray: int
) -> None:
    dataset = folder_of(
        [0, stray, 254],
        tmp_path,
        annotated=[0, 1, 2],
        has_background=True,
        ignore_index=ignore_index,
    )
    (target,) = folder_targets(dataset, with_background=True)
    with pytest.raises(DatasetError, match=f"holds label {stray}, but there are classes"):
        target.items[0].read_truth()


def test_a_background_that_is_left_out_of_the_protocol_is_refused() -> None:
    with pytest.raises(ConfigError, match="the last class of t is the background"):
        asked(["cat", "background"], [0])
