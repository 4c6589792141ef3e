"""SAM's mask decoder for many prompts on one picture, at a third of transformers' work.

The two-way transformer and the mask head are ESC-Net's own (`model/two_way.py`, `mask_head.py`):
what does not depend on the prompt is computed once for all of them, and masks are computed only
where the picture is. The numbers are those of the authors' code
(tests/inference/test_sam_decoder.py).

Sizes: R prompts, T tokens of each, S SAM's width, P = 64 x 64 patches, M mask code channels,
h x w the picture's part of the grid of 256.
"""

from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import SamModel

from escnet.model.mask_head import MaskHead
from escnet.model.two_way import (
    SharedPatches,
    SharedProjections,
    TokensAndPatches,
    TwoWayTransformer,
)
from escnet.weights.sam import by_authors_names, mask_head_of, two_way_of

_FINER = 4  # cells of the mask grid to a patch
_PROMPTS_AT_ONCE = 4  # each needs about 20 MB, and more at once are no faster


class SharedPicture(NamedTuple):
    """What all prompts with a mask, or all without one, have in common."""

    base: Float[Tensor, "1 P S"]
    position: Float[Tensor, "P S"]
    projected: SharedProjections


class MaskDecoder(nn.Module):
    """SAM's mask decoder and mask encoder, with the weights of transformers' `SamModel`."""

    def __init__(self, model: SamModel) -> None:
        super().__init__()
        config = model.config.mask_decoder_config
        width, heads = config.hidden_size, config.num_attention_heads
        self.mask_embed: Any = model.prompt_encoder.mask_embed
        self.no_mask: Any = model.prompt_encoder.no_mask_embed
        self.outer: Any = model.mask_decoder
        self.two_way = TwoWayTransformer(width=width, num_heads=heads, mlp_width=config.mlp_dim)
        self.head = MaskHead(width=width, num_heads=heads)
        tensors = by_authors_names(model.state_dict(), "the SAM given")
        self.two_way.load_state_dict(two_way_of(tensors))
        self.head.load_state_dict(mask_head_of(tensors))
        for module in (self.two_way, self.head):
            module.requires_grad_(requires_grad=False)

    def forward(
        self,
        embedding: Float[Tensor, "1 S _ _"],
        position: Float[Tensor, "1 S _ _"],
        sparse: Float[Tensor, "R _ S"],
        mask: Float[Tensor, "R _ _"] | None,
        size_hw: tuple[int, int],
    ) -> tuple[Float[Tensor, "R 3 h w"], Float[Tensor, "R 3"]]:
        """Mask logits, and the IoU that SAM expects of each.

        Args:
            embedding: Of the picture's square.
            position: Of the patches.
            sparse: Embeddings of points and boxes.
            mask: Mask logits on the square's grid of 256.
            size_hw: The part of that grid that the picture takes.
        """
        shared = self.share(embedding, position, has_mask=mask is not None)
        output = torch.cat([self.outer.iou_token.weight, self.outer.mask_tokens.weight])
        token = torch.cat([output.expand(len(sparse), -1, -1), sparse], dim=1)  # (R, T, S)
        logits, quality = [], []
        for start in range(0, len(token), _PROMPTS_AT_ONCE):
            rows = slice(start, start + _PROMPTS_AT_ONCE)
            code = None if mask is None else self._code(mask[rows])
            result = self._attend(shared, code, token[None, rows])
            output = self.head.look(result, token[None, rows], shared.position)
            logits.append(self._masks(output, result.image, embedding.shape[-1], size_hw))
            quality.append(self.outer.iou_prediction_head(output[0, :, 0])[:, 1:])
        return torch.cat(logits), torch.cat(quality)

    def share(
        self,
        embedding: Float[Tensor, "1 S _ _"],
        position: Float[Tensor, "1 S _ _"],
        has_mask: bool,
    ) -> SharedPicture:
        """What is computed once for all prompts of a picture."""
        offset = self.mask_embed.conv3.bias if has_mask else self.no_mask.weight[0]
        base = embedding.flatten(2).transpose(1, 2) + offset  # (1, P, S)
        place = position[0].flatten(1).T  # (P, S)
        return SharedPicture(base, place, self.two_way.share(base, place))

    def _code(self, mask: Float[Tensor, "R _ _"]) -> Float[Tensor, "1 R P M"]:
        """The mask path before its last layer, which is linear."""
        own = self.mask_embed
        code = own.activation(own.layer_norm1(own.conv1(mask[:, None])))
        code = own.activation(own.layer_norm2(own.conv2(code)))  # (R, M, 64, 64)
        return cast("Tensor", code.flatten(2).transpose(1, 2)[None])

    def _attend(
        self,
        shared: SharedPicture,
        code: Float[Tensor, "1 R P M"] | None,
        token: Float[Tensor, "1 R T S"],
    ) -> TokensAndPatches:
        """The tokens and the patches after all of the transformer."""
        basis = None if code is None else self.mask_embed.conv3.weight[:, :, 0, 0]
        result = self.two_way(SharedPatches(shared.base, code, basis), shared.projected, token)
        return cast("TokensAndPatches", result)

    def _masks(
        self,
        output: Float[Tensor, "1 R 5 S"],
        image: Float[Tensor, "1 R P S"],
        side: int,
        size_hw: tuple[int, int],
    ) -> Float[Tensor, "R 3 h w"]:
        height, width = size_hw
        rows, columns = -(-height // _FINER), -(-width // _FINER)
        part = image.unflatten(2, (-1, side))[:, :, :rows, :columns]
        # Of SAM's four masks the first is for prompts that leave no doubt, and is not used.
        return self.head.masks(output, part)[0, :, 1:, :height, :width]
