from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from escnet.errors import ConfigError
from escnet.evaluation.protocol import PAPER_PROTOCOL
from escnet.evaluation.result import (
    EvalResult,
    SparseMatrix,
    software_versions,
    to_confusion,
    to_values,
)


def result_of(matrix: np.ndarray, **changes: Any) -> EvalResult:
    fields: dict[str, Any] = {
        "benchmark": "b",
        "data": {"root": "r", "num_pictures": 1, "checksum": ""},
        "model": {"name": "m", "method": "none", "weights_hash": "", "settings": {"s": (1, 2)}},
        "protocol": PAPER_PROTOCOL,
        "deviations": [],
        "versions": {},
        "seconds": 1.5,
        "peak_memory": None,
        "classes": [f"class {index}" for index in range(len(matrix))],
        "confusion": to_confusion(matrix),
        "scores": to_values({"miou_in_truth": np.float64(0.5), "miou_in_either": np.nan}),
        "intervals": {"miou_in_truth": (0.25, 0.75)},
        "per_class": [],
        "pictures": [],
        "skipped": [],
    }
    return EvalResult.model_validate({**fields, **changes})


@pytest.mark.parametrize("num_classes", [3, 201])
def test_a_result_survives_its_file(num_classes: int, tmp_path: Path) -> None:
    matrix = np.zeros((num_classes, num_classes), np.int64)
    matrix[0, 1], matrix[2, 2] = 7, 2**40
    result = result_of(matrix)
    assert isinstance(result.confusion, SparseMatrix) == (num_classes > 200)
    result.write(tmp_path / "b.json")
    found = EvalResult.read(tmp_path / "b.json")
    np.testing.assert_array_equal(found.matrix(), matrix)
    assert found.protocol == PAPER_PROTOCOL
    assert found.scores == {"miou_in_truth": 0.5, "miou_in_either": None}
    assert found.headline == 0.5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "is no result .*benchmark: Field required"),
        ("[]", "holds a JSON list"),
        ("nonsense", "is not JSON"),
        ("[" * 100_000, "is nested more than 64"),
        (None, "does not exist"),
    ],
)
def test_a_file_that_is_no_result_is_named(
    content: str | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "b.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=rf"b\.json {message}"):
        EvalResult.read(path)


def test_a_result_of_a_later_format_is_refused() -> None:
    with pytest.raises(ValueError, match="format"):
        result_of(np.zeros((1, 1), np.int64), format=2)


def test_a_file_of_a_later_format_asks_for_a_later_version(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    path.write_text('{"escnet": "9.0.0", "format": 2, "something": "new"}')
    with pytest.raises(ConfigError, match=r"b\.json has the format 2, .* install a later version"):
        EvalResult.read(path)


def test_a_picture_whose_name_is_not_utf_8_survives_the_file(tmp_path: Path) -> None:
    picture = {"stem": "a\udcff", "miou": 0.5, "pixel_accuracy": None, "seconds": 1.0}
    result = result_of(np.zeros((1, 1), np.int64), pictures=[picture])
    result.write(tmp_path / "b.json")
    assert EvalResult.read(tmp_path / "b.json").pictures == result.pictures


def test_a_package_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_torch(package: str) -> str:
        if package == "torch":
            raise PackageNotFoundError(package)
        return version(package)

    monkeypatch.setattr("escnet.evaluation.result.version", without_torch)
    versions = software_versions()
    assert "torch" not in versions
    assert "numpy" in versions
