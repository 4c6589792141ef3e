"""supervision: results as `Detections`, for its annotators, trackers and data sets.

detections = to_detections(Segmenter.load().segment("photo.jpg", ["cup", "table"]))
"""

from typing import Any

import numpy as np

from escnet.annotations.format import FormatOptions
from escnet.annotations.shapes import masked_shapes
from escnet.extras import module_of_extra
from escnet.segmentation import Segmentation

supervision = module_of_extra("supervision", "supervision")


def to_detections(result: Segmentation, *, per: str = "name") -> Any:
    """A `supervision.Detections` of a result.

    `class_id` is the index of the name, `data["class_name"]` the name, `confidence` the mean over
    the pixels. Boxes end with the last pixel, as supervision's own do.

    Args:
        result: One picture's result.
        per: What one detection covers: all of a "name", or one connected "region".

    Raises:
        ConfigError: If `per` is unknown.
    """
    shapes = list(masked_shapes(result, FormatOptions(per=per)))
    if not shapes:
        return supervision.Detections.empty()
    masks = np.stack([shape.mask for shape in shapes])  # (N, H, W)
    return supervision.Detections(
        xyxy=supervision.mask_to_xyxy(masks).astype(np.float32),
        mask=masks,
        confidence=np.array([shape.score for shape in shapes], np.float32),
        class_id=np.array([shape.label for shape in shapes]),
        data={"class_name": np.array([result.names[shape.label] for shape in shapes])},
    )
