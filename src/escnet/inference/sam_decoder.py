"""SAM's mask decoder for many prompts on one picture, at a third of transformers' work.

The two-way transformer is ESC-Net's own (`model/two_way.py`): what does not depend on the prompt is
computed once for all of them. Beyond it stand SAM's last attention, which only the output tokens
need, and the masks, which are computed only where the picture is. The numbers are those of the
authors' code (tests/inference/test_sam_decoder.py).

Sizes: R prompts, T tokens of each, S SAM's width, P = 64 x 64 patches, M mask code channels,
h x w the picture's part of the grid of 256.
"""

import re
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import SamModel

from escnet.model.two_way import (
    Projections,
    Shared,
    SharedPatches,
    TwoWayLayer,
    TwoWayTransformer,
)

_FINER = 4  # cells of the mask grid to a patch
_OUTPUT_TOKENS = 5  # SAM's IoU token and its four mask tokens
_PROMPTS_AT_ONCE = 4  # each needs about 20 MB, and more at once are no faster


class SharedPicture(NamedTuple):
    """What all prompts with a mask, or all without one, have in common."""

    base: Float[Tensor, "1 P S"]
    position: Float[Tensor, "P S"]
    projected: Shared


class MaskDecoder(nn.Module):
    """SAM's mask decoder and mask encoder, with the weights of transformers' `SamModel`."""

    def __init__(self, model: SamModel) -> None:
        super().__init__()
        config = model.config.mask_decoder_config
        width, heads = config.hidden_size, config.num_attention_heads
        self.mask_embed: Any = model.prompt_encoder.mask_embed
        self.no_mask: Any = model.prompt_encoder.no_mask_embed
        self.outer: Any = model.mask_decoder
        whole = self.outer.transformer.state_dict()
        self.two_way = TwoWayTransformer(
            width=width, num_heads=heads, mlp_width=config.mlp_dim
        ).requires_grad_(requires_grad=False)
        self.two_way.load_state_dict(
            {
                re.sub(r"layer_norm(\d)", r"norm\1", name): tensor
                for name, tensor in whole.items()
                if name.startswith("layers.")
            }
        )
        self.last = Projections(width, width // 2, heads).requires_grad_(requires_grad=False)
        self.last.load_state_dict(self.outer.transformer.final_attn_token_to_image.state_dict())

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
            updated, image = self._attend(shared, code, token[rows])
            some, good = self._masks(updated, image, embedding.shape[-1], size_hw)
            logits.append(some)
            quality.append(good)
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
        token: Float[Tensor, "R T S"],
    ) -> tuple[Float[Tensor, "R 5 S"], Float[Tensor, "R P S"]]:
        """The output tokens and the patches after all of the transformer."""
        basis = None if code is None else self.mask_embed.conv3.weight[:, :, 0, 0]
        first, second = cast("list[TwoWayLayer]", list(self.two_way.layers.values()))
        patches = SharedPatches(shared.base, code, basis)
        updated, image = first.from_shared(patches, shared.projected.first, token[None])
        updated, image = second(image, shared.projected.places[0], updated, token[None])
        found = self._last_attention(
            updated[0, :, :_OUTPUT_TOKENS], token[:, :_OUTPUT_TOKENS], image[0], shared.position
        )
        return found, image[0]

    def _last_attention(
        self,
        updated: Float[Tensor, "R 5 S"],
        token: Float[Tensor, "R 5 S"],
        image: Float[Tensor, "R P S"],
        position: Float[Tensor, "P S"],
    ) -> Float[Tensor, "R 5 S"]:
        last = self.last
        query = last.heads(last.q_proj(updated + token)) * last.scale  # (R, G, 5, d)
        heads = (last.num_heads, -1)
        # The keys' bias adds the same to all scores of a token, so it changes no share.
        probe = (query @ last.k_proj.weight.unflatten(0, heads)).flatten(1, 2)  # (R, G*5, S)
        weight = (probe @ image.mT + probe @ position.T).softmax(dim=-1)  # (R, G*5, P)
        gathered = (weight @ image).unflatten(1, heads)  # (R, G, 5, S)
        found = last.merge(gathered @ last.v_proj.weight.unflatten(0, heads).mT)
        change = last.out_proj(found + last.v_proj.bias)
        return cast("Tensor", self.outer.transformer.layer_norm_final_attn(updated + change))

    def _masks(
        self,
        token: Float[Tensor, "R 5 S"],
        image: Float[Tensor, "R P S"],
        side: int,
        size_hw: tuple[int, int],
    ) -> tuple[Float[Tensor, "R 3 h w"], Float[Tensor, "R 3"]]:
        outer = self.outer
        height, width = size_hw
        rows, columns = -(-height // _FINER), -(-width // _FINER)
        x = image.transpose(1, 2).unflatten(2, (-1, side))[:, :, :rows, :columns]
        x = outer.activation(outer.upscale_layer_norm(outer.upscale_conv1(x)))
        x = outer.activation(outer.upscale_conv2(x))[:, :, :height, :width]
        # Of SAM's four masks the first is for prompts that leave no doubt, and is not used.
        networks = enumerate(outer.output_hypernetworks_mlps[1:], 2)
        vector = torch.stack([network(token[:, at]) for at, network in networks], dim=1)
        logits = torch.einsum("rmc,rchw->rmhw", vector, x)
        return logits, outer.iou_prediction_head(token[:, 0])[:, 1:]
