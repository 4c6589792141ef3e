"""A raster's file: what its header says, and parts of it as the model sees them.

GDAL reads it, by rasterio, of the extra `geo`. Nothing is ever read as a whole.

Sizes: H x W pixels.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Shaped, UInt8

from escnet.data.value_range import ValueRange
from escnet.errors import ConfigError, ImageError, OutputError, first_line
from escnet.extras import module_of_extra
from escnet.files import display_path
from escnet.rasters.stretch import USUAL, Stretch, stretched

MOST_PIXELS = 10**11  # of a raster; a header that says more is taken for damaged
_MOST_BLOCK_BYTES = 256 * 2**20  # that are read at once, however small the part that is asked for
_CACHE_MB = 64  # of GDAL's, for blocks that several windows touch
_SAMPLES = 12  # along each side, at which values are sampled
_SAMPLE_SIDE = 128  # pixels
_WHOLE_SIDE = 2048  # of a raster as a whole, if it is larger than it can be read exactly
_EXACT_PIXELS = 16_000_000


class Valid(NamedTuple):
    """A part of a raster.

    Attributes:
        pixels: Red, green and blue; black where there are no data.
        is_valid: Where there are data.
    """

    pixels: UInt8[np.ndarray, "H W 3"]
    is_valid: Bool[np.ndarray, "H W"]


class Raster:
    """An open raster whose header has been checked. Close it, or use it as a context.

    Args:
        path: Of the file.
        bands: Which are red, green and blue, from 1, or one for grey; None for those that the file
            calls so, else the first.
        stretch: How values become bytes; None leaves bytes as they are and takes the usual one for
            all others.

    Attributes:
        path: The same.
        size_hw: Height and width in pixels.
        bands: Those that are read.
        dataset: Of rasterio.

    Raises:
        ImageError: If it cannot be read, has no band, or is stored in blocks that are too large.
        ConfigError: If it has no such bands, or rasterio is not installed.
    """

    def __init__(
        self, path: str | Path, *, bands: Sequence[int] = (), stretch: Stretch | None = None
    ) -> None:
        self.path = Path(path)
        self._shown = f"raster {display_path(path)}"
        rasterio = module_of_extra("rasterio", "geo")
        with reading(self._shown):
            self.dataset: Any = rasterio.open(self.path)
        try:
            self.size_hw = (int(self.dataset.height), int(self.dataset.width))
            self._check_header()
            self.bands = self._chosen(tuple(bands))
            self._palette = self._palette_of()
            self._ranges = self._value_ranges(stretch)
        except BaseException:
            self.dataset.close()
            raise

    def __enter__(self) -> "Raster":
        return self

    def __exit__(self, *_: object) -> None:
        self.dataset.close()

    @property
    def num_pixels(self) -> int:
        """H x W."""
        return self.size_hw[0] * self.size_hw[1]

    @property
    def source(self) -> dict[str, object]:
        """Which file it is: name, bytes, and when it was changed; a digest would take minutes."""
        stat = self.path.stat()
        return {"file": self.path.name, "bytes": stat.st_size, "modified_ns": stat.st_mtime_ns}

    @property
    def reading(self) -> dict[str, object]:
        """What was done to read it, as plain values."""
        ranges = None if self._ranges is None else [list(own) for own in self._ranges]
        return {"bands": list(self.bands), "value_ranges": ranges}

    def part(self, rows: slice, columns: slice) -> Valid:
        """Some of it in its own size.

        Raises:
            ImageError: If it cannot be read there.
        """
        window = ((rows.start, rows.stop), (columns.start, columns.stop))
        where = f"{self._shown} in rows {rows.start} to {rows.stop}"
        with reading(where):
            values = self.dataset.read(list(self.bands), window=window)
            mask = self.dataset.read_masks(list(self.bands), window=window)
        return self._valid(values, mask.any(axis=0))

    def whole(self) -> UInt8[np.ndarray, "h w 3"]:
        """All of it: exactly up to some megapixels, else each pixel the mean of a block.

        Raises:
            ImageError: If it cannot be read.
        """
        height, width = self.size_hw
        if self.num_pixels <= _EXACT_PIXELS:
            return self.part(slice(0, height), slice(0, width)).pixels
        return self.reduced(_WHOLE_SIDE).pixels

    def reduced(self, side: int) -> Valid:
        """All of it, each pixel the mean of a block, with a long side of at most this length.

        Raises:
            ImageError: If it cannot be read.
        """
        rasterio = module_of_extra("rasterio", "geo")
        height, width = self.size_hw
        scale = min(1, side / max(height, width))
        size_hw = max(1, round(height * scale)), max(1, round(width * scale))
        bands = list(self.bands)
        with reading(self._shown):
            values = self.dataset.read(
                bands,
                out_shape=(len(bands), *size_hw),
                resampling=rasterio.enums.Resampling.nearest
                if self._palette is not None
                else rasterio.enums.Resampling.average,
            )
            mask = self.dataset.read_masks(bands, out_shape=(len(bands), *size_hw))
        return self._valid(values, mask.any(axis=0))

    def _valid(
        self, values: Shaped[np.ndarray, "B H W"], is_valid: Bool[np.ndarray, "H W"]
    ) -> Valid:
        if np.issubdtype(values.dtype, np.floating):
            is_valid = is_valid & np.isfinite(values).any(axis=0)
        if self._palette is not None:
            pixels = self._palette[values[0]]  # (H, W, 3)
        elif self._ranges is None:
            pixels = np.moveaxis(values, 0, -1)  # (H, W, B)
        else:
            pixels = stretched(values, self._ranges)
        if pixels.shape[2] == 1:
            pixels = np.repeat(pixels, 3, axis=2)
        return Valid(np.ascontiguousarray(np.where(is_valid[..., None], pixels, 0)), is_valid)

    def _check_header(self) -> None:
        height, width = self.size_hw
        if not self.dataset.count:
            raise ImageError(
                f"{self._shown} has no bands, only parts of its own ({len(self._parts())}): name "
                "one of them, as gdalinfo lists them, in a VRT"
            )
        if self.num_pixels > MOST_PIXELS:
            raise ImageError(
                f"{self._shown} has {height} x {width} pixels by its header, above the limit of "
                f"{MOST_PIXELS:.0e}: it is damaged, or cut it with gdal_translate -srcwin"
            )
        block_h, block_w = self.dataset.block_shapes[0]
        size = block_h * block_w * np.dtype(self.dataset.dtypes[0]).itemsize
        if getattr(self.dataset.interleaving, "value", "") == "PIXEL":
            size *= self.dataset.count
        if size > _MOST_BLOCK_BYTES:
            raise ImageError(
                f"{self._shown} is stored in blocks of {block_h} x {block_w} pixels, "
                f"{size / 2**20:.0f} MB each, above the limit of {_MOST_BLOCK_BYTES >> 20}: "
                "gdal_translate -co TILED=YES cuts it smaller"
            )

    def _parts(self) -> list[str]:
        return list(self.dataset.subdatasets)

    def _chosen(self, bands: tuple[int, ...]) -> tuple[int, ...]:
        count = self.dataset.count
        kinds = {str(kind.name): band for band, kind in enumerate(self.dataset.colorinterp, 1)}
        if not bands:
            named = tuple(kinds.get(kind, 0) for kind in ("red", "green", "blue"))
            plain = [band for band in range(1, count + 1) if band != kinds.get("alpha")]
            bands = named if all(named) else tuple(plain[:3] if len(plain) >= 3 else plain[:1])
        if len(bands) not in {1, 3} or not all(1 <= band <= count for band in bands):
            raise ConfigError(
                f"bands {','.join(map(str, bands))} are not one or three of the {count} of "
                f"{self._shown}: give numbers from 1 to {count}, red first"
            )
        kind = np.dtype(self.dataset.dtypes[bands[0] - 1])
        if not (np.issubdtype(kind, np.integer) or np.issubdtype(kind, np.floating)):
            raise ImageError(f"{self._shown} has values of type {kind}, which are no colours")
        return bands

    def _palette_of(self) -> UInt8[np.ndarray, "256 3"] | None:
        """The colours of a single band of indices."""
        first = self.bands[0]
        is_indexed = self.dataset.colorinterp[first - 1].name == "palette"
        if len(self.bands) > 1 or not is_indexed or self.dataset.dtypes[first - 1] != "uint8":
            return None
        palette = np.zeros((256, 3), np.uint8)
        for index, colour in self.dataset.colormap(first).items():
            palette[index] = colour[:3]
        return palette

    def _value_ranges(self, stretch: Stretch | None) -> list[ValueRange] | None:
        if self._palette is not None:
            return None
        if stretch is None:
            if all(self.dataset.dtypes[band - 1] == "uint8" for band in self.bands):
                return None
            stretch = USUAL
        return stretch.ranges([] if not self.bands else self._samples(stretch))

    def _samples(self, stretch: Stretch) -> list[Shaped[np.ndarray, " values"]]:
        """Values of each band at places spread evenly over the raster."""
        if stretch.is_values:
            return [np.empty(0)] * len(self.bands)
        parts: list[list[np.ndarray]] = [[] for _ in self.bands]
        for rows in _spread(self.size_hw[0]):
            for columns in _spread(self.size_hw[1]):
                window = ((rows.start, rows.stop), (columns.start, columns.stop))
                with reading(f"{self._shown} in rows {rows.start} to {rows.stop}"):
                    values = self.dataset.read(list(self.bands), window=window)
                    masks = self.dataset.read_masks(list(self.bands), window=window)
                for own, band, mask in zip(parts, values, masks, strict=True):
                    chosen = band[mask > 0]
                    own.append(chosen[np.isfinite(chosen)])
        return [np.concatenate(own) for own in parts]


def _spread(length: int) -> list[slice]:
    """Pieces of an axis, spread evenly; all of a short one."""
    if length <= _SAMPLES * _SAMPLE_SIDE:
        return [slice(start, min(start + 512, length)) for start in range(0, length, 512)]
    starts = np.linspace(0, length - _SAMPLE_SIDE, _SAMPLES).astype(int).tolist()
    return [slice(start, start + _SAMPLE_SIDE) for start in starts]


@contextmanager
def gdal_memory() -> Iterator[None]:
    """Bound what GDAL keeps in memory."""
    rasterio = module_of_extra("rasterio", "geo")
    with rasterio.Env(GDAL_CACHEMAX=_CACHE_MB, GDAL_PAM_ENABLED="NO"):
        yield


@contextmanager
def reading(shown: str) -> Iterator[None]:
    """Turn what rasterio raises where it reads into one line.

    Args:
        shown: What is read.

    Raises:
        ImageError: If anything went wrong inside.
    """
    rasterio = module_of_extra("rasterio", "geo")
    try:
        yield
    except MemoryError:
        raise ImageError(f"{shown} needs more memory than there is: cut it smaller") from None
    except (rasterio.errors.RasterioError, OSError, ValueError) as error:
        raise ImageError(
            f"{shown} is cut off, damaged or of a kind that GDAL does not read "
            f"({first_line(error.__cause__ or error)}): fetch or export it again"
        ) from None


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what GDAL raises where it writes into one line.

    Raises:
        OutputError: If anything went wrong inside.
    """
    rasterio = module_of_extra("rasterio", "geo")
    try:
        yield
    except (rasterio.errors.RasterioError, OSError, RuntimeError) as error:  # the last: pyogrio's
        raise OutputError(
            f"{display_path(path)} cannot be written ({first_line(error.__cause__ or error)}): "
            "free some space or choose another folder with --out"
        ) from error
