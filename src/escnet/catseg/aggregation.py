"""CAT-Seg's cost aggregation: the class states are cleaned over the patches, then over the classes.

Spatial aggregation is a Swin pair on each class by itself, guided by the appearance; class
aggregation is linear attention between the classes of one place, guided by their text. They differ
from the fusion of ESC-Net (`model/fusion.py`) in where the norms are, in what the values see, in
the pooling and in the padding, and so in their weights; the windows are the same.

The class state keeps its channels last, (B, N, h, w, C). Sizes: B pictures, N classes, n of them in
a chunk, C hidden width, A guidance width, h x w patches, G heads, d width of a head, L patches of a
window, P places in all windows.
"""

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from escnet.model.chunks import class_chunks
from escnet.model.fusion import FeedForward, WindowGrid, window_grid

_ATTENTION_EPS = 1e-6  # keeps the linear attention's division finite
_UNSEEN = -100.0  # what is added to the score of a patch that a window's shift brought in


class AggregationLayer(nn.Module):
    """Spatial aggregation, then class aggregation."""

    def __init__(
        self,
        *,
        hidden_dim: int,
        guidance_dim: int,
        num_heads: int,
        window: int,
        ffn_ratio: int,
        pooling: tuple[int, int],
        pad_to: int,
    ) -> None:
        super().__init__()
        self.guidance_norm = nn.LayerNorm(guidance_dim)
        self.first = GuidedWindows(hidden_dim, guidance_dim, num_heads, window, 0, ffn_ratio)
        self.second = GuidedWindows(
            hidden_dim, guidance_dim, num_heads, window, window // 2, ffn_ratio
        )
        self.classes = ClassAggregation(
            hidden_dim, guidance_dim, num_heads, ffn_ratio, pooling=pooling, pad_to=pad_to
        )

    def forward(
        self,
        state: Float[Tensor, "B N h w C"],
        appearance: Float[Tensor, "B h w A"],
        text: Float[Tensor, "B N A"],
        class_chunk: int | None = None,
    ) -> Float[Tensor, "B N h w C"]:
        """The refined class states.

        Args:
            state: As the layer before left them.
            appearance: Guidance of the patches, the same for all classes.
            text: Guidance of the classes, the same for all patches.
            class_chunk: Classes worked on at a time; None for all.
        """
        N = state.shape[1]
        guidance = self.guidance_norm(appearance)
        shared = [half.share(guidance) for half in (self.first, self.second)]
        states = []
        for chunk in class_chunks(N, class_chunk):
            part = self.first(state[:, chunk], shared[0])
            states.append(self.second(part, shared[1]))
        texts = [text[:, chunk] for chunk in class_chunks(N, class_chunk)]
        summary = self.classes.summarise(states, texts)
        states = [self.classes(part, own, summary) for part, own in zip(states, texts, strict=True)]
        return states[0] if len(states) == 1 else torch.cat(states, dim=1)


class SharedWindows(NamedTuple):
    """What the windows of all classes have in common.

    Attributes:
        query: The guidance's part of the queries, with their bias.
        key: The same of the keys.
        windows: Where the patches of each window are.
        bias: What is added to the scores; None where all patches of a window see each other.
    """

    query: Float[Tensor, "B 1 P C"]
    key: Float[Tensor, "B 1 P C"]
    windows: WindowGrid
    bias: Float[Tensor, "windows 1 L L"] | None


class GuidedWindows(nn.Module):
    """Half of a Swin pair without position bias: queries and keys see the guidance, values do not.

    A linear map of [state; guidance] is a sum of two, so the guidance's is computed once for all
    classes.
    """

    def __init__(
        self,
        hidden_dim: int,
        guidance_dim: int,
        num_heads: int,
        window: int,
        shift: int,
        ffn_ratio: int,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window = window
        self.shift = shift
        self.norm1 = nn.LayerNorm(hidden_dim)
        self.query = nn.Linear(hidden_dim + guidance_dim, hidden_dim)
        self.key = nn.Linear(hidden_dim + guidance_dim, hidden_dim)
        self.value = nn.Linear(hidden_dim, hidden_dim)
        self.out = nn.Linear(hidden_dim, hidden_dim)
        self.norm2 = nn.LayerNorm(hidden_dim)
        self.ffn = FeedForward(hidden_dim, ffn_ratio)

    def share(self, guidance: Float[Tensor, "B h w A"]) -> SharedWindows:
        """The guidance's part, the same for every class."""
        _, h, w, A = guidance.shape
        window = min(self.window, h, w)
        shift = self.shift if min(h, w) > self.window else 0
        windows = window_grid(h, w, window, shift, guidance.device)
        guidance = guidance.flatten(1, 2)[:, None, windows.patch]  # (B, 1, P, A)
        bias = None
        if windows.may_see is not None:
            bias = torch.zeros_like(windows.may_see, dtype=guidance.dtype)
            bias = bias.masked_fill(~windows.may_see, _UNSEEN)[:, None]
        return SharedWindows(
            query=F.linear(guidance, self.query.weight[:, -A:], self.query.bias),
            key=F.linear(guidance, self.key.weight[:, -A:], self.key.bias),
            windows=windows,
            bias=bias,
        )

    def forward(
        self, state: Float[Tensor, "B n h w C"], shared: SharedWindows
    ) -> Float[Tensor, "B n h w C"]:
        patches = state.flatten(2, 3)  # (B, n, h*w, C)
        C = patches.shape[-1]
        inside = self.norm1(patches).index_select(2, shared.windows.patch)  # (B, n, P, C)
        query = F.linear(inside, self.query.weight[:, :C]) + shared.query
        key = F.linear(inside, self.key.weight[:, :C]) + shared.key
        mean_value = self._attend(query, key, self.value(inside), shared)
        patches = patches + self.out(mean_value.index_select(2, shared.windows.place))
        patches = patches + self.ffn(self.norm2(patches))
        return patches.view_as(state)

    def _attend(
        self,
        query: Float[Tensor, "B n P C"],
        key: Float[Tensor, "B n P C"],
        value: Float[Tensor, "B n P C"],
        shared: SharedWindows,
    ) -> Float[Tensor, "B n P C"]:
        B, _, P, _ = query.shape
        length = min(self.window**2, P)
        inside = "B n (x l) (G d) -> (B n) x G l d"
        query, key, value = (
            rearrange(part, inside, l=length, G=self.num_heads) for part in (query, key, value)
        )
        bias = None if shared.bias is None else shared.bias.to(query)
        # Of shape (windows, 1, L, L): it serves every class and every head.
        mean_value = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return rearrange(mean_value, "(B n) x G l d -> B n (x l) (G d)", B=B)


class ClassSummary(NamedTuple):
    """All that a linear attention keeps of the keys and values of all classes at a place.

    Both are means over the classes: the sums, which the published code takes, leave float16.
    """

    product: Float[Tensor, "B h w G d d"]
    key_total: Float[Tensor, "B h w G d"]


class ClassAggregation(nn.Module):
    """At each place the classes attend to each other, their number padded to a fixed one.

    Args:
        hidden_dim: C.
        guidance_dim: A.
        num_heads: G.
        ffn_ratio: Inner width of the feed-forward network, in multiples of C.
        pooling: Side of the squares of patches that are one place, at inference and in training.
        pad_to: A learned class stands in for those that are missing to this number.
    """

    def __init__(
        self,
        hidden_dim: int,
        guidance_dim: int,
        num_heads: int,
        ffn_ratio: int,
        *,
        pooling: tuple[int, int],
        pad_to: int,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.pooling, self.train_pooling = pooling
        self.pad_to = pad_to
        self.norm1 = nn.LayerNorm(hidden_dim)
        self.query = nn.Linear(hidden_dim + guidance_dim, hidden_dim)
        self.key = nn.Linear(hidden_dim + guidance_dim, hidden_dim)
        self.value = nn.Linear(hidden_dim, hidden_dim)
        self.norm2 = nn.LayerNorm(hidden_dim)
        self.lin1 = nn.Linear(hidden_dim, ffn_ratio * hidden_dim)
        self.lin2 = nn.Linear(ffn_ratio * hidden_dim, hidden_dim)
        if pad_to:
            self.padding_state = nn.Parameter(torch.zeros(hidden_dim))
            self.padding_text = nn.Parameter(torch.zeros(guidance_dim))

    def summarise(
        self,
        states: list[Float[Tensor, "B _ h w C"]],
        texts: list[Float[Tensor, "B _ A"]],
    ) -> ClassSummary:
        """Keys and values of all classes, and of those that pad them, in a small matrix a head.

        The attention is a sum over the classes, so it can be taken chunk by chunk.
        """
        num_classes = sum(state.shape[1] for state in states)
        length = max(num_classes, self.pad_to)
        product, total = self._padding(length - num_classes, length)
        for state, text in zip(states, texts, strict=True):
            key, value = self._key_value(self._pool(state), text)
            with torch.autocast(key.device.type, enabled=False):  # sums over many classes
                pairs = torch.einsum("bnhwgd,bnhwge->bhwgde", key.float(), value.float() / length)
                product = product + pairs
                total = total + key.float().sum(dim=1) / length
        return ClassSummary(product.to(states[0]), total.to(states[0]))

    def forward(
        self,
        state: Float[Tensor, "B n h w C"],
        text: Float[Tensor, "B n A"],
        summary: ClassSummary,
    ) -> Float[Tensor, "B n h w C"]:
        pooled = self._pool(state)
        query = self._positive(self.query, self.norm1(pooled), text)
        total_value = torch.einsum("bnhwgd,bhwgde->bnhwge", query, summary.product)
        norm = torch.einsum("bnhwgd,bhwgd->bnhwg", query, summary.key_total)
        mean_value = total_value / (norm + _ATTENTION_EPS)[..., None]
        pooled = pooled + mean_value.flatten(-2)
        pooled = pooled + self.lin2(F.relu(self.lin1(self.norm2(pooled))))
        return state + self._unpool(pooled, state.shape[2:4])

    def _padding(
        self, missing: int | torch.SymInt, length: int | torch.SymInt
    ) -> tuple[Tensor, Tensor]:
        """What the missing classes add to the sums: each the same, at every place."""
        if isinstance(missing, int) and missing == 0:  # in an export any number may be missing
            return torch.zeros(()), torch.zeros(())
        state = self.padding_state[None, None, None, None]  # (1, 1, 1, 1, C)
        key, value = self._key_value(state, self.padding_text[None, None])
        key, value = key[:, 0].float(), value[:, 0].float()  # (1, 1, 1, G, d)
        product = key[..., :, None] * (value / length)[..., None, :]
        count = cast("int", missing)
        return count * product, count * key / length

    def _key_value(
        self, pooled: Float[Tensor, "B n h w C"], text: Float[Tensor, "B n A"]
    ) -> tuple[Float[Tensor, "B n h w G d"], Float[Tensor, "B n h w G d"]]:
        x = self.norm1(pooled)
        value = self.value(x).unflatten(-1, (self.num_heads, -1))
        return self._positive(self.key, x, text), value

    def _positive(
        self,
        linear: nn.Linear,
        x: Float[Tensor, "B n h w C"],
        text: Float[Tensor, "B n A"],
    ) -> Float[Tensor, "B n h w G d"]:
        """The linear transformer's feature map of queries or keys (Katharopoulos et al., 2020).

        As with the windows, the text's part is computed once for all places.
        """
        C = x.shape[-1]
        of_text = F.linear(text, linear.weight[:, C:], linear.bias)[:, :, None, None]
        projected = F.linear(x, linear.weight[:, :C]) + of_text
        return (F.elu(projected) + 1).unflatten(-1, (self.num_heads, -1))

    def _pool(self, state: Float[Tensor, "B n h w C"]) -> Float[Tensor, "B n _ _ C"]:
        side = self.train_pooling if self.training else self.pooling
        if side == 1:
            return state
        x = F.avg_pool2d(rearrange(state, "B n h w C -> (B n) C h w"), side)
        return rearrange(x, "(B n) C h w -> B n h w C", B=state.shape[0])

    def _unpool(
        self, pooled: Float[Tensor, "B n _ _ C"], size_hw: torch.Size
    ) -> Float[Tensor, "B n h w C"]:
        if pooled.shape[2:4] == size_hw:
            return pooled
        x = rearrange(pooled, "B n h w C -> (B n) C h w")
        x = F.interpolate(x, size=size_hw, mode="bilinear", align_corners=True)
        return rearrange(x, "(B n) C h w -> B n h w C", B=pooled.shape[0])
