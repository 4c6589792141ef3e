"""Our auto-annotation function, driven as CVAT's own driver and cvat-cli drive it."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.colour_method import colour_labels, colour_picture, colour_segmenter

cvataa = pytest.importorskip("cvat_sdk.auto_annotation", reason="cvat-sdk is not installed here")

from cvat_sdk import models  # noqa: E402
from cvat_sdk.auto_annotation import driver  # noqa: E402
from cvat_sdk.masks import decode_mask  # noqa: E402
from pycocotools import mask as run_lengths  # noqa: E402

from escnet.bridges import cvat  # noqa: E402
from escnet.errors import ConfigError  # noqa: E402

NAMES = ["red", "green", "blue"]
PICTURE = Image.fromarray(colour_picture())


def annotations_on_the_server(
    function: cvat.DetectionFunction, *, as_polygons: bool = False, threshold: float | None = None
) -> list[models.LabeledShapeRequest]:
    """What CVAT's driver uploads for frame 7 of a task whose labels are numbered otherwise."""
    kind = "polygon" if as_polygons else "mask"
    task_labels = [
        models.Label(id=100 + i, name=name, type=kind, attributes=[], sublabels=[])
        for i, name in enumerate(reversed(NAMES))
    ]
    mapper = driver._AnnotationMapper(
        logging.getLogger(),
        function.spec.labels,
        task_labels,
        allow_unmatched_labels=False,
        conv_mask_to_poly=as_polygons,
    )
    context = driver._DetectionFunctionContextImpl(
        frame_name="a.jpg", conf_threshold=threshold, conv_mask_to_poly=as_polygons
    )
    tags, shapes = mapper.validate_and_remap(function.detect(context, PICTURE), 7)
    assert not tags
    return shapes


def test_masks_go_through_cvat_s_own_checks_and_give_the_label_map_back() -> None:
    shapes = annotations_on_the_server(cvat.DetectionFunction(colour_segmenter(), NAMES))
    labels = np.full((30, 40), 255)
    for shape in shapes:
        assert (shape.frame, shape.source) == (7, "auto")
        mask = decode_mask(shape.points, image_width=40, image_height=30)
        labels[mask] = 2 - (shape.label_id - 100)
    np.testing.assert_array_equal(labels, colour_labels())


def test_polygons_come_where_the_task_asks_for_them() -> None:
    function = cvat.DetectionFunction(colour_segmenter(), NAMES, per="region")
    shapes = annotations_on_the_server(function, as_polygons=True)
    assert {shape.type.value for shape in shapes} == {"polygon"}
    labels = np.full((30, 40), 255)
    for shape in shapes:
        drawn = run_lengths.decode(run_lengths.frPyObjects([list(shape.points)], 30, 40))
        labels[drawn[..., 0].astype(bool)] = 2 - (shape.label_id - 100)
    assert np.mean(labels == colour_labels()) > 0.97  # corners are cut


def test_pixels_below_the_threshold_get_no_shape() -> None:
    function = cvat.DetectionFunction(colour_segmenter(), ["green", "blue"])
    context = driver._DetectionFunctionContextImpl(
        frame_name="a.jpg", conf_threshold=0.9, conv_mask_to_poly=False
    )
    covered = sum(
        decode_mask(shape.points, image_width=40, image_height=30)
        for shape in function.detect(context, PICTURE)
    )
    np.testing.assert_array_equal(covered == 1, colour_labels() > 0)  # red is as much as either


def test_cvat_cli_loads_the_module_with_its_parameters(tmp_path: Path) -> None:
    common = pytest.importorskip("cvat_cli._internal.common")
    with pytest.raises(ConfigError, match="either names or names_file"):
        common.FunctionLoader("escnet.bridges.cvat", None, {}).load()
    list_of_cvat = tmp_path / "labels.json"
    list_of_cvat.write_text(json.dumps([{"name": "sky", "attributes": []}, {"name": "road"}]))
    parameters = {"names_file": str(list_of_cvat)}
    function = common.FunctionLoader("escnet.bridges.cvat", None, parameters).load()
    assert [label.name for label in function.spec.labels] == ["sky", "road"]
