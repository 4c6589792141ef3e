"""The map to SAM's width, fitted to what SAM's own image encoder makes.

SAM's two-way transformer was trained on the embeddings of SAM's image encoder, which ESC-Net does
not have. Fed with anything else, its weights are worth as much as random ones, and a short training
does not teach the map in front of it to speak their language. A ridge regression on a hundred
pictures does, as well as a linear map can (docs/paper-notes.md, note 9).

Sizes: M patches of all pictures, V channels of what SAM sees of them (the joint space, or the
tower's own maps), S SAM's width, h x w patches, g the side of SAM's own grid.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from escnet.data.image import image_size_hw, read_image
from escnet.data.labelled_picture import LabelledPicture
from escnet.errors import DatasetError
from escnet.inference.label_maps.published_resize import square_image
from escnet.mini.training.text_space import fit_map
from escnet.model.escnet import EscNet
from escnet.towers.resize import resized

_RIDGE = 0.01  # relative to the mean square of the channels


@torch.inference_mode()
def fit_sam_width(
    network: EscNet,
    pictures: Sequence[LabelledPicture],
    folder: Path,
) -> float:
    """Fit the network's `to_sam_width` and `sam_norm` in place.

    Args:
        network: With its image tower as it will be used.
        pictures: Of which those with an embedding are used.
        folder: STEM.npy for some of the pictures: SAM's embedding of the picture scaled to fit a
            square, which it fills from the upper left.

    Returns:
        The share of the embeddings' variance that the map explains.

    Raises:
        DatasetError: If no picture has an embedding, or one cannot be used.
    """
    pairs = [
        _pair(network, picture, path)
        for picture in pictures
        if (path := folder / f"{picture.stem}.npy").exists()
    ]
    if not pairs:
        raise DatasetError(
            f"{folder} holds STEM.npy of none of the pictures: benchmarks/sam_embeddings.py makes "
            "them"
        )
    seen = torch.cat([one for one, _ in pairs])
    wanted = torch.cat([one for _, one in pairs])
    deviation = wanted.std(dim=1).mean()
    wanted = wanted / deviation
    ridge = _RIDGE * float(seen.sub(seen.mean(dim=0)).square().sum(dim=0).mean())
    weight, bias = fit_map(seen, wanted, ridge)
    bias = bias + wanted.mean(dim=0)
    network.to_sam_width.load_state_dict({"weight": weight[:, :, None, None], "bias": bias})
    network.sam_norm.weight.fill_(float(deviation))
    network.sam_norm.bias.zero_()
    left = (F.linear(seen, weight, bias) - wanted).square().sum()
    return 1 - float(left / (wanted - wanted.mean(dim=0)).square().sum())


def _pair(
    network: EscNet, picture: LabelledPicture, path: Path
) -> tuple[Float[Tensor, "M V"], Float[Tensor, "M S"]]:
    """What SAM is to see of a picture's patches, and what its own encoder makes of them."""
    image = square_image(read_image(picture.image_path), network.config.image_size)
    seen = network.vision(torch.from_numpy(image)[None]).sam_input
    embedding = read_embedding(path, network.config.sam_dim)
    wanted = on_grid(embedding, image_size_hw(picture.image_path), seen.shape[2:])
    return rearrange(seen.float(), "1 V h w -> (h w) V"), rearrange(wanted, "S h w -> (h w) S")


def read_embedding(path: Path, width: int) -> Float[Tensor, "S g g"]:
    """What SAM's image encoder made of a picture.

    Raises:
        DatasetError: If the file is not such an embedding.
    """
    try:
        values = np.load(path)
        embedding = torch.from_numpy(values.astype(np.float32)).squeeze(0)
    except (OSError, ValueError, TypeError) as error:
        raise DatasetError(
            f"SAM embedding {path} cannot be read ({error}): make it again"
        ) from error
    if embedding.ndim != 3 or len(embedding) != width or embedding.shape[1] != embedding.shape[2]:
        raise DatasetError(
            f"SAM embedding {path} has shape {values.shape}, not ({width}, g, g): make it again"
        )
    return embedding


def on_grid(
    embedding: Float[Tensor, "S g g"], size_hw: tuple[int, int], grid_hw: Sequence[int]
) -> Float[Tensor, "S h w"]:
    """The part of SAM's square that the picture fills, on another grid over the picture.

    Args:
        embedding: Of the whole square.
        size_hw: Of the picture.
        grid_hw: h and w.
    """
    side = embedding.shape[-1]
    height, width = (max(1, round(side * length / max(size_hw))) for length in size_hw)
    part = embedding[None, :, :height, :width]
    if height >= grid_hw[0] and width >= grid_hw[1]:
        return F.interpolate(part, size=tuple(grid_hw), mode="area")[0]
    return resized(part, (grid_hw[0], grid_hw[1]))[0]
