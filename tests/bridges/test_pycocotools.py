from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from escnet.annotations.format import FormatOptions
from escnet.segmentation import Segmentation, save_all


def read_back(coco: COCO, number: int, result: Segmentation) -> np.ndarray:
    label_map = np.full(result.label_map.shape, 255, np.uint8)
    for annotation in coco.loadAnns(coco.getAnnIds(imgIds=[number])):
        mask = coco.annToMask(annotation).astype(bool)
        assert (label_map[mask] == 255).all(), "annotations overlap"
        label_map[mask] = annotation["category_id"] - 1
    return label_map


@pytest.mark.parametrize("per", ["name", "region"])
@pytest.mark.parametrize("shape", ["polygon", "rle"])
def test_coco_reads_the_label_maps_back_pixel_by_pixel(
    results: list[Segmentation], tmp_path: Path, per: str, shape: str
) -> None:
    save_all(
        results, tmp_path, ["coco"], options=FormatOptions(tolerance=0.0, per=per, shape=shape)
    )
    coco = COCO(tmp_path / "coco" / "instances.json")
    assert [coco.imgs[n]["file_name"] for n in (1, 2, 3)] == ["rings.jpg", "noise.jpg", "alone.jpg"]
    for number, result in enumerate(results, 1):
        np.testing.assert_array_equal(read_back(coco, number, result), result.label_map)


def test_areas_and_boxes_are_those_of_the_masks(
    results: list[Segmentation], tmp_path: Path
) -> None:
    save_all(results, tmp_path, ["coco"], options=FormatOptions(per="region"))
    coco = COCO(tmp_path / "coco" / "instances.json")
    exact = COCO(_with(results, tmp_path / "exact", FormatOptions(per="region", shape="rle")))
    assert len(coco.anns) == len(exact.anns)
    for number, annotation in coco.anns.items():
        assert annotation["area"] == exact.anns[number]["area"]
        assert annotation["bbox"] == exact.anns[number]["bbox"]
        assert annotation["score"] == exact.anns[number]["score"]


def _with(results: list[Segmentation], folder: Path, options: FormatOptions) -> Path:
    save_all(results, folder, ["coco"], options=options)
    return folder / "coco" / "instances.json"


def test_real_outlines_at_the_default_tolerance_keep_their_iou(
    real_results: list[Segmentation], tmp_path: Path
) -> None:
    save_all(real_results, tmp_path, ["coco"])
    coco = COCO(tmp_path / "coco" / "instances.json")
    for number, result in enumerate(real_results, 1):
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=[number])):
            mask = coco.annToMask(annotation).astype(bool)
            truth = result.label_map == annotation["category_id"] - 1
            if truth.sum() >= 1000:
                assert (mask & truth).sum() / (mask | truth).sum() >= 0.97


def test_stuff_results_load_as_results_of_the_instances_file(
    results: list[Segmentation], tmp_path: Path
) -> None:
    save_all(results, tmp_path, ["coco", "coco-stuff"])
    coco = COCO(tmp_path / "coco" / "instances.json")
    found = coco.loadRes(str(tmp_path / "coco-stuff" / "results.json"))
    for number, result in enumerate(results, 1):
        np.testing.assert_array_equal(read_back(found, number, result), result.label_map)


def test_cocoeval_scores_the_results_against_themselves_with_1(
    results: list[Segmentation], tmp_path: Path
) -> None:
    save_all(results, tmp_path, ["coco", "coco-stuff"], options=FormatOptions(shape="rle"))
    coco = COCO(tmp_path / "coco" / "instances.json")
    found = coco.loadRes(str(tmp_path / "coco-stuff" / "results.json"))
    for annotation in found.anns.values():
        annotation["score"] = 1.0
    evaluation = COCOeval(coco, found, "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)
