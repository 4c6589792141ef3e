import json
from pathlib import Path

import numpy as np
import pytest

from escnet.segmentation import Segmentation, save_all

datasets = pytest.importorskip("datasets", reason="datasets is not installed here")


def test_load_dataset_gives_pictures_and_indices(
    results: list[Segmentation], tmp_path: Path
) -> None:
    save_all(results, tmp_path / "out", ["hf-datasets"])
    folder = tmp_path / "out" / "hf-datasets"
    loaded = datasets.load_dataset(
        "imagefolder", data_dir=str(folder), cache_dir=str(tmp_path / "cache")
    )["train"]
    assert {name: type(feature).__name__ for name, feature in loaded.features.items()} == {
        "image": "Image",
        "label": "Image",
    }
    assert len(loaded) == len(results)
    found = {np.asarray(row["label"]).shape: row for row in loaded}
    for result in results:
        row = found[result.label_map.shape]
        np.testing.assert_array_equal(np.asarray(row["label"]), result.label_map)
        assert row["image"].mode == "RGB"
    id2label = json.loads((folder / "id2label.json").read_text(encoding="utf-8"))
    assert id2label == {str(index): name for index, name in enumerate(results[0].names)}
