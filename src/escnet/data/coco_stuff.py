"""COCO-Stuff: 171 classes on the pictures of COCO 2017; trained on, and its val2017 scored on.

The published maps (stuffthingmaps) hold raw ids 0..181, one less than COCO's own, of which eleven
were never annotated. Unlike them, label 255 means that nobody labelled a pixel. Another order of
the 171 names, sorted by name, is in circulation: label maps of that order pass every check of
values, and score near nothing.
"""

from escnet.data.layout import Layout, Split, class_names

_NEVER_ANNOTATED = frozenset({11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90})
_IGNORE = 255
RAW_IDS = tuple(raw for raw in range(182) if raw not in _NEVER_ANNOTATED)

CODES = dict.fromkeys((*_NEVER_ANNOTATED, _IGNORE), _IGNORE) | {
    raw: label for label, raw in enumerate(RAW_IDS)
}


def _split(name: str, part: str, num_pictures: int) -> Split:
    pictures = f"coco-stuff/images/{part}"
    return Split(
        name=name,
        classes=class_names("coco171"),
        ignore_label=_IGNORE,
        layouts=(
            Layout(
                pictures=pictures,
                labels=f"coco-stuff/annotations/{part}",
                codes=CODES,
                downloaded_pictures=part,
                downloaded_labels=part,
            ),
            Layout(
                pictures=pictures,
                labels=f"coco-stuff/annotations_detectron2/{part}",
                downloaded_pictures=part,
            ),
        ),
        counts=(num_pictures,),
    )


COCO_STUFF_VAL = _split("coco-stuff", "val2017", 5_000)
COCO_STUFF_TRAIN = _split("coco-stuff-train", "train2017", 118_287)
