"""The label map of a raster as a GeoTIFF that maps show: colours, names, overviews, same place.

It is cloud-optimised: tiled, compressed, with overviews in which the most frequent label stands for
several. The colours are in the file; the names, for which TIFF has no place, are in
STEM.labels.tif.aux.xml beside it, where GDAL reads them, and once more as JSON in the tag
`escnet_names`. STEM.labels.qml gives QGIS a legend of the names alone: of itself it shows all 256
colours of the file's table.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from escnet.annotations.format import FormatOptions
from escnet.annotations.label_dtype import label_dtype
from escnet.extras import module_of_extra
from escnet.files import MARK, move_file, write_file
from escnet.rasters.chunks import ChunkFolder, chunk_results
from escnet.rasters.source import Raster, writing

_BLOCK = 512
_PLAIN, _OPTIMISED = "plain.tif", "optimised.tif"
NAMES_TAG = "escnet_names"


def write_geotiff(
    path: Path,
    raster: Raster,
    folder: ChunkFolder,
    names: Sequence[str],
    options: FormatOptions,
) -> None:
    """Write the label map's file from its chunks, and the files with its names beside it.

    Args:
        path: The file to write or replace.
        raster: Which says where on Earth it is.
        folder: Of all chunks.
        names: In index order.
        options: Which say the colours.

    Raises:
        OutputError: If it cannot be written, or a file of somebody else is there.
    """
    rasterio = module_of_extra("rasterio", "geo")
    copying = module_of_extra("rasterio.shutil", "geo")
    plain, optimised = folder.folder / _PLAIN, folder.folder / _OPTIMISED
    for leftover in folder.folder.glob("*.tif*"):
        leftover.unlink()
    with writing(path):
        with rasterio.open(plain, "w", **_profile(raster, names)) as file:
            _describe(file, raster, names, options)
            for chunk, finished in chunk_results(folder, raster.size_hw):
                window = (
                    (chunk.rows.start, chunk.rows.stop),
                    (chunk.columns.start, chunk.columns.stop),
                )
                file.write(finished.label_map, 1, window=window)
        copying.copy(
            plain,
            optimised,
            driver="COG",
            compress="DEFLATE",
            overview_resampling="MODE",
            blocksize=_BLOCK,
            bigtiff="IF_SAFER",
        )
        plain.unlink()
    move_file(optimised, path)
    names_file, legend_file = files_beside(path)
    write_file(names_file, _category_names(names))
    write_file(legend_file, _legend(names, options))


def files_beside(path: Path) -> tuple[Path, Path]:
    """Where GDAL looks for the names of a label map's values, and QGIS for its legend."""
    return path.with_name(path.name + ".aux.xml"), path.with_suffix(".qml")


def _profile(raster: Raster, names: Sequence[str]) -> dict[str, Any]:
    dtype = label_dtype(len(names))
    height, width = raster.size_hw
    place: dict[str, Any] = {"crs": raster.dataset.crs, "transform": raster.dataset.transform}
    if raster.dataset.gcps[0]:
        place = {}
    return place | {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "count": 1,
        "dtype": np.dtype(dtype).name,
        "nodata": int(np.iinfo(dtype).max),
        "tiled": True,
        "blockxsize": _BLOCK,
        "blockysize": _BLOCK,
        "compress": "DEFLATE",
        "zlevel": 1,
        "bigtiff": "IF_SAFER",
    }


def _describe(file: Any, raster: Raster, names: Sequence[str], options: FormatOptions) -> None:
    file.update_tags(
        TIFFTAG_IMAGEDESCRIPTION=f"label map, {MARK}",
        **{NAMES_TAG: json.dumps(list(names))},
    )
    points, crs = raster.dataset.gcps
    if points:
        file.gcps = (points, crs)
    if file.dtypes[0] == "uint8":
        colours = options.colours(names).tolist()
        table = {index: (*colour, 255) for index, colour in enumerate(colours)}
        file.write_colormap(1, table | {255: (0, 0, 0, 0)})


def _category_names(names: Sequence[str]) -> bytes:
    root = ElementTree.Element("PAMDataset")
    root.append(ElementTree.Comment(f" {MARK} "))
    band = ElementTree.SubElement(root, "PAMRasterBand", band="1")
    categories = ElementTree.SubElement(band, "CategoryNames")
    for name in names:
        ElementTree.SubElement(categories, "Category").text = name
    return ElementTree.tostring(root, encoding="utf-8")


def _legend(names: Sequence[str], options: FormatOptions) -> bytes:
    """A style of QGIS, which takes it from the file beside a layer's own."""
    root = ElementTree.Element("qgis")
    root.append(ElementTree.Comment(f" {MARK} "))
    pipe = ElementTree.SubElement(root, "pipe")
    renderer = ElementTree.SubElement(
        pipe, "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1"
    )
    palette = ElementTree.SubElement(renderer, "colorPalette")
    for value, (name, colour) in enumerate(
        zip(names, options.colours(names).tolist(), strict=True)
    ):
        ElementTree.SubElement(
            palette,
            "paletteEntry",
            value=str(value),
            color=f"#{bytes(colour).hex()}",
            alpha="255",
            label=name,
        )
    return ElementTree.tostring(root, encoding="utf-8")
