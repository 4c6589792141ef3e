from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from escnet.data.image import read_image
from escnet.errors import ImageError
from escnet.inference.figures.compared_model import measure_model, sheet_labels
from escnet.inference.label_maps.windows import NATIVE
from escnet.inference.options import SegmentOptions
from escnet.inference.segmenter import Segmenter
from escnet.vocabulary import Vocabulary

NAMES = Vocabulary.parse("sky, car=car|truck, road").with_background()


@pytest.fixture
def job(tmp_path: Path) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    paths = [tmp_path / name for name in ("a.png", "b.png")]
    for path, size_hw in zip(paths, [(40, 60), (50, 30)], strict=True):
        Image.fromarray(rng.integers(0, 256, (*size_hw, 3)).astype(np.uint8)).save(path)
    return {
        "model": "tiny",
        "device": "cpu",
        "dtype": "float32",
        "pictures": [str(path) for path in paths],
        "vocabulary": NAMES.to_toml().decode("utf-8"),
        "background": NAMES.has_background,
        "threads": None,
        "options": asdict(SegmentOptions(max_pixels=10_000)),
        "folder": str(tmp_path),
    }


@pytest.mark.parametrize("windows", [None, NATIVE])
def test_a_model_in_a_comparison_says_what_it_says_alone(job: dict[str, Any], windows: Any) -> None:
    job["options"] = asdict(SegmentOptions(windows=windows))
    found = measure_model(job)
    segmenter = Segmenter.load("tiny", device="cpu")
    assert (found["method"], found["weights_hash"]) == ("esc-net", segmenter.weights_hash)
    for index, path in enumerate(job["pictures"]):
        expected = segmenter.segment(path, NAMES, windows=windows)
        np.testing.assert_array_equal(
            np.load(Path(job["folder"], f"{index}.npy")), expected.label_map
        )
        assert found["results"][index]["names"] == expected.summary()["names"]
        assert found["settings"] == expected.settings


def test_times_are_positive_and_no_picture_needs_more_than_the_model(job: dict[str, Any]) -> None:
    found = measure_model(job)
    assert found["load_seconds"] > 0
    assert [result["seconds"] > 0 for result in found["results"]] == [True, True]
    peaks = [result["peak_memory"] for result in found["results"]]
    assert found["peak_memory"] is None or None in peaks or max(peaks) <= found["peak_memory"]


def test_a_picture_that_cannot_be_read_is_an_error(job: dict[str, Any]) -> None:
    job["pictures"].append("absent.png")
    with pytest.raises(ImageError, match=r"absent\.png does not exist"):
        measure_model(job)


@pytest.mark.parametrize("turned", [False, True])
def test_labels_are_picked_at_the_centres_of_the_sheets_pixels(turned: bool) -> None:
    label_map = np.arange(1280, dtype=np.uint16)[None].repeat(2, axis=0)
    found = sheet_labels(label_map.T).T if turned else sheet_labels(label_map)
    assert found.shape == (1, 640)
    np.testing.assert_array_equal(found[0], np.arange(640) * 2 + 1)


def test_a_small_label_map_stays(job: dict[str, Any]) -> None:
    label_map = read_image(job["pictures"][0])[..., 0]
    np.testing.assert_array_equal(sheet_labels(label_map), label_map)
