"""SAM's two-way transformer for all classes at once (Kirillov et al., ICCV 2023; Sec. 3.4).

Prompt tokens and patches attend to each other. Every class has its own tokens, but before the
first layer all classes of a picture see the same patches, apart from the mask prompt, which is
16 numbers a patch behind one linear map. So the first layer's image-side projections are computed
once for all classes, and the second layer projects the few tokens instead of the many patches:
q (W k) = (q W) k. The numbers are those of the original (tests/parity holds it to 1e-5); the work
is a third. Parameter names are those of Meta's files, without the final attention, which changes
no patch (`mask_head.py` has it).

Sizes: B pictures, N class names, T tokens, P patches, S SAM's width, M mask code channels,
R = G * T, G heads, d width of a head.
"""

from collections.abc import Iterable
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

_NORM_EPS = 1e-5


class SharedPatches(NamedTuple):
    """Patches before the first layer: what all classes share, plus each class's mask prompt.

    A class's patches are `base + code @ basis.T`; without a mask prompt `code` is None.
    """

    base: Float[Tensor, "B P S"]
    code: Float[Tensor, "B N P M"] | None
    basis: Float[Tensor, "S M"] | None


class PatchProjections(NamedTuple):
    """The patches as the first layer projects them, once for all classes of a picture."""

    key: Float[Tensor, "B G P d"]
    value: Float[Tensor, "B G P d"]
    query: Float[Tensor, "B G P d"]


class PlaceProjections(NamedTuple):
    """The positional encoding as a later layer projects it, with the projections' biases."""

    key: Float[Tensor, "P G d"]
    query: Float[Tensor, "P G d"]


class SharedProjections(NamedTuple):
    """What is projected once for all classes of a picture, layer by layer."""

    first: PatchProjections
    places: list[PlaceProjections]  # of the layers after the first


class TokensAndPatches(NamedTuple):
    """Every class's tokens and patches after some layers."""

    token: Float[Tensor, "B N T S"]
    image: Float[Tensor, "B N P S"]


class TwoWayTransformer(nn.Module):
    """One or both of SAM's two-way layers.

    Args:
        width: S.
        num_heads: G.
        mlp_width: Inner width of the tokens' feed-forward network.
        layers: Which of SAM's layers, of 0 and 1. Layer 0 starts the tokens' self-attention
            afresh (no position, no residual), as SAM does.
    """

    def __init__(
        self, *, width: int, num_heads: int, mlp_width: int, layers: tuple[int, ...] = (0, 1)
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(
            {
                str(index): TwoWayLayer(width, num_heads, mlp_width, starts_afresh=index == 0)
                for index in layers
            }
        )

    def share(
        self, base: Float[Tensor, "B P S"], position: Float[Tensor, "P S"]
    ) -> SharedProjections:
        """What is projected once for all classes.

        Args:
            base: The patches that the classes share.
            position: Positional encoding of the patches.
        """
        first, *rest = cast("Iterable[TwoWayLayer]", self.layers.values())
        return SharedProjections(
            first.share(base, position), [layer.place(position) for layer in rest]
        )

    def forward(
        self,
        patches: SharedPatches,
        shared: SharedProjections,
        token: Float[Tensor, "B N T S"],
    ) -> TokensAndPatches:
        """Every class's tokens and patches after all layers.

        Args:
            patches: Before the first layer.
            shared: What `share` gave for the same base.
            token: Tokens of every class, which also serve as the tokens' own position.
        """
        first, *rest = cast("Iterable[TwoWayLayer]", self.layers.values())
        updated, image = first.forward_shared(patches, shared.first, token)
        for layer, places in zip(rest, shared.places, strict=True):
            updated, image = layer(image, places, updated, token)
        return TokensAndPatches(updated, image)


class TwoWayLayer(nn.Module):
    """Tokens attend to themselves, to the patches, and the patches back to the tokens."""

    def __init__(self, width: int, num_heads: int, mlp_width: int, *, starts_afresh: bool) -> None:
        super().__init__()
        self.starts_afresh = starts_afresh
        self.self_attn = Projections(width, width, num_heads)
        self.norm1 = nn.LayerNorm(width, eps=_NORM_EPS)
        self.cross_attn_token_to_image = Projections(width, width // 2, num_heads)
        self.norm2 = nn.LayerNorm(width, eps=_NORM_EPS)
        self.mlp = TokenMlp(width, mlp_width)
        self.norm3 = nn.LayerNorm(width, eps=_NORM_EPS)
        self.norm4 = nn.LayerNorm(width, eps=_NORM_EPS)
        self.cross_attn_image_to_token = Projections(width, width // 2, num_heads)

    def share(
        self, base: Float[Tensor, "B P S"], position: Float[Tensor, "P S"]
    ) -> PatchProjections:
        """Image-side projections of patches that all classes share."""
        token_to_image, image_to_token = self._cross_attentions()
        with_position = base + position
        return PatchProjections(
            key=token_to_image.heads(token_to_image.k_proj(with_position)),
            value=token_to_image.heads(token_to_image.v_proj(base)),
            query=image_to_token.heads(image_to_token.q_proj(with_position)),
        )

    def place(self, position: Float[Tensor, "P S"]) -> PlaceProjections:
        """The positional encoding's share of the keys and queries, the same for every class."""
        token_to_image, image_to_token = self._cross_attentions()
        return PlaceProjections(
            key=token_to_image.k_proj(position).unflatten(-1, (token_to_image.num_heads, -1)),
            query=image_to_token.q_proj(position).unflatten(-1, (image_to_token.num_heads, -1)),
        )

    def forward_shared(
        self,
        patches: SharedPatches,
        shared: PatchProjections,
        token: Float[Tensor, "B N T S"],
    ) -> tuple[Float[Tensor, "B N T S"], Float[Tensor, "B N P S"]]:
        """The layer on patches that the classes share: tokens and every class's own patches."""
        code, basis = patches.code, patches.basis
        token_to_image, image_to_token = self._cross_attentions()

        # Self-attention of the tokens.
        updated = self._self_attention(token, token)

        # Cross-attention, token to image.
        query = token_to_image.heads(token_to_image.q_proj(updated + token)) * token_to_image.scale
        score = torch.einsum("bngtd,bgpd->bngtp", query, shared.key)
        if code is not None and basis is not None:
            to_code = query @ _per_head(
                token_to_image.k_proj.weight @ basis, token_to_image.num_heads
            )
            score = _add_product(score, to_code, code)
        weight = score.softmax(dim=-1)
        mean_value = torch.einsum("bngtp,bgpd->bngtd", weight, shared.value)
        if code is not None and basis is not None:
            mean_code = (weight.flatten(2, 3) @ code).unflatten(2, weight.shape[2:4])
            value_of_code = _per_head(
                token_to_image.v_proj.weight @ basis, token_to_image.num_heads
            )
            mean_value = mean_value + mean_code @ value_of_code.mT

        # Feed-forward network of the tokens.
        change = token_to_image.out_proj(token_to_image.merge(mean_value))
        updated = self._feed_forward(updated, change)

        # Cross-attention, image to token.
        key = image_to_token.heads(image_to_token.k_proj(updated + token)) * image_to_token.scale
        score = torch.einsum("bngtd,bgpd->bngtp", key, shared.query)
        if code is not None and basis is not None:
            to_code = key @ _per_head(
                image_to_token.q_proj.weight @ basis, image_to_token.num_heads
            )
            score = _add_product(score, to_code, code)
        weight, value = self._image_to_token(score, updated)
        base = patches.base[:, None].expand(-1, token.shape[1], -1, -1)
        if code is not None and basis is not None:  # the mask prompt is added like a token's value
            weight = torch.cat([weight, code.mT.to(weight)], dim=2)
            value = torch.cat([value, basis.T.to(value).expand(*token.shape[:2], -1, -1)], dim=2)
        return updated, self.norm4(_add_weighted(base, weight, value))

    def forward(
        self,
        image: Float[Tensor, "B N P S"],
        places: PlaceProjections,
        updated: Float[Tensor, "B N T S"],
        token: Float[Tensor, "B N T S"],
    ) -> tuple[Float[Tensor, "B N T S"], Float[Tensor, "B N P S"]]:
        """The layer on patches that every class has its own of: tokens and patches."""
        token_to_image, image_to_token = self._cross_attentions()

        # Self-attention of the tokens.
        updated = self._self_attention(updated, token)

        # Cross-attention, token to image.
        query = token_to_image.heads(token_to_image.q_proj(updated + token)) * token_to_image.scale
        score = self._score(query, token_to_image.k_proj, image, places.key)
        mean_patch = score.softmax(dim=-1).flatten(2, 3) @ image  # (B, N, G*T, S)
        mean_patch = mean_patch.unflatten(2, score.shape[2:4])
        mean_value = (
            mean_patch @ _per_head(token_to_image.v_proj.weight, token_to_image.num_heads).mT
        )
        mean_value = token_to_image.merge(mean_value) + token_to_image.v_proj.bias

        # Feed-forward network of the tokens.
        updated = self._feed_forward(updated, token_to_image.out_proj(mean_value))

        # Cross-attention, image to token.
        key = image_to_token.heads(image_to_token.k_proj(updated + token)) * image_to_token.scale
        score = self._score(key, image_to_token.q_proj, image, places.query)
        return updated, self.norm4(_add_weighted(image, *self._image_to_token(score, updated)))

    def _cross_attentions(self) -> "tuple[Projections, Projections]":
        """Token to image, and image to token."""
        return self.cross_attn_token_to_image, self.cross_attn_image_to_token

    def _self_attention(
        self, updated: Float[Tensor, "B N T S"], token: Float[Tensor, "B N T S"]
    ) -> Float[Tensor, "B N T S"]:
        attention = self.self_attn
        query = updated if self.starts_afresh else updated + token
        mean_value = F.scaled_dot_product_attention(
            attention.heads(attention.q_proj(query)).flatten(0, 1),
            attention.heads(attention.k_proj(query)).flatten(0, 1),
            attention.heads(attention.v_proj(updated)).flatten(0, 1),
        )
        change = attention.out_proj(attention.merge(mean_value)).unflatten(0, updated.shape[:2])
        return self.norm1(change if self.starts_afresh else updated + change)

    def _feed_forward(
        self, updated: Float[Tensor, "B N T S"], change: Float[Tensor, "B N T S"]
    ) -> Float[Tensor, "B N T S"]:
        updated = self.norm2(updated + change)
        return self.norm3(updated + self.mlp(updated))

    def _score(
        self,
        vector: Float[Tensor, "B N G T d"],
        projection: nn.Linear,
        image: Float[Tensor, "B N P S"],
        place: Float[Tensor, "P G d"],
    ) -> Float[Tensor, "B N G T P"]:
        """`vector` times the projection of every placed patch, without projecting the patches."""
        probe = vector @ _per_head(projection.weight, vector.shape[2])  # (B, N, G, T, S)
        return _add_product(torch.einsum("bngtd,pgd->bngtp", vector, place), probe, image)

    def _image_to_token(
        self, score: Float[Tensor, "B N G T P"], updated: Float[Tensor, "B N T S"]
    ) -> tuple[Float[Tensor, "B N R P"], Float[Tensor, "B N R S"]]:
        """How much each patch takes of each head's token, and that token's value (R = G times T).

        Each head's weights add up to one, so the bias of the output projection goes with them.
        """
        attention = self.cross_attn_image_to_token
        value = attention.heads(attention.v_proj(updated))  # (B, N, G, T, d)
        out = attention.out_proj.weight.unflatten(1, (attention.num_heads, -1)).permute(1, 2, 0)
        value = value @ out + attention.out_proj.bias / attention.num_heads  # (B, N, G, T, S)
        return score.softmax(dim=3).flatten(2, 3), value.flatten(2, 3)


class Projections(nn.Module):
    """The four linear maps of an attention, of an inner width that the heads share."""

    def __init__(self, width: int, inner_width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.scale = (inner_width // num_heads) ** -0.5
        self.q_proj = nn.Linear(width, inner_width)
        self.k_proj = nn.Linear(width, inner_width)
        self.v_proj = nn.Linear(width, inner_width)
        self.out_proj = nn.Linear(inner_width, width)

    def heads(self, x: Float[Tensor, "*lead T I"]) -> Float[Tensor, "*lead G T d"]:
        """The inner width cut into heads."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(-3, -2)

    def merge(self, x: Float[Tensor, "*lead G T d"]) -> Float[Tensor, "*lead T I"]:
        """The heads side by side again."""
        return x.transpose(-3, -2).flatten(-2)


class TokenMlp(nn.Module):
    """The tokens' feed-forward network."""

    def __init__(self, width: int, inner_width: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, inner_width)
        self.lin2 = nn.Linear(inner_width, width)

    def forward(self, x: Float[Tensor, "*lead S"]) -> Float[Tensor, "*lead S"]:
        return self.lin2(F.relu(self.lin1(x)))


def _per_head(weight: Float[Tensor, "I X"], num_heads: int) -> Float[Tensor, "G d X"]:
    """The rows of a projection, grouped by head."""
    return weight.unflatten(0, (num_heads, -1))


def _add_product(
    score: Float[Tensor, "B N G T P"],
    probe: Float[Tensor, "B N G T X"],
    patches: Float[Tensor, "B N P X"],
) -> Float[Tensor, "B N G T P"]:
    """The scores plus the product of each probe with each patch, in one pass."""
    total = torch.baddbmm(
        score.flatten(2, 3).flatten(0, 1),
        probe.flatten(2, 3).flatten(0, 1),
        patches.flatten(0, 1).mT.to(probe),
    )
    return total.reshape(score.shape)


def _add_weighted(
    image: Float[Tensor, "B N P S"],
    weight: Float[Tensor, "B N R P"],
    value: Float[Tensor, "B N R S"],
) -> Float[Tensor, "B N P S"]:
    """The patches plus the weighted sum of the values that each takes, in one pass."""
    total = torch.baddbmm(
        image.flatten(0, 1).to(value), weight.flatten(0, 1).mT, value.flatten(0, 1)
    )
    return total.reshape(image.shape)
