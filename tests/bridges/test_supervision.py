from pathlib import Path

import numpy as np
import pytest
from conftest import NAMES
from PIL import Image

from escnet.annotations.format import FormatOptions
from escnet.segmentation import Segmentation, save_all

sv = pytest.importorskip("supervision", reason="supervision is not installed here")


def masks_by_its_yolo_reader(folder: Path) -> dict[str, dict[int, np.ndarray]]:
    """The mask of each label of each picture, by the picture's stem."""
    dataset = sv.DetectionDataset.from_yolo(
        images_directory_path=str(folder / "images"),
        annotations_directory_path=str(folder / "labels"),
        data_yaml_path=str(folder / "data.yaml"),
        force_masks=True,
    )
    assert dataset.classes == list(NAMES)
    masks: dict[str, dict[int, np.ndarray]] = {}
    for path, _, detections in dataset:
        of_picture = masks.setdefault(Path(path).stem, {})
        for label in np.unique(detections.class_id):
            of_picture[int(label)] = detections.mask[detections.class_id == label].any(axis=0)
    return masks


def grown_right_and_down(mask: np.ndarray) -> np.ndarray:
    grown = mask.copy()
    grown[:, 1:] |= mask[:, :-1]
    grown[1:] |= grown[:-1].copy()
    return grown


def test_its_yolo_reader_gives_the_label_maps_back_but_for_the_line_that_opencv_draws(
    results: list[Segmentation], tmp_path: Path
) -> None:
    # OpenCV fills the outline's own pixels too, which are those to the right and below
    save_all(results, tmp_path, ["yolo"], options=FormatOptions(tolerance=0.0))
    found = masks_by_its_yolo_reader(tmp_path / "yolo")
    assert set(found) == {result.stem for result in results}
    for result in results:
        present = [label for label in np.unique(result.label_map).tolist() if label < len(NAMES)]
        assert sorted(found[result.stem]) == present
        for label, mask in found[result.stem].items():
            truth = result.label_map == label
            assert not (truth & ~mask).any()
            assert not (mask & ~grown_right_and_down(truth)).any()


def test_its_coco_reader_gives_the_label_maps_back(
    results: list[Segmentation], tmp_path: Path
) -> None:
    save_all(results, tmp_path, ["coco"], options=FormatOptions(shape="rle"))
    for result in results:
        Image.fromarray(result.picture).save(tmp_path / f"{result.stem}.jpg")
    dataset = sv.DetectionDataset.from_coco(
        images_directory_path=str(tmp_path),
        annotations_path=str(tmp_path / "coco" / "instances.json"),
        force_masks=True,
    )
    found = {Path(path).stem: detections for path, _, detections in dataset}
    for result in results:
        label_map = np.full(result.label_map.shape, 255)
        for mask, label in zip(found[result.stem].mask, found[result.stem].class_id, strict=True):
            label_map[mask] = label
        np.testing.assert_array_equal(label_map, result.label_map)
