from pathlib import Path

import numpy as np
import pytest

from escnet.annotations.palette import name_colours
from escnet.segmentation import Segmentation

cv2 = pytest.importorskip("cv2", reason="opencv-python is not installed here")


def test_whoever_opens_grey_label_maps_by_opencv_gets_indices(
    results: list[Segmentation], tmp_path: Path
) -> None:
    path = str(results[0].save(tmp_path, formats=["grey"])["grey"])
    for flag in (cv2.IMREAD_UNCHANGED, cv2.IMREAD_GRAYSCALE, cv2.IMREAD_ANYDEPTH):
        np.testing.assert_array_equal(cv2.imread(path, flag), results[0].label_map)


def test_colours_are_read_as_blue_green_red(results: list[Segmentation], tmp_path: Path) -> None:
    path = str(results[0].save(tmp_path, formats=["color"])["color"])
    pixels = cv2.imread(path, cv2.IMREAD_UNCHANGED)
    colours = name_colours(results[0].names)
    np.testing.assert_array_equal(pixels[0, 0, ::-1], colours[0])
    np.testing.assert_array_equal(pixels[5, 5, ::-1], colours[1])
