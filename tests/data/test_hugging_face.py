import importlib.util
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from escnet.data.folder import FolderDataset
from escnet.data.reading import FolderOptions
from escnet.errors import DatasetError

needs_pyarrow = pytest.mark.skipif(
    importlib.util.find_spec("pyarrow") is None, reason='needs the extra "datasets"'
)
LABELS = [[0, 1], [1, 255]]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESCNET_CACHE", str(tmp_path / "cache"))


def encoded(values: object, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.array(values, np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def table(label: str = "label", rows: int = 2):  # type: ignore[no-untyped-def]
    import pyarrow

    images = [{"bytes": encoded(np.full((2, 2, 3), i)), "path": f"{i}.png"} for i in range(rows)]
    labels = [{"bytes": encoded(LABELS), "path": None}] * rows
    return pyarrow.table({"image": images, label: labels, "scene": ["room"] * rows})


def saved(root: Path, label: str = "label") -> Path:
    """As `Dataset.save_to_disk` writes it."""
    import pyarrow

    root.mkdir(parents=True)
    content = table(label)
    with pyarrow.ipc.new_stream(str(root / "data-00000-of-00001.arrow"), content.schema) as writer:
        writer.write_table(content)
    (root / "state.json").write_text('{"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}')
    (root / "dataset_info.json").write_text("{}")
    (root / "id2label.json").write_text('{"0": "wall", "1": "cat"}')
    return root


def parquet(root: Path, *splits: str) -> Path:
    import pyarrow.parquet

    (root / "data").mkdir(parents=True)
    for split in splits:
        path = root / "data" / f"{split}-00000-of-00001.parquet"
        pyarrow.parquet.write_table(table("annotation"), path)
    (root / "id2label.json").write_text('{"0": "wall", "1": "cat"}')
    return root


@needs_pyarrow
def test_a_saved_data_set_gives_its_pictures_and_label_maps(tmp_path: Path) -> None:
    dataset = FolderDataset.read(saved(tmp_path / "rooms"))
    assert dataset.source("rooms").classes == ("wall", "cat")
    assert [item.read_truth().tolist() for item in dataset] == [LABELS, LABELS]
    colours = [np.asarray(Image.open(item.image_path))[0, 0, 0] for item in dataset]
    assert colours == [0, 1]


@needs_pyarrow
def test_the_splits_of_a_saved_dict_and_of_parquet_files_are_told_apart(tmp_path: Path) -> None:
    root = tmp_path / "rooms"
    saved(root / "train")
    saved(root / "test", label="mask")
    (root / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    for place in (root, parquet(tmp_path / "tables", "train", "test")):
        with pytest.raises(DatasetError, match="has the parts test, train: choose one"):
            FolderDataset.read(place)
        dataset = FolderDataset.read(place, FolderOptions(split="test"))
        assert len(dataset) == 2
        assert dataset.sources == (f"{place.name}-test",)


@needs_pyarrow
def test_pictures_are_unpacked_once(tmp_path: Path) -> None:
    root = saved(tmp_path / "rooms")
    first = [item.image_path for item in FolderDataset.read(root)]
    times = [path.stat().st_mtime_ns for path in first]
    assert [item.image_path for item in FolderDataset.read(root)] == first
    assert [path.stat().st_mtime_ns for path in first] == times


@needs_pyarrow
def test_a_damaged_table_and_unknown_columns_are_told(tmp_path: Path) -> None:
    root = saved(tmp_path / "rooms", label="depth")
    with pytest.raises(DatasetError, match="has the columns image, depth: one must be called"):
        FolderDataset.read(root)
    (root / "data-00000-of-00001.arrow").write_bytes(b"damaged")
    with pytest.raises(DatasetError, match=r"cannot be read .*: save it again"):
        FolderDataset.read(root)


def test_without_pyarrow_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "train.parquet").write_bytes(b"PAR1")
    with pytest.raises(DatasetError, match=r"needs pyarrow .* pip install 'escnet\[datasets\]'"):
        FolderDataset.read(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [("../b.png", "which is not there"), ("missing.png", "which is not there")],
)
def test_an_image_folder_that_names_another_file_is_told(
    name: str, message: str, tmp_path: Path
) -> None:
    root = tmp_path / "set"
    root.mkdir()
    (tmp_path / "b.png").write_bytes(encoded(LABELS))
    (root / "a.png").write_bytes(encoded(LABELS))
    (root / "metadata.jsonl").write_text(json.dumps({"file_name": "a.png", "mask": name}))
    (root / "classes.txt").write_text("wall\ncat\n")
    with pytest.raises(DatasetError, match=message):
        FolderDataset.read(root)


def test_an_image_folder_of_texts_alone_is_no_labelled_one(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(LABELS))
    (tmp_path / "metadata.jsonl").write_text(json.dumps({"file_name": "a.png", "text": "a cat"}))
    with pytest.raises(DatasetError, match="no pictures with label maps that are recognised"):
        FolderDataset.read(tmp_path)
