from pathlib import Path

import pytest
from published import W, png, rows

from escnet.data.camvid import CAMVID
from escnet.errors import DatasetError


def test_11_is_ignored_and_12_means_nothing(tmp_path: Path) -> None:
    (layout,) = CAMVID.layouts
    (tmp_path / "a.png").write_bytes(png(rows([0, 5, 10, 11, 255, 1, 2, 3]), palette=True))
    labels = layout.read_labels(tmp_path / "a.png")
    assert labels[0].tolist() == [0, 5, 10, 255, 255, 1, 2, 3]
    (tmp_path / "a.png").write_bytes(png(rows([12] * W)))
    with pytest.raises(DatasetError, match=r"a\.png holds raw label 12, which means nothing"):
        layout.read_labels(tmp_path / "a.png")


def test_the_classes_are_those_of_the_tutorial_in_its_order() -> None:
    first = (0, "sky"), (1, "building"), (4, "pavement"), (8, "car"), (10, "bicyclist")
    names = {index: CAMVID.classes[index] for index, _ in first}
    assert names == dict(first)
    assert len(CAMVID.classes) == 11
