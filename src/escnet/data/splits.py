"""The published data sets by name: those that are scored on, and COCO-Stuff's training pictures."""

from escnet.data.ade20k import ADE_150, ADE_847
from escnet.data.camvid import CAMVID
from escnet.data.coco_stuff import COCO_STUFF_TRAIN, COCO_STUFF_VAL
from escnet.data.layout import Split
from escnet.data.pascal import PAS_20, PAS_20B, PC_59, PC_459
from escnet.errors import DatasetError

SPLITS = {
    split.name: split
    for split in (
        ADE_847, PC_459, ADE_150, PC_59, PAS_20, PAS_20B, COCO_STUFF_VAL, CAMVID, COCO_STUFF_TRAIN,
    )
}  # fmt: skip


def find_split(name: str) -> Split:
    """The data set of a name.

    Raises:
        DatasetError: If there is none.
    """
    if name not in SPLITS:
        raise DatasetError(f"no data set {name!r}: choose from {', '.join(SPLITS)}")
    return SPLITS[name]
