"""Image nets run once: their feature maps on disk, for every picture and its mirror image.

Training a small network on a processor would otherwise spend most of its time in nets that do not
change. The maps of one pair of nets and some pictures lie in a folder named after both: after the
nets' weights, and the contents of the files.
"""

import json
import secrets
import shutil
from collections.abc import Iterator, Sequence
from hashlib import file_digest, sha256
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from escnet.data.image import read_image
from escnet.errors import ImageError, OutputError
from escnet.files import make_folder
from escnet.inference.label_maps.published_resize import square_image
from escnet.mini.vision import PairedMaps, PairedVision
from escnet.small_file import SmallFile, regular_file
from escnet.training.broken_files import BrokenFiles
from escnet.weights.tensor_file import tensors_hash

VIEWS = ("plain", "mirrored")
_BATCH = 8
_DONE = "done.json"  # written last: without it the maps are not all there
_KEY_LENGTH = 16
_CACHED = SmallFile(noun="cache", error=OutputError, cure="delete its folder")


class FeatureStore:
    """Feature maps of some pictures in half precision, mapped from disk.

    Args:
        folder: Where `compute_features` put them.
        paths: The pictures, in the order they were computed in.
        broken: The pictures among them that could not be read, as places of source 0.
    """

    def __init__(self, folder: Path, paths: Sequence[Path], broken: BrokenFiles) -> None:
        self.broken = broken
        self._row = {path: row for row, path in enumerate(paths)}
        self._maps = {
            view: {
                name: np.load(folder / f"{view}.{name}.npy", mmap_mode="r")
                for name in PairedMaps._fields
                if (folder / f"{view}.{name}.npy").exists()
            }
            for view in VIEWS
        }

    def maps(self, path: Path, *, mirrored: bool = False) -> PairedMaps:
        """The feature maps of a picture, as a batch of one in single precision.

        Raises:
            ImageError: If it could not be read.
        """
        view, row = self._maps[VIEWS[int(mirrored)]], self._row[path]
        if (reason := self.reason_of(path)) is not None:
            raise ImageError(reason)
        return PairedMaps(
            *(
                torch.from_numpy(np.array(view[name][row : row + 1])).float()
                for name in PairedMaps._fields
            )
        )

    def reason_of(self, path: Path) -> str | None:
        """What was wrong with a picture that could not be read."""
        return self.broken.reason_of((0, self._row[path]))


def compute_features(
    vision: PairedVision, paths: Sequence[Path], folder: Path, *, image_size: int, mirror: bool
) -> FeatureStore:
    """The feature maps of all pictures, computed unless the folder holds them already.

    Maps of a picture that cannot be read mean nothing.

    Args:
        vision: The tower whose nets are run.
        paths: The pictures.
        folder: Made if it does not exist; runs with any nets and pictures may share it.
        image_size: Side of the square that a picture is resized to, in pixels.
        mirror: Compute the mirror images as well.

    Raises:
        DatasetError: If more than one picture in a hundred is broken.
        OutputError: If the folder cannot be written.
    """
    key = features_key(vision, paths, image_size=image_size, mirror=mirror)
    finished = folder / key[:_KEY_LENGTH]
    if not (finished / _DONE).exists():
        broken = BrokenFiles(len(paths))
        unfinished = make_folder(folder / f".{finished.name}.{secrets.token_hex(4)}")
        try:
            for view in VIEWS[: 1 + int(mirror)]:
                _compute_view(vision, paths, unfinished, view, image_size, broken)
            reasons = {row: broken.reason_of((0, row)) for row in range(len(paths))}
            record = {"key": key, "broken": {row: one for row, one in reasons.items() if one}}
            (unfinished / _DONE).write_text(json.dumps(record))
            _move(unfinished, finished)
        except OSError as error:
            raise OutputError(
                f"feature maps in {folder} cannot be written "
                f"({(error.strerror or str(error)).lower()}): free some space, or give another "
                "folder with --cache"
            ) from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return FeatureStore(finished, paths, _broken_of(finished, len(paths)))


def _broken_of(folder: Path, num_pictures: int) -> BrokenFiles:
    """The pictures that could not be read, perhaps in an earlier run."""
    reasons = _CACHED.object_of(folder / _DONE)["broken"]
    broken = BrokenFiles(num_pictures)
    for row in range(num_pictures):
        place = (0, row)
        broken.count(place, {place: reasons[str(row)]} if str(row) in reasons else {})
    return broken


def features_key(
    vision: PairedVision, paths: Sequence[Path], *, image_size: int, mirror: bool
) -> str:
    """A hash of everything that the feature maps depend on."""
    digest = sha256(f"{image_size} {mirror} {PairedMaps._fields} ".encode())
    for name, net in {"vit": vision.vit, "net": vision.net}.items():
        digest.update(f"{name} {tensors_hash(net.state_dict())} ".encode())
    own = vision.vit.config
    digest.update(
        f"{vision.layers} {vision.patch_size} {own.patch_size} {own.num_attention_heads} ".encode()
    )
    for path in paths:
        digest.update(f"{path.stem} {_content_hash(path)} ".encode())
    return digest.hexdigest()


def _content_hash(path: Path) -> str:
    try:
        with regular_file(path, path.stem, ImageError) as file:
            return file_digest(file, "sha256").hexdigest()
    except (OSError, ImageError):  # what is wrong will be said where its pixels are wanted
        return "unreadable"


def _move(unfinished: Path, finished: Path) -> None:
    """Give the folder its name, unless another process was first."""
    try:
        unfinished.rename(finished)
    except OSError:
        if not (finished / _DONE).exists():
            raise


def _compute_view(
    vision: PairedVision,
    paths: Sequence[Path],
    folder: Path,
    view: str,
    image_size: int,
    broken: BrokenFiles,
) -> None:
    files: dict[str, np.memmap] = {}
    start = 0
    for maps in whole_features(
        vision, paths, image_size, mirrored=view == "mirrored", broken=broken
    ):
        number = len(maps.vit)
        for name, tensor in maps._asdict().items():
            if name not in files:
                files[name] = np.lib.format.open_memmap(
                    folder / f"{view}.{name}.npy",
                    mode="w+",
                    dtype=np.float16,
                    shape=(len(paths), *tensor.shape[1:]),
                )
            files[name][start : start + number] = tensor.float().cpu().numpy()
        start += number


def whole_features(
    vision: PairedVision,
    paths: Sequence[Path],
    image_size: int,
    *,
    broken: BrokenFiles,
    mirrored: bool = False,
) -> Iterator[PairedMaps]:
    """What the nets see in whole pictures, some pictures at a time, in bfloat16.

    Args:
        vision: The tower whose nets are run.
        paths: The pictures, in whose order the maps come.
        image_size: Side of the square that a picture is resized to, in pixels.
        broken: Takes note of pictures that cannot be read, which are black then.
        mirrored: Show the mirror images instead.

    Raises:
        DatasetError: If more than one in a hundred are broken.
    """
    device = next(vision.parameters()).device
    for start in range(0, len(paths), _BATCH):
        rows = range(start, min(start + _BATCH, len(paths)))
        image = torch.stack([_image(paths[row], (0, row), image_size, broken) for row in rows])
        if mirrored:
            image = image.flip(3)
        image = image.to(device).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
            maps = vision.read(image)
        yield maps


def _image(
    path: Path, place: tuple[int, int], side: int, broken: BrokenFiles
) -> Float[Tensor, "3 side side"]:
    try:
        image = torch.from_numpy(square_image(read_image(path), side))
    except ImageError as error:
        broken.count(place, {place: str(error)})
        return torch.zeros(3, side, side)
    broken.count(place, {})
    return image
