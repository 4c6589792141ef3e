from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from escnet.annotations.groups import merged_highest
from escnet.errors import ConfigError
from escnet.segmentation import Segmentation


def test_score_maps_come_back_as_they_were(result: Segmentation, tmp_path: Path) -> None:
    maps = (np.arange(2 * 3 * 5).reshape(2, 3, 5) / 30).astype(np.float16)
    result = replace(result, scores=maps)
    with np.load(result.save(tmp_path, formats=["scores"])["scores"], allow_pickle=False) as file:
        np.testing.assert_array_equal(file["scores"], maps)
        assert tuple(file["names"]) == result.names[:2]
        assert tuple(file["size"]) == result.label_map.shape


def test_a_result_of_labels_alone_is_refused(result: Segmentation, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="scores=True"):
        result.save(tmp_path, formats=["scores"])


def test_a_group_has_the_highest_of_its_labels() -> None:
    maps = np.array([[[0.1, 0.9]], [[0.5, np.nan]], [[0.2, 0.3]]], np.float16)
    found = merged_highest(maps, [0, 0, 1, 2])  # the last, the background, has no map
    np.testing.assert_array_equal(found, np.array([[[0.5, 0.9]], [[0.2, 0.3]]], np.float16))
    presence = merged_highest(np.array([0.1, 0.6, np.nan]), [1, 1, 0])
    np.testing.assert_array_equal(presence, [np.nan, 0.6])
