"""Cityscapes' 19 classes, and the ids of its two kinds of label maps.

`_gtFine_labelTrainIds.png` holds the class index, 255 elsewhere; `_gtFine_labelIds.png` holds ids
0..33 of 34 kinds of things, of which 19 are scored.
"""

from escnet.data.label_table import LabelTable, Row

PICTURE_ENDING = "_leftImg8bit"

_IDS = {
    7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole",
    19: "traffic light", 20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky",
    24: "person", 25: "rider", 26: "car", 27: "truck", 28: "bus", 31: "train", 32: "motorcycle",
    33: "bicycle",
}  # fmt: skip
_NUM_IDS = 34

BY_TRAIN_ID = LabelTable.of_names(_IDS.values(), "Cityscapes' 19 classes")
BY_ID = LabelTable(tuple(Row(name, label) for label, name in _IDS.items()), BY_TRAIN_ID.shown)
NOT_SCORED = tuple(label for label in range(_NUM_IDS) if label not in _IDS)
