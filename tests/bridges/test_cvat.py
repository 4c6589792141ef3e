"""CVAT's own reader of data sets is Datumaro; its SDK encodes masks."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from escnet.annotations.format import FormatOptions
from escnet.segmentation import Segmentation, save_all


def test_datumaro_reads_segmentation_mask_1_1_back(
    results: list[Segmentation], tmp_path: Path
) -> None:
    datumaro = pytest.importorskip("datumaro", reason="datumaro is not installed here")
    save_all(results, tmp_path, ["cvat-mask"])
    dataset = datumaro.Dataset.import_from(str(tmp_path / "cvat-mask"), "voc_segmentation")
    names = [label.name for label in dataset.categories()[datumaro.AnnotationType.label].items]
    items = {item.id: item for item in dataset}
    assert set(items) == {"rings", "noise", "alone"}
    for result in results:
        label_map = np.full(result.label_map.shape, 255)
        for annotation in items[result.stem].annotations:
            name = names[annotation.label]
            if name != "background":
                label_map[annotation.image.astype(bool)] = result.names.index(name)
        np.testing.assert_array_equal(label_map, result.label_map)


def test_datumaro_reads_the_polygons_of_cvat_1_1_back(
    results: list[Segmentation], tmp_path: Path
) -> None:
    datumaro = pytest.importorskip("datumaro", reason="datumaro is not installed here")
    from pycocotools import mask as run_lengths

    save_all(results, tmp_path, ["cvat-xml"], options=FormatOptions(tolerance=0.0))
    folder = tmp_path / "cvat-xml"
    (folder / "images").mkdir()  # CVAT has the pictures already; Datumaro looks for them here
    for result in results:
        Image.fromarray(result.picture).save(folder / "images" / f"{result.stem}.jpg")
    dataset = datumaro.Dataset.import_from(str(folder), "cvat")
    names = [label.name for label in dataset.categories()[datumaro.AnnotationType.label].items]
    items = {item.id: item for item in dataset}
    assert set(items) == {"rings", "noise", "alone"}
    for result in results:
        height, width = result.label_map.shape
        label_map = np.full(result.label_map.shape, 255)
        for polygon in items[result.stem].annotations:
            rle = run_lengths.frPyObjects([list(polygon.points)], height, width)
            mask = run_lengths.decode(rle)[..., 0].astype(bool)
            label_map[mask] = result.names.index(names[polygon.label])
        np.testing.assert_array_equal(label_map, result.label_map)
