import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from escnet.annotations.format import FormatOptions
from escnet.segmentation import Segmentation, save_all


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_each_name_present_and_what_is_unlabelled_has_a_line(
    result: Segmentation, tmp_path: Path
) -> None:
    rows = table(result.save(tmp_path, formats=["csv"])["csv"])
    assert [row["name"] for row in rows] == ["sky", "sand", "sea", "(unlabelled)"]
    counts = [(result.label_map == value).sum() / 24 for value in (0, 2, 1, 255)]
    assert [float(row["share"]) for row in rows] == pytest.approx(counts, abs=1e-6)
    assert [float(row["mean_confidence"]) for row in rows] == [0.75, 0.75, 0.75, 0.25]
    assert [float(row["doubtful_share"]) for row in rows] == [0, 0, 0, 1]
    assert {row["picture"] for row in rows} == {"beach.png"}


def test_the_limit_of_doubt_can_be_set(result: Segmentation, tmp_path: Path) -> None:
    for limit, doubtful in ((0.75, 4 / 24), (0.8, 1.0)):  # a confidence of 0.75 is not below 0.75
        options = FormatOptions(doubtful_below=limit)
        rows = table(result.save(tmp_path, formats=["csv"], options=options)["csv"])
        assert float(rows[0]["picture_doubtful_share"]) == pytest.approx(doubtful, abs=1e-6)
        assert float(rows[0]["doubtful_share"]) == (limit > 0.75)


def test_folder_csv_has_the_doubtful_pictures_first_and_one_head(
    result: Segmentation, tmp_path: Path
) -> None:
    stems = {"sure": 0.9, "doubtful": 0.1, "between": None, 'a "b",\nc': 0.2}
    results = [
        replace(
            result,
            stem=f"r{number}",
            source={"file": f"{name}.png"},
            confidence=result.confidence
            if value is None
            else np.full(result.label_map.shape, value, np.float32),
        )
        for number, (name, value) in enumerate(stems.items())
    ]
    (whole,) = save_all(results, tmp_path, ["csv"])
    assert whole == tmp_path / "folder.csv"
    rows = table(whole)
    pictures = list(dict.fromkeys(row["picture"] for row in rows))
    assert pictures == ["doubtful.png", 'a "b",\nc.png', "between.png", "sure.png"]
    assert len(rows) == 16
