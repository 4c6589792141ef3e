from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from escnet.errors import ConfigError
from escnet.segmentation import Segmentation


def test_the_three_best_names_come_back_as_they_were(result: Segmentation, tmp_path: Path) -> None:
    top = np.arange(4 * result.label_map.size).reshape(4, *result.label_map.shape) % 4
    chances = (top / 4).astype(np.float16)
    result = replace(result, top_names=top.astype(np.uint8), top_probabilities=chances)
    with np.load(result.save(tmp_path, formats=["top3"])["top3"]) as file:
        np.testing.assert_array_equal(file["top"], top[:3])
        np.testing.assert_array_equal(file["probabilities"], chances[:3])
        assert tuple(file["names"]) == result.names


def test_a_result_with_one_name_of_each_pixel_is_refused(
    result: Segmentation, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="top=3"):
        replace(result, top_names=None).save(tmp_path, formats=["top3"])
