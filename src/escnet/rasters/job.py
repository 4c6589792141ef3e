"""One raster to its files: chunk by chunk, with what is finished kept on disk."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, UInt

from escnet.annotations.format import FormatOptions
from escnet.annotations.json_text import to_marked_json
from escnet.annotations.label_dtype import label_dtype
from escnet.annotations.overlay import draw_overlay, encode_overlay
from escnet.annotations.summary import FORMAT, label_counts, mean_confidences
from escnet.errors import ConfigError, setting
from escnet.extras import module_of_extra
from escnet.files import check_replaceable, make_folder, write_file
from escnet.inference.jobs.parts import PartReport, existing_whole, plain
from escnet.inference.label_maps.windowed_scores import WindowedScores, label_rows
from escnet.inference.label_maps.windows import NATIVE
from escnet.inference.options import SegmentOptions
from escnet.inference.segmenter import Segmenter
from escnet.rasters.canvas import RasterCanvas
from escnet.rasters.chunks import Chunk, ChunkFolder, ChunkResult, chunks_of
from escnet.rasters.geotiff import files_beside, write_geotiff
from escnet.rasters.polygons import map_polygons, write_geojson, write_geopackage
from escnet.rasters.source import Raster, gdal_memory
from escnet.rasters.stretch import Stretch
from escnet.rasters.summary import raster_summary
from escnet.vocabulary import Vocabulary

RASTER_FORMATS = {
    "labels": "{stem}.labels.tif",
    "overlay": "{stem}.overlay.jpg",
    "geojson": "{stem}.geojson",
    "gpkg": "gpkg/{stem}.gpkg",
    "json": "{stem}.json",
}
_OVERLAY_SIDE = 2048
_WHOLE_COUNTS = 100_000_000  # pixels up to which the raster as a whole is averaged with its windows


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterReport:
    """What became of a raster.

    Attributes:
        raster: Its file.
        status: "written", or "skipped", as an equal run has finished it.
        outputs: The file of each format.
        summary: What STEM.json holds.
    """

    raster: Path
    status: Literal["written", "skipped"]
    outputs: Mapping[str, Path]
    summary: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterJob:
    """A raster, and how it is segmented and written.

    Attributes:
        path: The raster's file.
        vocabulary: The class names.
        out: Folder of the results.
        stem: How their names begin; the raster's own stem if it is empty.
        options: With windows; without, those of the raster's own resolution are taken.
        formats: Some of `RASTER_FORMATS`.
        format_options: How files are written.
        bands: Red, green and blue; see `Raster`.
        stretch: See `Raster`.
        resume: Whether what an equal run has finished stays.
    """

    path: Path
    vocabulary: Vocabulary
    out: Path
    stem: str = ""
    options: SegmentOptions = field(default_factory=SegmentOptions)
    formats: tuple[str, ...] = ("labels", "overlay", "json")
    format_options: FormatOptions = field(default_factory=FormatOptions)
    bands: tuple[int, ...] = ()
    stretch: Stretch | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        for kind in self.formats:
            if kind not in RASTER_FORMATS:
                raise ConfigError(
                    f"format {kind!r} is none of a raster's: choose from "
                    f"{', '.join(RASTER_FORMATS)}, or read it {setting('as')} picture"
                )
        if self.options.is_tidy:
            raise ConfigError(
                f"{setting('min_area')} and {setting('fill_holes')} need the whole label map: "
                "leave them out and run gdal_sieve on the result"
            )
        if self.options.level:
            raise ConfigError(
                f"{setting('level')} {self.options.level} is not for rasters: leave it out, and "
                "reclassify the label map by the names file's groups"
            )
        windows = self.options.windows
        if windows is not None and (windows.size or windows.short_side):
            raise ConfigError("a raster is seen in windows of its own resolution: choose native")

    @property
    def files(self) -> dict[str, Path]:
        """The file of each format; labels and json are always there."""
        kinds = dict.fromkeys(("labels", *self.formats, "json"))
        return {kind: self.out / RASTER_FORMATS[kind].format(stem=self._stem) for kind in kinds}

    @property
    def _stem(self) -> str:
        return self.stem or self.path.stem

    def check(self) -> int:
        """Look at the raster's header and at what would be replaced, before a model is loaded.

        Returns:
            The number of chunks.

        Raises:
            ImageError: If the raster cannot be read.
            ConfigError: If it has no such bands.
            OutputError: If a file that escnet did not write would be replaced.
        """
        make_folder(self.out)
        files = self.files
        check_replaceable(path for kind, path in files.items() if kind != "gpkg")
        check_replaceable(files_beside(files["labels"]))
        with self._open() as raster:
            has_points = bool(raster.dataset.gcps[0])
            if has_points and {"geojson", "gpkg"} & set(self.formats):
                raise ConfigError(
                    f"raster {self.path.name} is placed by control points alone: gdalwarp it "
                    "first, or leave polygons out"
                )
            return len(chunks_of(raster.size_hw))

    def run(
        self,
        segmenter: Segmenter,
        on_progress: Callable[[PartReport], None] = lambda _: None,
    ) -> RasterReport:
        """Segment the raster and write its files.

        Memory is bounded, but for polygons. Interrupted, it leaves finished chunks, and no half
        file.

        Args:
            segmenter: Makes the labels.
            on_progress: Called after each chunk.

        Raises:
            ImageError: If the raster cannot be read somewhere; chunks finished until then stay.
            OutputError: If a file cannot be written.
        """
        with gdal_memory(), self._open() as raster:
            options = self._options(raster)
            making = self._making(raster, segmenter, options)
            others = {kind: path for kind, path in self.files.items() if kind != "json"}
            summary = existing_whole(self.files["json"], making, others) if self.resume else None
            if summary is not None:
                for _ in chunks_of(raster.size_hw):
                    on_progress(PartReport("skipped"))
                return RasterReport(
                    raster=self.path, status="skipped", outputs=self.files, summary=summary
                )
            folder = ChunkFolder(self.out / f"{self._stem}.labels.parts")
            folder.begin(making, resume=self.resume)
            self._label(raster, segmenter, options, folder, on_progress)
            summary = self._write(raster, folder, making)
            folder.remove()
        return RasterReport(raster=self.path, status="written", outputs=self.files, summary=summary)

    def _open(self) -> Raster:
        return Raster(self.path, bands=self.bands, stretch=self.stretch)

    def _options(self, raster: Raster) -> SegmentOptions:
        windows = self.options.windows or NATIVE
        if raster.num_pixels > _WHOLE_COUNTS:
            windows = replace(windows, global_view=False)
        return replace(self.options, windows=windows)

    def _making(
        self, raster: Raster, segmenter: Segmenter, options: SegmentOptions
    ) -> dict[str, Any]:
        """All that the files depend on, as plain values."""
        made = {
            "format": FORMAT,
            "model": segmenter.model,
            "weights_hash": segmenter.weights_hash,
            "settings": segmenter.result_settings(self.vocabulary, options),
            "names": list(self.vocabulary.result_names),
            "source": raster.source,
            "reading": raster.reading,
            "format_options": self.format_options.as_settings(),
        }
        return plain(made)

    def _label(
        self,
        raster: Raster,
        segmenter: Segmenter,
        options: SegmentOptions,
        folder: ChunkFolder,
        on_progress: Callable[[PartReport], None],
    ) -> None:
        """Make the chunks that are not there."""
        labelling = _Labelling(RasterCanvas(raster), segmenter, self.vocabulary, options)
        num_names = len(self.vocabulary.result_names)
        dtype = label_dtype(num_names)
        void = np.iinfo(dtype).max
        for chunk in chunks_of(raster.size_hw):
            if folder.read(chunk) is not None:
                on_progress(PartReport("skipped"))
                continue
            is_valid = raster.part(*chunk).is_valid
            label_map = np.full(is_valid.shape, void, dtype)
            confidence = np.zeros(is_valid.shape, np.float16)
            if is_valid.any():
                label_map, confidence = labelling.of(chunk)
                label_map[~is_valid] = void
            counts = label_counts(label_map, num_names)[:-1]
            mean = np.nan_to_num(mean_confidences(label_map, confidence, num_names))
            folder.write(chunk, ChunkResult(label_map, counts, mean * counts, int(is_valid.sum())))
            on_progress(PartReport("written"))

    def _write(
        self, raster: Raster, folder: ChunkFolder, making: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The files of all formats, from the chunks; STEM.json last."""
        files, names, options = self.files, self.vocabulary.result_names, self.format_options
        write_geotiff(files["labels"], raster, folder, names, options)
        crs = raster.dataset.crs
        if {"geojson", "gpkg"} & set(files):
            polygons = map_polygons(files["labels"], len(names), options.tolerance)
            if "geojson" in files:
                write_geojson(files["geojson"], polygons, names, options, crs)
            if "gpkg" in files:
                write_geopackage(files["gpkg"], polygons, names, options, crs)
        if "overlay" in files:
            write_file(files["overlay"], self._overlay(raster))
        sizes = {kind: path.stat().st_size for kind, path in files.items() if kind != "json"}
        summary = {**making, **raster_summary(raster, folder, names), "files": sizes}
        write_file(files["json"], to_marked_json(summary))
        return summary

    def _overlay(self, raster: Raster) -> bytes:
        """A look at the raster with its labels, reduced."""
        seen = raster.reduced(_OVERLAY_SIDE)
        rasterio = module_of_extra("rasterio", "geo")
        with rasterio.open(self.files["labels"]) as file:
            label_map = file.read(1, out_shape=seen.is_valid.shape)
        names = self.vocabulary.result_names
        overlay = draw_overlay(
            seen.pixels,
            label_map,
            names,
            opacity=self.format_options.opacity,
            colours=self.format_options.colours(names),
            outlines=self.format_options.outlines,
            only=self.format_options.only,
        )
        return encode_overlay(overlay)


class _Labelling:
    """Labels of chunks, whose windows are kept as long as chunks of one strip follow each other."""

    def __init__(
        self,
        canvas: RasterCanvas,
        segmenter: Segmenter,
        vocabulary: Vocabulary,
        options: SegmentOptions,
    ) -> None:
        self._canvas = canvas
        self._segmenter = segmenter
        self._vocabulary = vocabulary
        self._options = options
        self._strip: tuple[slice, WindowedScores] | None = None

    def of(self, chunk: Chunk) -> tuple[UInt[np.ndarray, "rows w"], Float[np.ndarray, "rows w"]]:
        """Label and confidence of every pixel, those without data among them."""
        if self._strip is None or self._strip[0] != chunk.columns:
            scores = self._segmenter.windowed_scores(
                self._canvas, self._vocabulary, self._options, columns=chunk.columns
            )
            self._strip = chunk.columns, scores
        return label_rows(
            self._strip[1],
            len(self._vocabulary),
            chunk.rows,
            void_below=self._options.void_below,
            own_void_below=self._vocabulary.void_below,
            curve=self._segmenter.curve(self._options),
        )
