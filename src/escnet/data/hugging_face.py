"""Data sets of Hugging Face's `datasets` on disk: saved ones, Parquet files, and image folders.

An image folder names the files of its pictures and label maps in metadata.jsonl or metadata.csv.
The other two hold the files' bytes in tables, which pyarrow reads (the extra "datasets"); pictures
and label maps are taken out of them into the cache folder once, as they are.
"""

import csv
import hashlib
import importlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from escnet.cache_folder import cache_folder
from escnet.data.conventions import IGNORED
from escnet.data.folder_layouts import chosen_split
from escnet.data.labelled_picture import LabelledPicture
from escnet.data.reading import FolderOptions, Reading, table_of
from escnet.errors import DatasetError
from escnet.files import display_path, make_folder, write_file

PICTURE_COLUMNS = ("image", "pixel_values", "img", "picture", "file_name")
LABEL_COLUMNS = (
    *("label", "annotation", "mask", "labels", "segmentation_mask", "semantic_map", "label_map"),
    *("segmentation", "annotations"),
)
_FILE_ENDINGS = ("_file_name", "_path", "_file")
_METADATA = ("metadata.jsonl", "metadata.csv")
_SUFFIXES = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"II*\0": ".tif", b"RIFF": ".webp"}


def hugging_face_readings(root: Path, options: FolderOptions) -> list[Reading]:
    """The reading as a data set of Hugging Face; empty if it is none.

    Raises:
        DatasetError: If it is one that cannot be read.
    """
    if root.is_file():
        return [_of_tables(root, {"": [root]}, options)] if root.suffix == ".parquet" else []
    for name in _METADATA:
        if (root / name).is_file():
            return _of_metadata(root, root / name, options)
    tables = _saved(root) or _parquet(root)
    return [_of_tables(root, tables, options)] if tables else []


def _saved(root: Path) -> dict[str, list[Path]]:
    """The Arrow files of each split of a data set that `save_to_disk` wrote."""
    if (root / "dataset_dict.json").is_file():
        parts = [path for path in sorted(root.iterdir()) if (path / "state.json").is_file()]
    else:
        parts = [root] if (root / "state.json").is_file() else []
    return {
        "" if part == root else part.name: files
        for part in parts
        if (files := sorted(part.glob("*.arrow")))
    }


def _parquet(root: Path) -> dict[str, list[Path]]:
    """The Parquet files of each split, which begin with its name."""
    files: dict[str, list[Path]] = {}
    for folder in (root, root / "data"):
        for path in sorted(folder.glob("*.parquet")):
            split = path.name.removesuffix(".parquet").partition("-")[0]
            files.setdefault(split, []).append(path)
    return files if len(files) > 1 else {"": next(iter(files.values()))} if files else {}


def _of_tables(root: Path, tables: Mapping[str, list[Path]], options: FolderOptions) -> Reading:
    split = chosen_split(list(tables), options, root) if set(tables) != {""} else ""
    files = tables[split]
    cache = _cache_of(files)
    done = cache / "done"
    if not done.exists():
        make_folder(cache)
        write_file(done, str(_unpack(files, cache)).encode())
    pictures = [
        LabelledPicture(
            stem=path.name.removeprefix("picture-").partition(".")[0],
            image_path=path,
            label_path=next(cache.glob(f"{path.stem.replace('picture', 'label', 1)}.*")),
        )
        for path in sorted(cache.glob("picture-*"))
    ]
    folder = files[0].parent
    return Reading(
        layout="datasets",
        said=f"a data set of Hugging Face ({files[0].name})",
        pictures=tuple(pictures),
        table=table_of(options, root if root.is_dir() else root.parent, folder, folder.parent),
        usual={255: IGNORED},
        split=split or None,
    )


def _cache_of(files: list[Path]) -> Path:
    digest = hashlib.sha256()
    for path in files:
        status = path.stat()
        digest.update(f"{path.resolve()} {status.st_size} {status.st_mtime_ns} ".encode())
    return cache_folder() / "datasets" / digest.hexdigest()[:16]


def _unpack(files: list[Path], folder: Path) -> int:
    """Write the pictures and label maps in tables as files; how many there are."""
    number = 0
    for path in files:
        for picture, label in _rows_of(path):
            for kind, content in (("picture", picture), ("label", label)):
                suffix = next((s for k, s in _SUFFIXES.items() if content.startswith(k)), ".bin")
                write_file(folder / f"{kind}-{number:06}{suffix}", content)
            number += 1
    if not number:
        raise DatasetError(f"{display_path(files[0])} has no row: save the data set again")
    return number


def _rows_of(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """The bytes of each row's picture and label map."""
    batches, names = _opened(path)
    picture, label = _columns_of(names, display_path(path))
    for batch in batches():
        columns = batch.select([picture, label]).to_pydict()
        for row in zip(columns[picture], columns[label], strict=True):
            yield _bytes_of(row[0], path), _bytes_of(row[1], path)


def _opened(path: Path) -> tuple[Callable[[], Iterator[Any]], list[str]]:
    """What iterates over a table file's batches, and its columns with pictures' bytes."""
    try:
        pyarrow = importlib.import_module("pyarrow")
        parquet = importlib.import_module("pyarrow.parquet")
        ipc = importlib.import_module("pyarrow.ipc")
    except ImportError:
        raise DatasetError(
            f"{display_path(path)} needs pyarrow to be read: pip install 'escnet[datasets]'"
        ) from None
    try:
        if path.suffix == ".parquet":
            file = parquet.ParquetFile(path)
            schema, batches = file.schema_arrow, lambda: file.iter_batches(batch_size=16)
        else:
            stream = ipc.open_stream(pyarrow.memory_map(str(path)))
            schema, batches = stream.schema, lambda: iter(stream)
    except (pyarrow.ArrowException, OSError) as error:
        raise DatasetError(
            f"{display_path(path)} cannot be read ({str(error).splitlines()[0]}): save it again"
        ) from None
    names = [
        field.name
        for field in schema
        if (pyarrow.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0)
        or pyarrow.types.is_binary(field.type)
    ]
    return batches, names


def _bytes_of(cell: Any, path: Path) -> bytes:
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    if isinstance(content, bytes):
        return content
    name = cell.get("path") if isinstance(cell, dict) else None
    raise DatasetError(
        f"{display_path(path)} names a picture's file ({name!r}) and does not hold it: save the "
        "data set with its pictures"
    )


def _columns_of(names: list[str], shown: str) -> tuple[str, str]:
    """The columns of the pictures and of the label maps."""
    picture = [name for name in names if _plain(name) in PICTURE_COLUMNS]
    label = [name for name in names if _plain(name) in LABEL_COLUMNS]
    if len(picture) != 1 or len(label) != 1:
        raise DatasetError(
            f"{shown} has the columns {', '.join(names) or 'without pictures'}: one must be called "
            f"image, and one label, annotation or mask"
        )
    return picture[0], label[0]


def _plain(name: str) -> str:
    """A column's name without what says that it holds a file's name."""
    for ending in _FILE_ENDINGS:
        if name != "file_name" and name.endswith(ending):
            return name.removesuffix(ending)
    return name


def _of_metadata(root: Path, path: Path, options: FolderOptions) -> list[Reading]:
    """The reading of an image folder; empty where no column names a label map."""
    shown = display_path(path)
    rows = _metadata_rows(path, shown)
    names = [name for name in rows[0] if isinstance(rows[0][name], str)]
    if not any(_plain(name) in LABEL_COLUMNS for name in names):
        return []
    picture, label = _columns_of(names, shown)
    pictures = []
    for row in rows:
        files = [root / str(row.get(column, "")) for column in (picture, label)]
        for file in files:
            if root.resolve() not in file.resolve().parents or not file.is_file():
                raise DatasetError(
                    f"{shown} names {display_path(file)}, which is not there: add it"
                )
        key = files[0].relative_to(root).with_suffix("").as_posix()
        pictures.append(LabelledPicture(stem=key, image_path=files[0], label_path=files[1]))
    return [
        Reading(
            layout="datasets",
            said=f"an image folder of Hugging Face ({path.name}, column {label})",
            pictures=tuple(pictures),
            table=table_of(options, root, root.parent),
        )
    ]


def _metadata_rows(path: Path, shown: str) -> list[dict[str, Any]]:
    try:
        text = path.read_text("utf-8-sig")
        if path.suffix == ".csv":
            rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(text)))
        else:
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    except OSError as error:
        raise DatasetError(f"{shown} cannot be read ({error.strerror}): check it") from None
    except (ValueError, RecursionError, csv.Error) as error:
        raise DatasetError(f"{shown} is damaged ({error}): write it again") from None
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise DatasetError(f"{shown} has no row: name a picture and its label map in each")
    return rows
