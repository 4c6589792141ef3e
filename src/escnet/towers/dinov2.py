"""DINOv2 (Oquab et al., TMLR 2024): what is read out of it.

Sizes: B pictures, H x W pixels, h x w patches, V inner width.
"""

from jaxtyping import Float
from torch import Tensor
from transformers import Dinov2Model

from escnet.towers.tower import grid_of, normalised, to_map

_MEAN = (0.485, 0.456, 0.406)  # of ImageNet
_DEVIATION = (0.229, 0.224, 0.225)


def dinov2_maps(
    tower: Dinov2Model, image: Float[Tensor, "B 3 H W"], layers: tuple[int, ...]
) -> list[Float[Tensor, "B V h w"]]:
    """Outputs of some blocks, each through the tower's final norm."""
    grid_hw = grid_of(image, tower.config.patch_size)
    hidden = tower(normalised(image, _MEAN, _DEVIATION), output_hidden_states=True).hidden_states
    return [to_map(tower.layernorm(hidden[layer]), 1, grid_hw) for layer in layers]
