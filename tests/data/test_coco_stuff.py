from pathlib import Path

import pytest
from published import W, png, rows

from escnet.data.coco_stuff import COCO_STUFF_TRAIN, COCO_STUFF_VAL, CODES, RAW_IDS
from escnet.errors import DatasetError

# COCO's categories, counted from one, that no release ever annotated
HOLES = [12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91]


def test_raw_ids_are_cocos_less_one_without_the_holes() -> None:
    assert tuple(n - 1 for n in range(1, 183) if n not in HOLES) == RAW_IDS
    assert [CODES[raw] for raw in RAW_IDS] == list(range(171))
    assert {CODES[n - 1] for n in HOLES} == {255}
    assert CODES[255] == 255


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (0, "person"),
        (12, "stop sign"),
        (27, "umbrella"),
        (89, "toothbrush"),
        (91, "banner"),
        (181, "wood"),
    ],
)
def test_raw_ids_have_the_published_names(raw: int, name: str) -> None:
    assert COCO_STUFF_VAL.classes[CODES[raw]] == name


def test_a_raw_id_beyond_the_last_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(rows([182] * W)))
    with pytest.raises(DatasetError, match=r"a\.png holds raw label 182"):
        COCO_STUFF_VAL.layouts[0].read_labels(tmp_path / "a.png")


def test_training_and_scoring_lie_in_folders_of_their_own() -> None:
    for train, val in zip(COCO_STUFF_TRAIN.layouts, COCO_STUFF_VAL.layouts, strict=True):
        assert (train.pictures, train.labels) == tuple(
            path.replace("val2017", "train2017") for path in (val.pictures, val.labels)
        )
