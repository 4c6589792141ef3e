"""What frozen networks make of pictures, computed once: a file on disk for each picture.

Training a small network on a processor would otherwise spend most of its time in networks that do
not change. The files lie in a folder named after everything that they depend on but the picture,
each under a name that its picture's content decides: one more picture is computed alone, and runs
of all kinds may share a cache.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import file_digest, sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from escnet.data.image import read_image
from escnet.errors import ImageError, OutputError
from escnet.files import make_folder, replace_file
from escnet.inference.label_maps.published_resize import square_image
from escnet.inference.machine.device import quick_dtype
from escnet.small_file import regular_file
from escnet.training.broken_files import BrokenFiles

_KEY_LENGTH = 16
_AT_ONCE = 8  # pictures


class PictureCache:
    """Arrays of pictures.

    Args:
        folder: Made if it does not exist; caches of all kinds may share it.
        key: Everything that the arrays depend on but the pictures.

    Raises:
        OutputError: If nothing can be written there.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._folder = folder / short_hash(key)
        with _advise():
            make_folder(self._folder)

    def __contains__(self, name: str) -> bool:
        return self._path(name).exists()

    def read(self, name: str) -> dict[str, np.ndarray]:
        """The arrays of a picture, which must be there."""
        with np.load(self._path(name)) as arrays:
            return dict(arrays)

    def write(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep a picture's arrays.

        Raises:
            OutputError: If they cannot be written.
        """
        content = BytesIO()
        np.savez(content, allow_pickle=False, **arrays)
        with _advise():
            replace_file(self._path(name), content.getvalue())

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.npz"


def short_hash(text: str) -> str:
    """A hash that names a file."""
    return sha256(text.encode()).hexdigest()[:_KEY_LENGTH]


def content_names(paths: Sequence[Path]) -> dict[Path, str]:
    """A name for each picture, which its content decides; what cannot be read has one as well."""
    return {path: _content_name(path) for path in paths}


def quick_precision(device: torch.device) -> torch.autocast:
    """The precision that frozen networks are run in: bfloat16, where that is quick.

    Args:
        device: Where they are run.
    """
    is_half = quick_dtype(device.type) == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16, enabled=is_half)


@torch.inference_mode()
def fill_cache(
    cache: PictureCache,
    names: Mapping[Path, str],
    compute: Callable[[Float[Tensor, "B 3 side side"]], Mapping[str, Tensor]],
    *,
    side: int,
    device: torch.device,
    broken: BrokenFiles,
    mirrored: bool = False,
) -> None:
    """Compute what the cache lacks, some pictures at a time, in bfloat16 where it is quick.

    Args:
        cache: To be filled.
        names: For each picture its name there.
        compute: From pictures to arrays, each with a row for every picture.
        side: Of the square that a picture is resized to, in pixels.
        device: Where it is computed.
        broken: Takes note of pictures that cannot be read, which get no file.
        mirrored: Show the mirror images instead.

    Raises:
        DatasetError: If more than one picture in a hundred is broken.
        OutputError: If nothing can be written.
    """
    for paths, images in _batches(cache, names, side, broken):
        image = images.flip(3) if mirrored else images
        image = image.to(device).contiguous(memory_format=torch.channels_last)
        with quick_precision(device):
            tensors = compute(image)
        arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
        for row, path in enumerate(paths):
            cache.write(names[path], {name: array[row] for name, array in arrays.items()})


def _batches(
    cache: PictureCache, names: Mapping[Path, str], side: int, broken: BrokenFiles
) -> Iterator[tuple[list[Path], Float[Tensor, "B 3 side side"]]]:
    """The pictures that the cache lacks."""
    images: dict[Path, Tensor] = {}
    for path, name in names.items():
        reason = broken.reason_of(path)
        if name not in cache and reason is None:
            try:
                images[path] = torch.from_numpy(square_image(read_image(path), side))
            except ImageError as error:
                reason = str(error)
        broken.count(path, {path: reason} if reason is not None else {})
        if len(images) == _AT_ONCE:
            yield list(images), torch.stack([*images.values()])
            images = {}
    if images:
        yield list(images), torch.stack([*images.values()])


def _content_name(path: Path) -> str:
    try:
        with regular_file(path, path.stem, ImageError) as file:
            return file_digest(file, "sha256").hexdigest()[:_KEY_LENGTH]
    except (OSError, ImageError):  # what is wrong is said where its pixels are wanted
        return f"unreadable-{short_hash(str(path))}"


@contextmanager
def _advise() -> Iterator[None]:
    """Tell of what cannot be written with the option that names its place."""
    try:
        yield
    except OutputError as error:
        raise OutputError(
            f"what frozen networks say of pictures cannot be kept ({error}): "
            "free some space, or give another folder with --cache"
        ) from error
