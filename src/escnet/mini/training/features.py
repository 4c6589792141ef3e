"""Feature maps of frozen image nets, and the summaries that the presence reads, kept on disk.

Sizes: P pictures, S channels of a summary.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from escnet.errors import ImageError
from escnet.mini.network import Mini
from escnet.mini.training.picture_cache import PictureCache, content_names, fill_cache
from escnet.mini.vision import PairedMaps, PairedVision
from escnet.training.broken_files import BrokenFiles
from escnet.weights.tensor_file import tensors_hash


class FeatureStore:
    """Feature maps of some pictures in half precision, read from disk when they are asked for.

    Args:
        cache: Holds the maps.
        names: For each picture its name there.
        broken: The pictures among them that could not be read.
    """

    def __init__(self, cache: PictureCache, names: Mapping[Path, str], broken: BrokenFiles) -> None:
        self._cache, self._names, self.broken = cache, names, broken

    def maps(self, path: Path, *, mirrored: bool = False) -> PairedMaps:
        """The feature maps of a picture, as a batch of one in single precision.

        Raises:
            ImageError: If it could not be read.
        """
        self.refuse_broken(path)
        arrays = self._cache.read(_view_name(self._names[path], mirrored=mirrored))
        return PairedMaps(
            *(torch.from_numpy(arrays[name])[None].float() for name in PairedMaps._fields)
        )

    def refuse_broken(self, path: Path) -> None:
        """Raise an ImageError if a picture could not be read."""
        if (reason := self.broken.reason_of(path)) is not None:
            raise ImageError(reason)


def compute_features(
    vision: PairedVision, paths: Sequence[Path], folder: Path, *, image_size: int, mirror: bool
) -> FeatureStore:
    """The feature maps of all pictures; what the folder holds already is not computed again.

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
    cache = PictureCache(folder, _nets_key(vision, image_size))
    names, broken = content_names(paths), BrokenFiles(len(paths))
    for mirrored in (False, True) if mirror else (False,):
        fill_cache(
            cache,
            {path: _view_name(name, mirrored=mirrored) for path, name in names.items()},
            lambda image: {name: one.half() for name, one in vision.read(image)._asdict().items()},
            side=image_size,
            device=next(vision.parameters()).device,
            broken=broken,
            mirrored=mirrored,
        )
    return FeatureStore(cache, names, broken)


def compute_summaries(network: Mini, paths: Sequence[Path], folder: Path) -> Float[Tensor, "P S"]:
    """What the tower makes of every whole picture; what the folder holds is not computed again.

    Args:
        network: Of the built-in model's kind.
        paths: The pictures; one that cannot be read has zeros.
        folder: Made if it does not exist.

    Raises:
        DatasetError: If more than one picture in a hundred is broken.
        OutputError: If the folder cannot be written.
    """
    vision, side = network.vision, network.config.image_size
    cache = PictureCache(folder, _nets_key(vision, side))
    names, broken = content_names(paths), BrokenFiles(len(paths))
    fill_cache(
        cache,
        names,
        lambda image: {"summary": vision.summarise(vision.read(image)).float()},
        side=side,
        device=next(vision.parameters()).device,
        broken=broken,
    )
    empty = np.zeros(vision.summary_channels, np.float32)
    rows = [
        cache.read(name)["summary"] if broken.reason_of(path) is None else empty
        for path, name in ((path, names[path]) for path in paths)
    ]
    return torch.from_numpy(np.stack(rows))


def _view_name(name: str, *, mirrored: bool) -> str:
    return f"{name}-mirrored" if mirrored else name


def _nets_key(vision: PairedVision, image_size: int) -> str:
    """Everything that feature maps depend on but the picture."""
    weights = [tensors_hash(net.state_dict()) for net in (vision.vit, vision.net)]
    own = vision.vit.config
    sizes = (vision.layers, vision.patch_size, own.patch_size, own.num_attention_heads, image_size)
    return f"{PairedMaps._fields} {weights} {sizes}"
