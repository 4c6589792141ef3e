"""CVAT's two imports: "Segmentation mask 1.1" as pictures in colour, "CVAT 1.1" as polygons."""

import re
from collections.abc import Iterator, Sequence
from html import escape

from escnet.annotations.coco import flat_outline
from escnet.annotations.format import (
    EncodedFile,
    FolderResults,
    Format,
    FormatOptions,
    PictureResult,
    Place,
    WholeFile,
)
from escnet.annotations.json_text import to_utf8
from escnet.annotations.palette import VOID_COLOUR
from escnet.annotations.plain_image import encode_png, painted
from escnet.annotations.polygons import without_holes
from escnet.annotations.shapes import traced_shapes
from escnet.errors import ConfigError

_BACKGROUND = "background"  # what CVAT calls the pixels without a label
_IMAGE = re.compile(rb'<image id="\d+"')
_NO_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _mask_files(
    result: PictureResult, place: Place, options: FormatOptions
) -> Iterator[EncodedFile]:
    colours = options.colours(result.names)
    for index, name in enumerate(result.names):
        if name == _BACKGROUND:
            colours[index] = VOID_COLOUR
    yield EncodedFile(CVAT_MASK.first_file(place), encode_png(painted(result.label_map, colours)))


def _mask_whole(finished: FolderResults) -> Iterator[WholeFile]:
    colours = finished.options.colours(finished.names).tolist()
    lines = [
        "# label:color_rgb:parts:actions",
        f"{_BACKGROUND}:{','.join(map(str, VOID_COLOUR))}::",
        *(
            f"{name}:{','.join(map(str, colour))}::"
            for name, colour in zip(finished.names, colours, strict=True)
            if name != _BACKGROUND
        ),
    ]
    yield WholeFile("cvat-mask/labelmap.txt", [to_utf8("\n".join(lines) + "\n")])
    listed = (to_utf8(f"{place.below}{place.stem}\n") for place in finished.places)
    yield WholeFile("cvat-mask/ImageSets/Segmentation/default.txt", listed)


def _check_mask_names(names: Sequence[str]) -> None:
    for name in names:
        if ":" in name or name.startswith("#"):
            raise ConfigError(
                f"class name {name!r} cannot stand in CVAT's labelmap.txt, where : ends a name and "
                "# a comment begins: rename it, or choose the format cvat-xml"
            )


def _xml_files(
    result: PictureResult, place: Place, options: FormatOptions
) -> Iterator[EncodedFile]:
    content = b"".join((_xml_head(result.names, options), _xml_image(result, place, options), _END))
    yield EncodedFile(CVAT_XML.first_file(place), content)


def _xml_image(result: PictureResult, place: Place, options: FormatOptions) -> bytes:
    height, width = result.label_map.shape
    lines = [
        f'<image id="{place.number - 1}" name="{_attribute(place.picture_path)}" '
        f'width="{width}" height="{height}">\n'
    ]
    for shape in traced_shapes(result, options):
        label = _attribute(result.names[shape.label])
        for polygon in shape.polygons:
            for piece in without_holes(polygon):
                flat = flat_outline(piece)
                points = ";".join(f"{x},{y}" for x, y in zip(flat[::2], flat[1::2], strict=True))
                lines.append(
                    f'<polygon label="{label}" source="auto" occluded="0" '
                    f'points="{points}" z_order="0"></polygon>\n'
                )
    return to_utf8("".join([*lines, "</image>\n"]))


def _xml_head(names: Sequence[str], options: FormatOptions) -> bytes:
    labels = "".join(
        f"<label><name>{_attribute(name)}</name><color>#{bytes(colour).hex()}</color>"
        "<type>polygon</type><attributes></attributes></label>\n"
        for name, colour in zip(names, options.colours(names).tolist(), strict=True)
    )
    return to_utf8(
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
        f"<meta><task><labels>\n{labels}</labels></task></meta>\n"
    )


_END = b"</annotations>\n"


def _xml_whole(finished: FolderResults) -> Iterator[WholeFile]:
    yield WholeFile("cvat-xml/annotations.xml", _xml_document(finished))


def _xml_document(finished: FolderResults) -> Iterator[bytes]:
    yield _xml_head(finished.names, finished.options)
    for place, content in CVAT_XML.parts(finished):
        image = content[content.index(b"<image ") : content.rindex(_END)]
        yield _IMAGE.sub(b'<image id="%d"' % (place.number - 1), image, count=1)
    yield _END


def _attribute(text: str) -> str:
    return escape(_NO_XML.sub("\ufffd", text))  # XML has no way to write control characters


CVAT_MASK = Format(
    about='CVAT\'s "Segmentation mask 1.1", with labelmap.txt: CVAT, Datumaro',
    path="cvat-mask/SegmentationClass/{below}{stem}.png",
    folder="cvat-mask",
    use="Zip what is in this folder; in the task: Actions, Upload annotations, Segmentation mask "
    "1.1. The task needs the labels of labelmap.txt, and pictures of these names.",
    encode=_mask_files,
    whole=_mask_whole,
    whole_paths=(
        "cvat-mask/labelmap.txt",
        "cvat-mask/ImageSets/Segmentation/default.txt",
    ),
    check_names=_check_mask_names,
)
CVAT_XML = Format(
    about='CVAT\'s "CVAT 1.1", polygons in XML: CVAT, Datumaro',
    path="cvat-xml/parts/{below}{stem}.xml",
    folder="cvat-xml",
    use="In the task: Actions, Upload annotations, CVAT 1.1, annotations.xml.",
    encode=_xml_files,
    whole=_xml_whole,
    whole_paths=("cvat-xml/annotations.xml",),
)
