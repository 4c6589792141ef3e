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

from escnet.data.image import read_image
from escnet.data.labelled_picture import LabelledPicture
from escnet.errors import ImageError, OutputError
from escnet.files import make_folder
from escnet.mini.vision import PairedMaps, PairedVision
from escnet.small_file import SmallFile, regular_file
from escnet.training.broken_files import BrokenFiles

VIEWS = ("plain", "mirrored")
_BATCH = 8
_DONE = "done.json"  # written last: without it the maps are not all there
_KEY_LENGTH = 16
_CACHED = SmallFile(noun="cache", error=OutputError, cure="delete its folder")


class FeatureStore:
    """Feature maps of some pictures in half precision, mapped from disk.

    Args:
        folder: Where `compute_features` put them.
        stems: The pictures, in the order they were computed in.
        broken: The pictures among them that could not be read, as places of source 0.

    Attributes:
        broken: The same.
    """

    def __init__(self, folder: Path, stems: Sequence[str], broken: BrokenFiles) -> None:
        self.stems = tuple(stems)
        self.broken = broken
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
        """The feature maps of some pictures, as one batch in single precision.

        Raises:
            ImageError: If one of them could not be read.
        """
        view = self._maps[VIEWS[int(mirrored)]]
        rows = [self._row[stem] for stem in stems]
        if reason := next(filter(None, map(self.reason_of, stems)), None):
            raise ImageError(reason)
        return PairedMaps(
            *(
                torch.from_numpy(np.stack([view[name][row] for row in rows])).float()
                for name in PairedMaps._fields
            )
        )

    def reason_of(self, stem: str) -> str | None:
        """What was wrong with a picture that could not be read."""
        return self.broken.reason_of((0, self._row[stem]))


def compute_features(
    vision: PairedVision,
    items: Sequence[LabelledPicture],
    folder: Path,
    *,
    image_size: int,
    mirror: bool,
    skip_broken: bool = False,
) -> FeatureStore:
    """The feature maps of all pictures, computed unless the folder holds them already.

    Args:
        vision: The tower whose nets are read.
        items: The pictures.
        folder: Made if it does not exist; runs with any towers and pictures may share it.
        image_size: Side of the square that a picture is resized to, in pixels.
        mirror: Compute the mirror images as well.
        skip_broken: Take note of pictures that cannot be read, whose maps then mean nothing.

    Raises:
        DatasetError: If more than one in a hundred are broken.
        ImageError: If a picture cannot be read that is not to be skipped.
        OutputError: If the folder cannot be written.
    """
    key = features_key(vision, items, image_size=image_size, mirror=mirror)
    finished = folder / key[:_KEY_LENGTH]
    broken = BrokenFiles(len(items)) if skip_broken else None
    if not (finished / _DONE).exists():
        unfinished = make_folder(folder / f".{finished.name}.{secrets.token_hex(4)}")
        try:
            for view in VIEWS[: 1 + int(mirror)]:
                _compute_view(vision, items, unfinished, view, image_size, broken)
            _write_done(unfinished, key, items, broken)
            _move(unfinished, finished)
        except OSError as error:
            raise OutputError(
                f"feature maps in {folder} cannot be written "
                f"({(error.strerror or str(error)).lower()}): free some space, or give another "
                "folder with --cache"
            ) from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return FeatureStore(
        finished, [item.stem for item in items], _broken_of(finished, items, broken)
    )


def _write_done(
    folder: Path, key: str, items: Sequence[LabelledPicture], broken: BrokenFiles | None
) -> None:
    reasons = {
        item.stem: reason
        for row, item in enumerate(items)
        if broken is not None and (reason := broken.reason_of((0, row)))
    }
    (folder / _DONE).write_text(json.dumps({"key": key, "broken": reasons}))


def _broken_of(
    folder: Path, items: Sequence[LabelledPicture], broken: BrokenFiles | None
) -> BrokenFiles:
    """The pictures that could not be read, also if that was in an earlier run."""
    reasons = _CACHED.object_of(folder / _DONE).get("broken", {})
    if broken is None:
        if reasons:
            raise ImageError(next(iter(reasons.values())))
        return BrokenFiles(len(items))
    for row, item in enumerate(items):
        place = (0, row)
        broken.count(place, {place: reasons[item.stem]} if item.stem in reasons else {})
    return broken


def features_key(
    vision: PairedVision, items: Sequence[LabelledPicture], *, image_size: int, mirror: bool
) -> str:
    """A hash of everything that the feature maps depend on."""
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
            with regular_file(item.image_path, item.stem, ImageError) as file:
                content = file_digest(file, "sha256").hexdigest()
        except (OSError, ImageError):  # what is wrong will be said where its pixels are wanted
            content = "unreadable"
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
    vision: PairedVision,
    items: Sequence[LabelledPicture],
    folder: Path,
    view: str,
    image_size: int,
    broken: BrokenFiles | None,
) -> None:
    files: dict[str, np.memmap] = {}
    start = 0
    is_mirrored = view == "mirrored"
    for maps in whole_views_read(vision, items, image_size, mirrored=is_mirrored, broken=broken):
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
    vision: PairedVision,
    items: Sequence[LabelledPicture],
    image_size: int,
    *,
    mirrored: bool = False,
    broken: BrokenFiles | None = None,
) -> Iterator[PairedMaps]:
    """What the nets see in whole pictures, some pictures at a time, in bfloat16.

    Args:
        vision: The tower whose nets are read.
        items: The pictures, in whose order the maps come.
        image_size: Side of the square that a picture is resized to, in pixels.
        mirrored: Show the mirror images instead.
        broken: Takes note of pictures that cannot be read, which are black then; None for an error.

    Raises:
        DatasetError: If more than one in a hundred are broken.
        ImageError: If a picture cannot be read, and nobody takes note of it.
    """
    for start in range(0, len(items), _BATCH):
        rows = range(start, min(start + _BATCH, len(items)))
        image = torch.stack([_view(items[row], (0, row), image_size, broken) for row in rows])
        if mirrored:
            image = image.flip(3)
        with torch.autocast("cpu", torch.bfloat16):
            maps = vision.read(image.contiguous(memory_format=torch.channels_last))
        yield maps


def _view(
    item: LabelledPicture, place: tuple[int, int], side: int, broken: BrokenFiles | None
) -> Float[Tensor, "3 side side"]:
    try:
        view = whole_view(item.image_path, side)
    except ImageError as error:
        if broken is None:
            raise
        broken.count(place, {place: str(error)})
        return torch.zeros(3, side, side)
    if broken is not None:
        broken.count(place, {})
    return view


def whole_view(path: Path, side: int) -> Float[Tensor, "3 side side"]:
    """The whole picture squeezed into a square, in [0, 1]."""
    small = Image.fromarray(read_image(path)).resize((side, side), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.asarray(small, np.float32)).permute(2, 0, 1) / 255
