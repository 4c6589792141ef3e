"""Results as Parquet: a row for each picture, a table for each part of a job.

The tables lie in the folder `parquet` below the output folder, and pyarrow, pandas, Spark, DuckDB
and Ray Data read them as one. A table is written when its part is finished, so a killed job leaves
no half table, and a job that goes on keeps the tables that are complete. It may be written again
with more rows, so no picture has two.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any

from escnet.annotations.format import FormatOptions
from escnet.annotations.json_text import to_compact_json, to_utf8
from escnet.annotations.label_png import encode_label_png
from escnet.annotations.summary import FORMAT
from escnet.bulk.places import Folder, address_of
from escnet.data.picture_file import PictureSource
from escnet.errors import ConfigError, OutputError
from escnet.extras import module_of_extra
from escnet.files import MARK_KEY, display_path
from escnet.inference.jobs.outputs import PlannedOutput
from escnet.inference.jobs.parts import plain
from escnet.inference.jobs.stores import ExistingResult
from escnet.segmentation import Segmentation

TABLES_FOLDER = "parquet"
_SUFFIX = ".parquet"
_REPEATED = ("model", "weights_hash", "settings", "reading")

Key = tuple[str, int]  # a picture's path and page


def part_name(number: int) -> str:
    """What the table of a part is called."""
    return f"part-{number:06}{_SUFFIX}"


def tables_by_picture(folder: Folder) -> dict[Key, str]:
    """Which table has the row of a picture; nothing else of the tables is read into memory.

    Raises:
        OutputError: If a file in the folder is no table of escnet's.
    """
    names: dict[Key, str] = {}
    for name in folder.names(_SUFFIX):
        table = _read(folder, name, ["picture", "page"])
        rows = zip(table["picture"].to_pylist(), table["page"].to_pylist(), strict=True)
        names.update((row, name) for row in rows)
    return names


def next_number(names: Iterable[str]) -> int:
    """The number of the first table that is not there yet."""
    numbers = [int(stem) for name in names if (stem := name[5 : -len(_SUFFIX)]).isdigit()]
    return max(numbers, default=-1) + 1


class TableResults:
    """The results of one part, in one table; `write_table` writes it.

    Args:
        folder: Of the tables.
        name: The table's.
        format_options: Of the job.
    """

    def __init__(self, folder: Folder, name: str, format_options: FormatOptions) -> None:
        self._folder = folder
        self._name = name
        self._format_options = format_options
        self._lock = Lock()  # two threads write
        self._rows: dict[Key, dict[str, Any]] = {}
        self._is_changed = False
        if name in folder.names(_SUFFIX):
            table = _read(folder, name)
            self._rows = {(row["picture"], row["page"]): row for row in table.to_pylist()}

    def finished(self, output: PlannedOutput, source: PictureSource) -> ExistingResult | None:
        """As `ResultStore` has it."""
        row = self._rows.get(key_of(output))
        if row is None or row["bytes"] != source.bytes or row["sha256"] != source.sha256:
            return None
        told = plain(self._format_options.as_settings())
        return ExistingResult(self._files(), {**_summary_of(row), "format_options": told})

    def write(self, output: PlannedOutput, result: Segmentation) -> Mapping[str, Path | str]:
        """As `ResultStore` has it; the row is on the disk when the table is."""
        row = _row_of(output, result, self._format_options)
        with self._lock:
            self._rows[key_of(output)] = row
            self._is_changed = True
        return self._files()

    def write_table(self) -> None:
        """Write the rows, if there are new ones.

        Raises:
            OutputError: If they cannot be written.
        """
        if not self._is_changed:
            return
        arrow = module_of_extra("pyarrow", "ray")
        rows = [self._rows[key] for key in sorted(self._rows)]
        table = arrow.Table.from_pylist(rows, schema=_schema(arrow))
        content = BytesIO()
        module_of_extra("pyarrow.parquet", "ray").write_table(table, content, compression="zstd")
        self._folder.write(self._name, content.getvalue(), is_own=True)

    def _files(self) -> dict[str, Path | str]:
        return {"parquet": self._folder.child(self._name)}


def key_of(output: PlannedOutput) -> Key:
    """The picture's path or address, and its page."""
    picture = address_of(output.picture) or str(output.picture)
    return to_utf8(picture).decode(), output.page


def _schema(arrow: Any) -> Any:
    text = arrow.string()
    repeated = arrow.dictionary(arrow.int32(), text)  # equal in all rows, as a rule
    name = arrow.struct(
        [
            ("index", arrow.int32()),
            ("name", text),
            ("share", arrow.float64()),
            ("mean_confidence", arrow.float64()),
        ]
    )
    fields = [
        ("picture", text),
        ("page", arrow.int32()),
        ("bytes", arrow.int64()),
        ("sha256", text),
        ("height", arrow.int32()),
        ("width", arrow.int32()),
        ("labels", arrow.binary()),
        ("void_label", arrow.int32()),
        ("void_share", arrow.float64()),
        ("names", arrow.list_(name)),
        ("groups", text),
        *((key, repeated) for key in _REPEATED),
    ]
    return arrow.schema(fields, metadata={MARK_KEY: json.dumps({"format": FORMAT})})


def _row_of(output: PlannedOutput, result: Segmentation, options: FormatOptions) -> dict[str, Any]:
    summary = result.summary()
    source: Mapping[str, Any] = summary["source"]
    picture, page = key_of(output)
    labels = encode_label_png(
        result.label_map,
        result.names,
        void_label=result.void_label,
        colours=options.with_colours(result.own_colours).colours(result.names),
    )
    return {
        "picture": picture,
        "page": page,
        "bytes": source["bytes"],
        "sha256": source["sha256"],
        "height": summary["height"],
        "width": summary["width"],
        "labels": labels,
        "void_label": summary["void"]["label"],
        "void_share": summary["void"]["share"],
        "names": summary["names"],
        "groups": _json(summary["groups"]) if "groups" in summary else None,
        "model": summary["model"],
        "weights_hash": summary["weights_hash"],
        "settings": _json(summary["settings"]),
        "reading": _json(summary["reading"]),
    }


def _summary_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as STEM.json has it, without the format's options."""
    parsed = {key: json.loads(row[key]) for key in ("settings", "reading")}
    own = {key: row[key] for key in ("height", "width", "names", "model", "weights_hash")}
    if row["groups"] is not None:
        own["groups"] = json.loads(row["groups"])
    return {**own, **parsed, "void": {"label": row["void_label"], "share": row["void_share"]}}


def _json(value: object) -> str:
    return to_compact_json(value).decode()


def _read(folder: Folder, name: str, columns: Sequence[str] | None = None) -> Any:
    content = folder.read(name)
    shown = display_path(folder.child(name))
    arrow = module_of_extra("pyarrow", "ray")
    try:
        table = module_of_extra("pyarrow.parquet", "ray").read_table(
            BytesIO(content or b""), columns=columns
        )
    except (arrow.ArrowException, OSError, ValueError):
        raise OutputError(
            f"{shown} is no Parquet table: delete it, or choose another --out"
        ) from None
    if MARK_KEY.encode() not in (table.schema.metadata or {}):
        raise OutputError(f"{shown} is no table of escnet's: choose another --out")
    return table


def check_no_tables(folder: Folder) -> None:
    """Make sure that there are no tables of an earlier run.

    Raises:
        ConfigError: If there are.
    """
    if names := folder.names(_SUFFIX):
        raise ConfigError(
            f"{display_path(folder.child(names[0]))} is of an earlier run: add --resume to go on "
            "with it, or choose another --out"
        )
