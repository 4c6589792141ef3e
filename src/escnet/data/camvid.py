"""CamVid with 11 classes: the 233 test pictures, as the SegNet tutorial publishes them.

Its label maps hold 0..10, and 11 where nothing counts.
"""

from escnet.data.layout import Layout, Split, class_names

_IGNORE = 255

CAMVID = Split(
    name="camvid",
    classes=class_names("camvid11"),
    ignore_label=_IGNORE,
    layouts=(
        Layout(
            pictures="CamVid/test",
            labels="CamVid/testannot",
            picture_suffix=".png",
            codes={label: label for label in range(11)} | {11: _IGNORE, 255: _IGNORE},
        ),
    ),
    counts=(233,),
)
