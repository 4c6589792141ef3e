"""Frozen towers run once: their feature maps on disk, for every picture and its mirror image.

Training a small network on a processor would otherwise spend most of its time in towers that do not
change. The maps of one set of towers and pictures lie in a folder named after both: after the
towers' weights, and the contents of the files.

Sizes: B pictures.
"""

import json
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from hashlib import file_digest, sha256
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from escnet.annotations.files import make_folder
from escnet.data.folder import FolderItem
from escnet.data.image import read_image
from escnet.errors import ImageError, OutputError
from escnet.model.vision import PairedMaps, PairedVision

VIEWS = ("plain", "mirrored")
_BATCH = 8
_DONE = "done.json"  # written last: without it the maps are not all there
_KEY_LENGTH = 16


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
        folder: Made if it does not exist; runs with any towers and pictures may share it.
        image_size: Side of the square that a picture is resized to, in pixels.
        mirror: Compute the mirror images as well.

    Raises:
        ImageError: If a picture cannot be read.
        OutputError: If the folder cannot be written.
    """
    key = features_key(vision, items, image_size=image_size, mirror=mirror)
    finished = folder / key[:_KEY_LENGTH]
    if not (finished / _DONE).exists():
        unfinished = make_folder(folder / f".{finished.name}.{secrets.token_hex(4)}")
        try:
            for view in VIEWS[: 1 + int(mirror)]:
                _compute_view(vision, items, unfinished, view, image_size)
            (unfinished / _DONE).write_text(json.dumps({"key": key}))
            _move(unfinished, finished)
        except OSError as error:
            raise OutputError(
                f"feature maps in {folder} cannot be written "
                f"({(error.strerror or str(error)).lower()}): free some space, or give another "
                "folder with --cache"
            ) from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return FeatureStore(finished, [item.stem for item in items])


def features_key(
    vision: PairedVision, items: Sequence[FolderItem], *, image_size: int, mirror: bool
) -> str:
    """A hash of everything that the feature maps depend on.

    Raises:
        ImageError: If a picture cannot be read.
    """
    digest = sha256(f"{image_size} {mirror} {PairedMaps._fields} ".encode())
    nets = {"vit": vision.vit, "net": vision.net}
    for name, net in nets.items():
        digest.update(f"{name} {weights_hash(net.state_dict())} ".encode())
    own = vision.vit.config
    digest.update(
        f"{vision.layers} {vision.patch_size} {own.patch_size} {own.num_attention_heads} ".encode()
    )
    for item in items:
        try:
            with item.image_path.open("rb") as file:
                content = file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ImageError(
                f"{item.image_path} cannot be read ({error.strerror}): check it"
            ) from None
        digest.update(f"{item.stem} {content} ".encode())
    return digest.hexdigest()


def weights_hash(tensors: Mapping[str, Tensor]) -> str:
    """A hash of some tensors: their names, shapes and values."""
    digest = sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} ".encode())
        values = tensor.detach().cpu().contiguous().flatten()
        digest.update(values.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _move(unfinished: Path, finished: Path) -> None:
    """Give the folder its name, unless another process was first."""
    try:
        unfinished.rename(finished)
    except OSError:
        if not (finished / _DONE).exists():
            raise


@torch.inference_mode()
def _compute_view(
    vision: PairedVision, items: Sequence[FolderItem], folder: Path, view: str, image_size: int
) -> None:
    files: dict[str, np.memmap] = {}
    start = 0
    for maps in whole_views_read(vision, items, image_size, mirrored=view == "mirrored"):
        number = len(maps.vit)
        for name, tensor in maps._asdict().items():
            if name not in files:
                files[name] = np.lib.format.open_memmap(
                    folder / f"{view}.{name}.npy",
                    mode="w+",
                    dtype=np.float16,
                    shape=(len(items), *tensor.shape[1:]),
                )
            files[name][start : start + number] = tensor.float().numpy()
        start += number


def whole_views_read(
    vision: PairedVision, items: Sequence[FolderItem], image_size: int, *, mirrored: bool = False
) -> Iterator[PairedMaps]:
    """What the nets see in whole pictures, some pictures at a time, in bfloat16.

    Args:
        vision: The tower whose nets are read.
        items: The pictures, in whose order the maps come.
        image_size: Side of the square that a picture is resized to, in pixels.
        mirrored: Show the mirror images instead.

    Raises:
        ImageError: If a picture cannot be read.
    """
    for start in range(0, len(items), _BATCH):
        batch = items[start : start + _BATCH]
        image = torch.stack([whole_view(item.image_path, image_size) for item in batch])
        if mirrored:
            image = image.flip(3)
        with torch.autocast("cpu", torch.bfloat16):
            maps = vision.read(image.contiguous(memory_format=torch.channels_last))
        yield maps


def whole_view(path: Path, side: int) -> Float[Tensor, "3 side side"]:
    """The whole picture squeezed into a square, in [0, 1]."""
    small = Image.fromarray(read_image(path)).resize((side, side), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.asarray(small, np.float32)).permute(2, 0, 1) / 255
