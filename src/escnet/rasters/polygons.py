"""The label map of a raster as polygons in the coordinates of its map, with their areas.

GDAL traces the pixels' sides in the finished GeoTIFF row by row. Above a tolerance of 0 all corners
between two polygons are taken away once, so that neighbours neither overlap nor gape. Memory grows
with the number of polygons, not with that of pixels.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from escnet.annotations.format import FormatOptions
from escnet.annotations.json_text import json_list, mark_pair, to_compact_json
from escnet.extras import module_of_extra
from escnet.files import claim_folder, move_file, write_file
from escnet.rasters.source import writing

if TYPE_CHECKING:
    from shapely import Polygon

_AT_ONCE = 10_000  # polygons
_GPKG_ABOUT = "GeoPackages of label maps, one for each raster: drag one into QGIS."


class MapPolygon(NamedTuple):
    """A region of one name.

    Attributes:
        label: Index of the name.
        polygon: The outline, with holes, in coordinates of the map.
        pixels: How many it covers, before corners were taken away.
        area: In square units of the map.
    """

    label: int
    polygon: "Polygon"
    pixels: int
    area: float


def map_polygons(geotiff: Path, num_names: int, tolerance: float) -> list[MapPolygon]:
    """The regions of a label map's file.

    Args:
        geotiff: The file.
        num_names: Higher values are void.
        tolerance: How coarse outlines may be, in pixels.
    """
    import shapely  # noqa: PLC0415 -- only where polygons are asked for

    rasterio = module_of_extra("rasterio", "geo")
    features = module_of_extra("rasterio.features", "geo")
    with rasterio.open(geotiff) as file:
        to_map = file.transform
        traced = [
            (int(label), shapely.geometry.shape(outline))
            for outline, label in features.shapes(rasterio.band(file, 1), connectivity=4)
            if label < num_names
        ]
    if not traced:
        return []
    labels, polygons = (list(part) for part in zip(*traced, strict=True))
    outlines = np.array(polygons)
    unit = abs(to_map.determinant)  # of a pixel
    pixels = np.rint(shapely.area(outlines) / unit).astype(int).tolist()
    if tolerance > 0:
        outlines = shapely.coverage_simplify(outlines, tolerance * unit**0.5)
    outlines = shapely.orient_polygons(outlines)
    return [
        MapPolygon(label, outline, count, round(count * unit, 9))
        for label, outline, count in zip(labels, outlines, pixels, strict=True)
    ]


def write_geojson(
    path: Path,
    polygons: Sequence[MapPolygon],
    names: Sequence[str],
    options: FormatOptions,
    crs: Any,
) -> None:
    """Write the polygons as GeoJSON, with the map's coordinate system where it is in EPSG's list.

    Raises:
        OutputError: If it cannot be written.
    """
    write_file(path, _geojson(polygons, names, options, crs))


def _geojson(
    polygons: Sequence[MapPolygon], names: Sequence[str], options: FormatOptions, crs: Any
) -> Iterator[bytes]:
    epsg = crs.to_epsg() if crs else None
    yield b"{" + mark_pair() + b', "type": "FeatureCollection",\n'
    if epsg not in {None, 4326}:
        name = {"name": f"urn:ogc:def:crs:EPSG::{epsg}"}
        yield b'"crs": ' + to_compact_json({"type": "name", "properties": name}) + b",\n"
    yield b'"features": '
    yield from json_list(_features(polygons, names, options, area_unit(crs)))
    yield b"}\n"


def _features(
    polygons: Sequence[MapPolygon], names: Sequence[str], options: FormatOptions, unit: str
) -> Iterator[dict[str, Any]]:
    colours = options.colours(names).tolist()
    for one in polygons:
        yield {
            "type": "Feature",
            "properties": {
                "name": names[one.label],
                "index": one.label,
                "pixels": one.pixels,
                "area": one.area,
                "area_unit": unit,
                "color": f"#{bytes(colours[one.label]).hex()}",
            },
            "geometry": one.polygon.__geo_interface__,
        }


def write_geopackage(
    path: Path,
    polygons: Sequence[MapPolygon],
    names: Sequence[str],
    options: FormatOptions,
    crs: Any,
) -> None:
    """Write the polygons as a GeoPackage, in a folder of escnet's own.

    Raises:
        OutputError: If it cannot be written.
    """
    import shapely  # noqa: PLC0415 -- as above

    raw = module_of_extra("pyogrio.raw", "geo")
    claim_folder(path.parent, _GPKG_ABOUT)
    colours = [f"#{bytes(colour).hex()}" for colour in options.colours(names).tolist()]
    part = path.with_name(f".{path.stem}.part.gpkg")
    part.unlink(missing_ok=True)
    unit = area_unit(crs)
    with writing(path):
        for first in range(0, max(len(polygons), 1), _AT_ONCE):  # of none an empty layer
            several = polygons[first : first + _AT_ONCE]
            label = [one.label for one in several]
            raw.write(
                part,
                geometry=shapely.to_wkb(np.array([one.polygon for one in several])),
                field_data=[
                    np.array([names[index] for index in label], object),
                    np.array(label, np.int32),
                    np.array([one.pixels for one in several], np.int64),
                    np.array([one.area for one in several], np.float64),
                    np.array([unit for _ in several], object),
                    np.array([colours[index] for index in label], object),
                ],
                fields=["name", "index", "pixels", "area", "area_unit", "color"],
                layer="labels",
                driver="GPKG",
                geometry_type="Polygon",
                crs=crs.to_wkt() if crs else None,
                append=part.exists(),
            )
    move_file(part, path, is_own_folder=True)


def area_unit(crs: Any) -> str:
    """What areas are in: the square of the map's unit, or of a pixel's side without a map."""
    if not crs:
        return "pixel²"
    unit = crs.linear_units if crs.is_projected else "degree"
    return f"{unit}²"
