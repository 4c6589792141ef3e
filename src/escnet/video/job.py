"""One film to its files, piece by piece, with what is finished kept on disk.

The files lie in STEM.film below the output folder, which is escnet's own: films have no place for
a mark near their beginning.

Sizes: H x W pixels, L labels, N names.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt

from escnet.annotations.format import FormatOptions
from escnet.annotations.json_text import to_compact_json, to_marked_json
from escnet.annotations.label_png import write_label_png
from escnet.annotations.summary import FORMAT, label_counts
from escnet.errors import ConfigError, setting
from escnet.files import claim_folder, make_folder, move_file, replace_file, write_file
from escnet.inference.jobs.parts import PartReport, PartsFolder, existing_whole, plain
from escnet.inference.options import SegmentOptions
from escnet.inference.segmenter import Segmenter
from escnet.video.drawing import FrameDrawing
from escnet.video.labelling import FrameLabelling
from escnet.video.pieces import PIECE_FRAMES, FilmPieces, Piece
from escnet.video.smoothing import USUAL_STRENGTH, SmoothFrame, Smoothing
from escnet.video.source import Film, Frame
from escnet.video.tracks import join
from escnet.vocabulary import Vocabulary

FILM_FORMATS = {
    "labels": "labels.mkv",
    "overlay": "overlay.mp4",
    "frames": "frames",
    "json": "film.json",
}
_RECORDS = "frames.jsonl"
_ABOUT = (
    "Label maps of a film: labels.mkv has the index of a name in every pixel (255 or 65535 = no "
    "name), film.json the names, frames.jsonl a line for each frame, overlay.mp4 is to look at."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmReport:
    """What became of a film.

    Attributes:
        film: Its source.
        status: "written", or "skipped", as an equal run has finished it.
        outputs: The file, or folder, of each format.
        summary: What film.json holds.
        fault: Why the film ended before its end; empty if it did not.
    """

    film: str
    status: Literal["written", "skipped"]
    outputs: Mapping[str, Path]
    summary: Mapping[str, Any]
    fault: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmJob:
    """A film, and how it is segmented and written.

    Attributes:
        film: The source.
        vocabulary: The class names.
        out: Folder of the results.
        options: Without windows.
        formats: Some of `FILM_FORMATS`.
        format_options: How files are written.
        smooth: Strength of smoothing; see `Smoothing`.
        keyframes: The model is asked at every so many frames.
        limit: Only so many frames; None for all.
        resume: Whether what an equal run has finished stays.
    """

    film: Film
    vocabulary: Vocabulary
    out: Path
    options: SegmentOptions = field(default_factory=SegmentOptions)
    formats: tuple[str, ...] = ("labels", "overlay", "json")
    format_options: FormatOptions = field(default_factory=FormatOptions)
    smooth: float = USUAL_STRENGTH
    keyframes: int = 1
    limit: int | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        for kind in self.formats:
            if kind not in FILM_FORMATS:
                raise ConfigError(
                    f"format {kind!r} is none of a film's: choose from {', '.join(FILM_FORMATS)}"
                )
        if self.options.windows is not None:
            raise ConfigError(f"frames are seen as a whole: leave {setting('windows')} out")
        if self.options.is_tidy or self.options.level:
            raise ConfigError(
                f"{setting('min_area')}, {setting('fill_holes')} and {setting('level')} are not "
                "for films: leave them out"
            )
        Smoothing(self.smooth, self.keyframes)

    @property
    def folder(self) -> Path:
        """Where the film's files lie."""
        return self.out / f"{self.film.stem}.film"

    @property
    def files(self) -> dict[str, Path]:
        """The file of each format; labels and json are always there."""
        kinds = dict.fromkeys(("labels", *self.formats, "json"))
        return {kind: self.folder / FILM_FORMATS[kind] for kind in kinds}

    def check(self) -> int:
        """Look at the film and at the folder, before a model is loaded.

        Returns:
            About how many frames there are; 0 if nobody knows.

        Raises:
            ImageError: If the film cannot be opened.
            OutputError: If the folder holds files that escnet did not write.
        """
        number = self.film.check()
        make_folder(self.out)
        claim_folder(self.folder, _ABOUT)
        return min(number, self.limit) if self.limit else number

    def run(
        self,
        segmenter: Segmenter,
        on_progress: Callable[[PartReport], None] = lambda _: None,
    ) -> FilmReport:
        """Segment the film and write its files.

        Memory does not grow with the film's length. Interrupted, it leaves finished pieces, and no
        half file; a live source ends so.

        Args:
            segmenter: Makes the labels.
            on_progress: Called after each frame.

        Raises:
            ImageError: If no frame can be read.
            OutputError: If a file cannot be written.
        """
        claim_folder(self.folder, _ABOUT)
        making = self._making(segmenter)
        others = {kind: path for kind, path in self.files.items() if kind not in {"json", "frames"}}
        summary = existing_whole(self.files["json"], making, others) if self.resume else None
        if summary is not None:
            return self._report("skipped", summary, str(summary.get("fault", "")))
        parts = PartsFolder(self.folder / "parts")
        parts.begin(making, resume=self.resume and not self.film.is_live)
        pieces = FilmPieces(parts.folder)
        with suppress(KeyboardInterrupt) if self.film.is_live else nullcontext():
            self._segment(segmenter, pieces, on_progress)
        summary = self._write(pieces, making)
        parts.remove()
        return self._report("written", summary, self.film.fault)

    def _report(
        self, status: Literal["written", "skipped"], summary: Mapping[str, Any], fault: str
    ) -> FilmReport:
        return FilmReport(
            film=self.film.source,
            status=status,
            outputs=self.files,
            summary=summary,
            fault=fault,
        )

    def _making(self, segmenter: Segmenter) -> dict[str, Any]:
        return plain(
            {
                "format": FORMAT,
                "model": segmenter.model,
                "weights_hash": segmenter.weights_hash,
                "settings": {
                    **segmenter.result_settings(self.vocabulary, self.options),
                    "smooth": self.smooth,
                    "keyframes": self.keyframes,
                    "limit": self.limit,
                },
                "names": list(self.vocabulary.result_names),
                "source": self.film.identity,
                "format_options": self.format_options.as_settings(),
                "formats": sorted(self.files),
            }
        )

    def _segment(
        self,
        segmenter: Segmenter,
        pieces: FilmPieces,
        on_progress: Callable[[PartReport], None],
    ) -> None:
        """Make the pieces that are not there."""
        there = pieces.finished()
        labelling = FrameLabelling(segmenter, self.vocabulary, self.options)
        smoothing = Smoothing(self.smooth, self.keyframes, there.state)
        drawing = FrameDrawing(self.vocabulary.result_names, self.format_options)
        piece: Piece | None = None
        try:
            for frame in self._frames():
                if frame.number < there.num_frames:
                    on_progress(PartReport("skipped"))
                    continue
                if piece is None:
                    piece = pieces.begin(frame.number, has_overlay="overlay" in self.formats)
                seen = smoothing.step(frame.pixels, labelling.of(frame.pixels))
                label_map = labelling.labels(seen, frame.pixels)
                overlay = drawing.of(frame.pixels, label_map) if "overlay" in self.files else None
                piece.add(frame.time, label_map, overlay, self._record(frame, seen, label_map))
                if "frames" in self.files:
                    self._write_png(frame, label_map)
                on_progress(PartReport("written"))
                if (frame.number + 1) % PIECE_FRAMES == 0:
                    full, piece = piece, None
                    full.finish(smoothing.state)
        finally:
            if piece is not None:  # at the film's end, and when the job is left
                piece.finish(smoothing.state)

    def _frames(self) -> Iterator[Frame]:
        for frame in self.film.frames():
            if self.limit is not None and frame.number >= self.limit:
                return
            yield frame

    def _record(
        self, frame: Frame, seen: SmoothFrame, label_map: UInt[np.ndarray, "H W"]
    ) -> dict[str, object]:
        names = self.vocabulary.result_names
        counts = label_counts(label_map, len(names))[:-1]
        return {
            "frame": frame.number,
            "time": round(float(frame.time), 6),
            "is_key": seen.is_key,
            "is_cut": seen.is_cut,
            "shares": {
                name: round(count / label_map.size, 6)
                for name, count in zip(names, counts.tolist(), strict=True)
                if count
            },
        }

    def _write_png(self, frame: Frame, label_map: UInt[np.ndarray, "H W"]) -> None:
        folder = self.files["frames"]
        if not frame.number:
            make_folder(folder)
        write_label_png(
            folder / f"{frame.number:06}.png",
            label_map,
            self.vocabulary.result_names,
            void_label=int(np.iinfo(label_map.dtype).max),
        )

    def _write(self, pieces: FilmPieces, making: Mapping[str, Any]) -> dict[str, Any]:
        """The whole films and the JSON files, from the pieces; film.json last."""
        files = self.files
        for kind in ("labels", "overlay"):
            if kind in files:
                part = self.folder / "parts" / files[kind].name
                join(part, pieces.files(kind), sound=self.film if kind == "overlay" else None)
                move_file(part, files[kind], is_own_folder=True)
        records = (to_compact_json(record) + b"\n" for record in pieces.records())
        replace_file(self.folder / _RECORDS, records)
        sizes = {
            kind: path.stat().st_size
            for kind, path in files.items()
            if kind not in {"json", "frames"}
        }
        summary = {
            **making,
            **film_summary(pieces.records(), self.vocabulary.result_names),
            "fault": self.film.fault,
            "files": sizes,
        }
        write_file(files["json"], to_marked_json(summary))
        return summary


def film_summary(records: Iterable[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """What a film shows, in numbers: frames, seconds, cuts, and the mean share of each name."""
    totals = dict.fromkeys(names, 0.0)
    num_frames, seconds, num_keys = 0, 0.0, 0
    cuts: list[int] = []
    for record in records:
        num_frames, seconds = num_frames + 1, record["time"]
        num_keys += record["is_key"]
        if record["is_cut"]:
            cuts.append(record["frame"])
        for name, share in record["shares"].items():
            totals[name] += share
    shares = {name: round(total / max(num_frames, 1), 6) for name, total in totals.items()}
    return {
        "frames": num_frames,
        "seconds": seconds,
        "key_frames": num_keys,
        "cuts": cuts,
        "void": {"share": round(max(0.0, 1 - sum(shares.values())), 6)},
        "names": [
            {"index": index, "name": name, "share": share}
            for index, (name, share) in enumerate(shares.items())
        ],
    }
