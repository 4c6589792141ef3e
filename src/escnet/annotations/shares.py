"""How much of each name is in each picture, and how much of that is doubtful, as a CSV table.

folder.csv has a line for each name that a picture shows. The pictures with the largest share of
doubtful pixels come first, as they are the ones to look at.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

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
from escnet.annotations.summary import label_counts, mean_confidences

UNLABELLED = "(unlabelled)"
_COLUMNS = (
    "picture",
    "name",
    "share",
    "mean_confidence",
    "doubtful_share",  # of the name's own pixels
    "picture_doubtful_share",
)


def doubtful_share(result: PictureResult, doubtful_below: float) -> float:
    """Fraction of the picture's pixels whose confidence is below the limit."""
    return round(float((result.confidence < doubtful_below).mean()), 6)


def _files(result: PictureResult, place: Place, options: FormatOptions) -> Iterator[EncodedFile]:
    num_names = len(result.names)
    doubtful = result.confidence < options.doubtful_below
    counts = label_counts(result.label_map, num_names)
    doubtful_counts = label_counts(result.label_map[doubtful][None], num_names)
    means = mean_confidences(result.label_map, result.confidence, num_names)
    void = result.label_map >= num_names
    means = np.append(means, result.confidence[void].mean() if void.any() else np.nan)
    of_picture = doubtful_share(result, options.doubtful_below)
    rows = [
        (
            place.picture_path,
            (*result.names, UNLABELLED)[index],
            round(counts[index] / result.label_map.size, 6),
            round(float(means[index]), 4),
            round(doubtful_counts[index] / counts[index], 6),
            of_picture,
        )
        for index in np.argsort(-counts, kind="stable").tolist()
        if counts[index]
    ]
    yield EncodedFile(SHARES.first_file(place), _csv([_COLUMNS, *rows]))


def _whole(finished: FolderResults) -> Iterator[WholeFile]:
    yield WholeFile("folder.csv", _table(finished))


def _table(finished: FolderResults) -> Iterator[bytes]:
    yield _csv([_COLUMNS])
    doubts = [(-_doubt(content), place) for place, content in SHARES.parts(finished)]
    by_doubt = [place for _, place in sorted(doubts, key=lambda pair: (pair[0], pair[1].number))]
    for _, content in SHARES.parts(replace(finished, places=by_doubt)):
        yield content.partition(b"\n")[2]


def _doubt(content: bytes) -> float:
    rows = csv.DictReader(io.StringIO(content.decode("utf-8"), newline=""))
    return next((float(row["picture_doubtful_share"]) for row in rows), 0.0)


def _csv(rows: Iterable[Sequence[object]]) -> bytes:
    """The content of a CSV file; what is not valid Unicode is escaped."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return to_utf8(text.getvalue())


SHARES = Format(
    about="share, confidence and doubt of each name, the doubtful pictures first: spreadsheets",
    path="csv/{below}{stem}.csv",
    folder="csv",
    whole_paths=("folder.csv",),
    use="folder.csv, beside this folder, has the lines of all pictures.",
    encode=_files,
    whole=_whole,
)
