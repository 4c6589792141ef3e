from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from published import H, W, mat, packed_runs, png, rows, runs_of

from escnet.data.pascal import (
    BACKGROUND_NAMES,
    CODES_59,
    PAS_20,
    PAS_20B,
    PC_59,
    PC_459,
    AnnotatedPicture,
    labels_of_annotations,
    labels_of_mat,
    rle_mask,
)
from escnet.errors import DatasetError

# the category ids of trainval_merged.json whose order is that of the 59 classes
PUBLISHED_59 = [
    2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98, 104, 105, 113,
    115, 144, 158, 159, 162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296, 308, 324, 326,
    347, 349, 354, 355, 360, 366, 368, 397, 415, 416, 420, 424, 427, 440, 445, 454, 458,
]  # fmt: skip


def test_the_59_classes_have_the_published_category_ids() -> None:
    assert {raw: label for label, raw in enumerate(PUBLISHED_59)} == CODES_59


def test_background_is_ignored_in_20_and_a_class_in_20b(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(rows([0, 1, 20, 255, 0, 2, 3, 4]), palette=True))
    for split, background in ((PAS_20, 255), (PAS_20B, 20)):
        labels = split.layouts[0].read_labels(tmp_path / "a.png")
        assert labels[0].tolist() == [background, 0, 19, 255, background, 1, 2, 3]
    assert (*PAS_20.classes, "background") == PAS_20B.classes
    (tmp_path / "a.png").write_bytes(png(rows([21] * W)))
    with pytest.raises(DatasetError, match=r"a\.png holds raw label 21"):
        PAS_20.layouts[0].read_labels(tmp_path / "a.png")


def test_the_39_background_names_are_the_context_names_that_are_no_voc_class() -> None:
    assert len(BACKGROUND_NAMES) == 39
    voc, others = set(PAS_20.classes), set(BACKGROUND_NAMES)
    assert not voc & others
    context = {name.replace(" ", "") for name in PC_59.classes}
    assert {name.replace(" ", "") for name in voc | others} == context


def test_mat_labels_are_one_more_than_classes() -> None:
    values = np.array([[1, 2], [459, 431]], np.uint16)
    labels = labels_of_mat(mat(values), "x")
    assert labels.dtype == np.uint16
    assert labels.tolist() == [[0, 1], [458, 430]]
    assert PC_459.classes[430] == "unknown"


@pytest.mark.parametrize("value", [0, 460, 1.5])
def test_a_mat_label_beyond_the_459_is_named(value: float) -> None:
    with pytest.raises(DatasetError, match=rf"^x holds label {value}.*, not 1\.\.459"):
        labels_of_mat(mat(np.array([[1, value]], np.float64)), "x")


@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=40))
def test_masks_survive_both_forms_of_run_lengths(values: list[list[bool]]) -> None:
    mask = np.array(values)
    runs, size = runs_of(mask), list(mask.shape)
    assert (rle_mask({"size": size, "counts": runs}) == mask).all()
    assert (rle_mask({"size": size, "counts": packed_runs(runs)}) == mask).all()


def test_packed_runs_of_hand_computed_letters() -> None:
    # 35 is 3 with one more digit to come (3 + 32), then 1; 30 and 2 likewise; 2 - 2 is 0
    assert rle_mask({"size": [35, 2], "counts": "S1S1"}).tolist() == [[False, True]] * 35
    runs = [1, 3, 2, 3]  # the fourth as its difference 0 from the second
    assert packed_runs(runs) == "1320"
    expected = np.array([False] + [True] * 3 + [False] * 2 + [True] * 3).reshape(3, 3).T
    assert (rle_mask({"size": [3, 3], "counts": "1320"}) == expected).all()


def entry(category: int, columns: list[int]) -> dict[str, object]:
    mask = np.zeros((H, W), bool)
    mask[:, columns] = True
    return {"segmentation": {"size": [H, W], "counts": runs_of(mask)}, "category_id": category}


def test_the_later_entry_counts_and_unknown_categories_are_ignored() -> None:
    entries = [entry(2, [0, 1, 2]), entry(9, [2, 3]), entry(1, [0])]
    labels = labels_of_annotations(AnnotatedPicture(H, W, entries), "x")
    assert labels[0].tolist() == [255, 0, 1, 1, 255, 255, 255, 255]
    assert (labels == labels[0]).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"category_id": 2},
        {"category_id": 2, "segmentation": {"size": [H, W]}},
        {"category_id": 2, "segmentation": {"size": [H, W], "counts": [1]}},
        {"category_id": 2, "segmentation": {"size": [H, W], "counts": [-1, H * W + 1]}},
        {"category_id": 2, "segmentation": {"size": [2, 2], "counts": [4]}},
        {"category_id": 2, "segmentation": {"size": [1 << 40, 1], "counts": [1 << 40]}},
        {"category_id": 2, "segmentation": [[0, 0, 1, 1]]},
        {"category_id": "cat", "segmentation": {"size": [H, W], "counts": [H * W]}},
        {"category_id": 2, "segmentation": {"size": [H, W], "counts": "\N{SNOWMAN}"}},
    ],
)
def test_an_entry_of_another_form_is_named(wrong: dict[str, object]) -> None:
    with pytest.raises(DatasetError, match=r"^x has a wrong entry .*: fetch it again"):
        labels_of_annotations(AnnotatedPicture(H, W, [entry(2, [0]), wrong]), "x")
