"""GeoJSON: polygons with holes, in coordinates of the map where the picture's place is known.

Otherwise coordinates are pixels, y downwards, as programs for microscopy (QuPath) read them; in a
map such a file lies upside down.
"""

from collections.abc import Iterator
from typing import Any

from escnet.annotations.format import EncodedFile, Format, FormatOptions, PictureResult, Place
from escnet.annotations.json_text import json_list, mark_pair, to_compact_json
from escnet.annotations.shapes import traced_shapes

_LONGITUDE_LATITUDE = 4326  # what GeoJSON means if nothing is said


def _files(result: PictureResult, place: Place, options: FormatOptions) -> Iterator[EncodedFile]:
    yield EncodedFile(GEOJSON.first_file(place), b"".join(_document(result, options)))


def _document(result: PictureResult, options: FormatOptions) -> Iterator[bytes]:
    yield b"{" + mark_pair() + b', "type": "FeatureCollection",\n'
    where = result.georeference
    if where is not None and where.epsg not in {None, _LONGITUDE_LATITUDE}:
        name = {"name": f"urn:ogc:def:crs:EPSG::{where.epsg}"}
        yield b'"crs": ' + to_compact_json({"type": "name", "properties": name}) + b",\n"
    yield b'"features": '
    yield from json_list(_features(result, options))
    yield b"}\n"


def _features(result: PictureResult, options: FormatOptions) -> Iterator[dict[str, Any]]:
    import shapely  # noqa: PLC0415 -- only where polygons are asked for

    where = result.georeference
    colours = options.colours(result.names).tolist()
    for shape in traced_shapes(result, options):
        one = len(shape.polygons) == 1
        outline = shape.polygons[0] if one else shapely.multipolygons(shape.polygons)
        if where is not None:
            outline = shapely.transform(outline, where.to_map)
        outline = shapely.orient_polygons(outline)  # outer rings run counter-clockwise
        yield {
            "type": "Feature",
            "properties": {
                "name": result.names[shape.label],
                "index": shape.label,
                "pixels": shape.area,
                "mean_confidence": shape.score,
                "color": f"#{bytes(colours[shape.label]).hex()}",
            },
            "geometry": outline.__geo_interface__,
        }


GEOJSON = Format(
    about="polygons with holes in map coordinates, else in pixels: QGIS, GDAL, QuPath",
    path="{below}{stem}.geojson",
    encode=_files,
)
