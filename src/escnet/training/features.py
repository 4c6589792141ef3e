"""Frozen towers run once: their feature maps on disk, for every picture and its mirror image.

Training a small network on a processor would otherwise spend most of its time in towers that do not
change.

Sizes: B pictures.
"""

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from escnet.annotations.files import make_folder
from escnet.data.folder import FolderItem
from escnet.data.image import read_image
from escnet.model.vision import PairedMaps, PairedVision

VIEWS = ("plain", "mirrored")
_BATCH = 8
_DONE = "done.json"


class FeatureStore:
    """Feature maps of some pictures in half precision, mapped from disk.

    Args:
        folder: Where `compute_features` put them.
        stems: The pictures, in the order they were computed in.
    """

    def __init__(self, folder: Path, stems: Sequence[str]) -> None:
        self.stems = tuple(stems)
        self._row = {stem: row for row, stem in enumerate(self.stems)}
        self._maps = {
            view: {
                name: np.load(folder / f"{view}.{name}.npy", mmap_mode="r")
                for name in PairedMaps._fields
                if (folder / f"{view}.{name}.npy").exists()
            }
            for view in VIEWS
        }

    def maps(self, stems: Sequence[str], *, mirrored: bool = False) -> PairedMaps:
        """The feature maps of some pictures, as one batch in single precision."""
        view = self._maps[VIEWS[int(mirrored)]]
        rows = [self._row[stem] for stem in stems]
        return PairedMaps(
            *(
                torch.from_numpy(np.stack([view[name][row] for row in rows])).float()
                for name in PairedMaps._fields
            )
        )


def compute_features(
    vision: PairedVision,
    items: Sequence[FolderItem],
    folder: Path,
    *,
    image_size: int,
    mirror: bool,
) -> FeatureStore:
    """The feature maps of all pictures, computed unless the folder holds them already.

    Args:
        vision: The tower whose nets are read.
        items: The pictures.
        folder: Made if it does not exist; may be shared by runs with the same towers and pictures.
        image_size: Side of the square that a picture is resized to, in pixels.
        mirror: Compute the mirror images as well.

    Raises:
        ImageError: If a picture cannot be read.
        OutputError: If the folder cannot be written.
    """
    stems = [item.stem for item in items]
    key = sha256("\n".join([*stems, str(image_size), str(mirror)]).encode()).hexdigest()
    marker = folder / _DONE
    if not (marker.exists() and json.loads(marker.read_text())["key"] == key):
        make_folder(folder)
        marker.unlink(missing_ok=True)  # or it would vouch for half of the new maps
        for view in VIEWS[: 1 + int(mirror)]:
            _compute_view(vision, items, folder, view, image_size)
        marker.write_text(json.dumps({"key": key}))
    return FeatureStore(folder, stems)


@torch.inference_mode()
def _compute_view(
    vision: PairedVision, items: Sequence[FolderItem], folder: Path, view: str, image_size: int
) -> None:
    files: dict[str, np.memmap] = {}
    for start in range(0, len(items), _BATCH):
        batch = items[start : start + _BATCH]
        image = torch.stack([whole_view(item.image_path, image_size) for item in batch])
        if view == "mirrored":
            image = image.flip(3)
        with torch.autocast("cpu", torch.bfloat16):
            maps = vision.read(image.contiguous(memory_format=torch.channels_last))
        for name, tensor in maps._asdict().items():
            if name not in files:
                files[name] = np.lib.format.open_memmap(
                    folder / f"{view}.{name}.npy",
                    mode="w+",
                    dtype=np.float16,
                    shape=(len(items), *tensor.shape[1:]),
                )
            files[name][start : start + len(batch)] = tensor.float().numpy()


def whole_view(path: Path, side: int) -> Float[Tensor, "3 side side"]:
    """The whole picture squeezed into a square, in [0, 1]."""
    small = Image.fromarray(read_image(path)).resize((side, side), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.asarray(small, np.float32)).permute(2, 0, 1) / 255
