"""Vision-language fusion: the appearance and the text clean the class states (Sec. 3.5, Fig. 4).

Vision attention (Fig. 4a) mixes the patches of one class within windows, guided by the appearance;
language attention (Fig. 4b) lets each patch of each class ask the text embeddings. Both work on
each class by itself, so classes can be chunked.

The class state keeps its channels last, (B, N, h, w, C), because all maps over it are linear.

Sizes: B pictures, N class names, C hidden width, S SAM's width, D joint space, h x w patches,
G heads, d and e width of a head (of a key, of a value), L patches of a window, P places in all
windows, n class names of a chunk.
"""

from typing import Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from escnet.model.chunks import chunk_in_cache, class_chunks

LanguageMode = Literal["text", "classes"]

_NORM_EPS = 1e-5
_ATTENTION_EPS = 1e-6  # keeps the linear attention's division finite


class Fusion(nn.Module):
    """Vision attention, then language attention.

    Args:
        hidden_dim: C.
        appearance_dim: S.
        text_dim: D.
        num_heads: G.
        window: Side of a window in patches.
        ffn_ratio: Inner width of the feed-forward networks, in multiples of C.
        language_attention: "text" as Fig. 4b draws it, or "classes", CAT-Seg's class aggregation
            (docs/paper-notes.md, note 16).
    """

    def __init__(
        self,
        *,
        hidden_dim: int,
        appearance_dim: int,
        text_dim: int,
        num_heads: int,
        window: int,
        ffn_ratio: int,
        language_attention: LanguageMode,
    ) -> None:
        super().__init__()
        self.to_guidance = nn.Linear(appearance_dim, hidden_dim)
        self.vision = nn.ModuleList(
            WindowAttention(hidden_dim, num_heads, window, shift, ffn_ratio)
            for shift in (0, window // 2)
        )
        attend = TextAttention if language_attention == "text" else ClassAttention
        self.language = attend(hidden_dim, text_dim, num_heads, ffn_ratio)

    def forward(
        self,
        state: Float[Tensor, "B N h w C"],
        appearance: Float[Tensor, "B h w S"],
        text_embedding: Float[Tensor, "#B N D"],
        class_chunk: int | None = None,
        listed: Float[Tensor, "#B _ D"] | None = None,
    ) -> Float[Tensor, "B N h w C"]:
        """The refined class states.

        Args:
            state: Class states.
            appearance: As the SAM block left it.
            text_embedding: Of the same class names.
            class_chunk: Classes worked on at a time; None for all.
            listed: Text embeddings of the whole list, which language attention over text asks,
                also of names that were rejected; None where none was.
        """
        N = state.shape[1]
        class_chunk = chunk_in_cache(class_chunk, state.device)
        guidance = self.to_guidance(appearance)
        shared = [cast("WindowAttention", half).share(guidance) for half in self.vision]
        states = []
        for chunk in class_chunks(N, class_chunk):
            part = state[:, chunk]
            for half, projected in zip(self.vision, shared, strict=True):
                part = half(part, projected)
            states.append(part)
        summary = self.language.summarise(states, text_embedding, class_chunk, listed)
        states = [
            self.language(part, text_embedding[:, chunk], summary)
            for part, chunk in zip(states, class_chunks(N, class_chunk), strict=True)
        ]
        return states[0] if len(states) == 1 else torch.cat(states, dim=1)


class SharedGuidance(NamedTuple):
    """The guidance's part in the norm and in the projections, computed once for all classes.

    Attributes:
        projected: Its part of queries, keys and values.
        total: Sum over its channels.
        total_of_squares: Sum of their squares.
        windows: Where the patches of each window are.
    """

    projected: Float[Tensor, "B 1 P _"]  # P = windows * L, 3 * C
    total: Float[Tensor, "B 1 P 1"]
    total_of_squares: Float[Tensor, "B 1 P 1"]
    windows: "WindowGrid"


class WindowGrid(NamedTuple):
    """The patches of a grid, window by window.

    Attributes:
        patch: Of each place in the windows the patch that stands there; padding shows patch 0.
        place: Of each patch its place in the windows.
        may_see: Which places of a window may see each other; None where all may.
    """

    patch: Int[Tensor, " P"]
    place: Int[Tensor, " patches"]
    may_see: Bool[Tensor, "windows L L"] | None


class WindowAttention(nn.Module):
    """Half of a Swin pair on each class: attention in windows, guided, then a feed-forward network.

    Queries, keys and values are read from Norm([state; guidance]) (Fig. 4a). The norm is over both
    halves, but its mean and deviation are two numbers a patch, so the guidance is projected
    once for all classes and rescaled for each. The mean needs no subtraction: with every row of the
    projection centred, what the mean would add is 0.
    """

    def __init__(
        self, hidden_dim: int, num_heads: int, window: int, shift: int, ffn_ratio: int
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window = window
        self.shift = shift
        self.norm1 = nn.LayerNorm(2 * hidden_dim, eps=_NORM_EPS)
        self.qkv = nn.Linear(2 * hidden_dim, 3 * hidden_dim)
        self.out = nn.Linear(hidden_dim, hidden_dim)
        self.norm2 = nn.LayerNorm(hidden_dim, eps=_NORM_EPS)
        self.ffn = FeedForward(hidden_dim, ffn_ratio)

    def share(self, guidance: Float[Tensor, "B h w C"]) -> SharedGuidance:
        """The guidance's part, the same for every class."""
        _, h, w, C = guidance.shape
        window = min(self.window, max(h, w))
        shift = self.shift if window == self.window else 0
        windows = window_grid(h, w, window, shift, guidance.device)
        guidance = guidance.flatten(1, 2)[:, None, windows.patch]  # (B, 1, P, C)
        exact = guidance.float()
        return SharedGuidance(
            projected=F.linear(guidance, self._centred_weight()[:, C:]),
            total=exact.sum(dim=-1, keepdim=True),
            total_of_squares=exact.square().sum(dim=-1, keepdim=True),
            windows=windows,
        )

    def forward(
        self, state: Float[Tensor, "B n h w C"], shared: SharedGuidance
    ) -> Float[Tensor, "B n h w C"]:
        patches = state.flatten(2, 3)  # (B, n, h*w, C)
        inside = patches.index_select(2, shared.windows.patch)  # (B, n, P, C)
        mean_value = self._attend(self._project(inside, shared), shared.windows.may_see)
        mean_value = mean_value.index_select(2, shared.windows.place)  # (B, n, h*w, C)
        patches = patches + self.out(mean_value)
        patches = patches + self.ffn(self.norm2(patches))
        return patches.view_as(state)

    def _centred_weight(self) -> Float[Tensor, "_ _"]:
        weight = self.qkv.weight * self.norm1.weight
        return weight - weight.mean(dim=1, keepdim=True)

    def _project(
        self, state: Float[Tensor, "B n P C"], shared: SharedGuidance
    ) -> Float[Tensor, "B n P 3*C"]:
        """qkv(norm1([state; guidance])) without building the concatenation."""
        C = state.shape[-1]
        exact = state.float()
        mean = (exact.sum(dim=-1, keepdim=True) + shared.total) / (2 * C)
        square = exact.square().sum(dim=-1, keepdim=True) + shared.total_of_squares
        variance = (square / (2 * C) - mean.square()).clamp(min=0)
        scale = torch.rsqrt(variance + _NORM_EPS).to(state)  # (B, n, P, 1)
        bias = self.qkv.bias + self.qkv.weight @ self.norm1.bias
        projected = F.linear(state * scale, self._centred_weight()[:, :C], bias)
        return torch.addcmul(projected, scale.to(projected), shared.projected)

    def _attend(
        self, qkv: Float[Tensor, "B n P _"], may_see: Bool[Tensor, "windows L L"] | None
    ) -> Float[Tensor, "B n P C"]:
        B, _, P, _ = qkv.shape
        if may_see is None:
            length = min(self.window**2, P)
            inside = "B n (x l) (k G d) -> k (B n x) G l d"
            query, key, value = rearrange(qkv, inside, k=3, l=length, G=self.num_heads)
            mean_value = F.scaled_dot_product_attention(query, key, value)
            return rearrange(mean_value, "(B n x) G l d -> B n (x l) (G d)", B=B, x=P // length)
        windows = []  # one by one, so that one small mask serves all classes
        for part, mask in zip(qkv.split(may_see.shape[1], dim=2), may_see, strict=True):
            inside = "B n l (k G d) -> k (B n) G l d"
            query, key, value = rearrange(part, inside, k=3, G=self.num_heads)
            windows.append(F.scaled_dot_product_attention(query, key, value, attn_mask=mask))
        return rearrange(torch.stack(windows), "x (B n) G l d -> B n (x l) (G d)", B=B)


def window_grid(
    height: int, width: int, window: int, shift: int, device: torch.device
) -> WindowGrid:
    """How a grid is cut into windows that start `shift` patches from its upper left corner.

    The grid is padded to whole windows; what the shift leaves over comes in from the other side.
    """
    below, right = -height % window, -width % window
    row = (torch.arange(height + below, device=device) + shift) % (height + below)
    column = (torch.arange(width + right, device=device) + shift) % (width + right)
    is_patch = (row < height)[:, None] & (column < width)
    patch = torch.where(is_patch, row[:, None] * width + column, 0)
    patch = rearrange(patch, "(r i) (c j) -> (r c i j)", i=window, j=window)
    order = torch.arange(len(patch), device=device)
    order = rearrange(
        order,
        "(r c i j) -> (r i) (c j)",
        r=(height + below) // window,
        i=window,
        j=window,
    )
    place = order.roll((shift, shift), dims=(0, 1))[:height, :width].flatten()
    may_see = None
    if shift or below or right:
        may_see = _same_area(height, width, window, shift, device)
    return WindowGrid(patch, place, may_see)


def _same_area(
    height: int, width: int, window: int, shift: int, device: torch.device
) -> Bool[Tensor, "windows L L"]:
    """Which patches of a window may see each other: neighbours in the picture, not the padding.

    Rolling brings opposite edges into one window, and padding brings patches that do not exist;
    a patch sees only those of its own area. Padding sees itself, so that no row is empty.
    """
    areas = []
    for size in (height, width):
        padded = size + -size % window
        place = torch.arange(padded, device=device)
        area = (place >= padded - window).int() + (place >= padded - shift).int()
        area = area if shift else torch.zeros_like(area)
        outside = torch.arange(padded, device=device).roll(-shift) >= size
        areas.append(torch.where(outside, 3, area))
    area = areas[0][:, None] * 4 + areas[1]
    outside = (areas[0][:, None] == 3) | (areas[1] == 3)
    area = torch.where(outside, -1, area)
    area = rearrange(area, "(r i) (c j) -> (r c) (i j)", i=window, j=window)
    return area[:, :, None] == area[:, None, :]


class TextAttention(nn.Module):
    """Each patch of each class asks all text embeddings (Fig. 4b): linear, without order."""

    def __init__(self, hidden_dim: int, text_dim: int, num_heads: int, ffn_ratio: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm1 = nn.LayerNorm(hidden_dim, eps=_NORM_EPS)
        self.query = nn.Linear(hidden_dim, hidden_dim)
        self.from_text = nn.Linear(text_dim, hidden_dim)
        self.key = nn.Linear(hidden_dim, hidden_dim)
        self.value = nn.Linear(hidden_dim, hidden_dim)
        self.out = nn.Linear(hidden_dim, hidden_dim)
        self.norm2 = nn.LayerNorm(hidden_dim, eps=_NORM_EPS)
        self.ffn = FeedForward(hidden_dim, ffn_ratio)

    def summarise(
        self,
        states: list[Float[Tensor, "B _ h w C"]],  # noqa: ARG002  (ClassAttention needs them)
        text_embedding: Float[Tensor, "#B N D"],
        class_chunk: int | None,  # noqa: ARG002
        listed: Float[Tensor, "#B _ D"] | None = None,
    ) -> "Summary":
        """Keys and values of all names of the list in one small matrix a head."""
        text_embedding = text_embedding if listed is None else listed
        text = F.relu(self.from_text(text_embedding))
        key = _positive(self.key(text)).unflatten(-1, (self.num_heads, -1))  # (#B, N, G, d)
        value = self.value(text).unflatten(-1, (self.num_heads, -1))
        N = text_embedding.shape[1]  # `len` would fix the number of names in an exported network
        # In single precision even under autocast: a sum over thousands of names leaves float16.
        with torch.autocast(key.device.type, enabled=False):
            product = torch.einsum("bngd,bnge->bgde", key.float(), value.float()) / N
            total = key.float().sum(dim=1) / N
        return Summary(product.to(key), total.to(key))

    def forward(
        self,
        state: Float[Tensor, "B n h w C"],
        text_embedding: Float[Tensor, "#B n D"],  # noqa: ARG002  (ClassAttention needs it)
        summary: "Summary",
    ) -> Float[Tensor, "B n h w C"]:
        query = _positive(self.query(self.norm1(state)))
        # One product with a matrix of blocks is quicker than a small product for each head.
        places = query.flatten(1, 3)  # (B, n*h*w, C)
        total_value = (places @ _blocks(summary.product)).view_as(query)
        norm = (places @ _blocks(summary.key_total[..., None])).unflatten(1, query.shape[1:4])
        total_value = total_value.unflatten(-1, (self.num_heads, -1))
        mean_value = total_value / (norm + _ATTENTION_EPS)[..., None]
        state = state + self.out(mean_value.flatten(-2))
        return state + self.ffn(self.norm2(state))


class Summary(NamedTuple):
    """All a linear attention keeps of its keys and values; the leading axes differ by mode."""

    product: Float[Tensor, "*lead G d e"]
    key_total: Float[Tensor, "*lead G d"]


class ClassAttention(nn.Module):
    """At each patch, the classes attend to each other (CAT-Seg's class aggregation)."""

    def __init__(self, hidden_dim: int, text_dim: int, num_heads: int, ffn_ratio: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm1 = nn.LayerNorm(hidden_dim, eps=_NORM_EPS)
        self.from_text = nn.Linear(text_dim, hidden_dim)
        self.query = nn.Linear(2 * hidden_dim, hidden_dim)
        self.key = nn.Linear(2 * hidden_dim, hidden_dim)
        self.value = nn.Linear(hidden_dim, hidden_dim)
        self.out = nn.Linear(hidden_dim, hidden_dim)
        self.norm2 = nn.LayerNorm(hidden_dim, eps=_NORM_EPS)
        self.ffn = FeedForward(hidden_dim, ffn_ratio)

    def summarise(
        self,
        states: list[Float[Tensor, "B _ h w C"]],
        text_embedding: Float[Tensor, "#B N D"],
        class_chunk: int | None,
        listed: Float[Tensor, "#B _ D"] | None = None,  # noqa: ARG002 -- they have no states
    ) -> Summary:
        """Keys and values of all classes in one small matrix a head and patch."""
        N = text_embedding.shape[1]  # `len` would fix the number of names in an exported network
        product: Tensor | float = 0.0
        total: Tensor | float = 0.0
        for state, chunk in zip(states, class_chunks(N, class_chunk), strict=True):
            x = self.norm1(state)
            key = self._key(x, text_embedding[:, chunk])
            value = self.value(x).unflatten(-1, (self.num_heads, -1))
            with torch.autocast(key.device.type, enabled=False):  # as in `TextAttention`
                pairs = torch.einsum("bnhwgd,bnhwge->bhwgde", key.float(), value.float())
                product = product + pairs / N
                total = total + key.float().sum(dim=1) / N
        return Summary(torch.as_tensor(product).to(states[0]), torch.as_tensor(total).to(states[0]))

    def forward(
        self,
        state: Float[Tensor, "B n h w C"],
        text_embedding: Float[Tensor, "#B n D"],
        summary: Summary,
    ) -> Float[Tensor, "B n h w C"]:
        joined = self._join(self.norm1(state), text_embedding)
        query = _positive(self.query(joined)).unflatten(-1, (self.num_heads, -1))
        total_value = torch.einsum("bnhwgd,bhwgde->bnhwge", query, summary.product)
        norm = torch.einsum("bnhwgd,bhwgd->bnhwg", query, summary.key_total)
        mean_value = total_value / (norm + _ATTENTION_EPS)[..., None]
        state = state + self.out(mean_value.flatten(-2))
        return state + self.ffn(self.norm2(state))

    def _key(
        self, x: Float[Tensor, "B n h w C"], text_embedding: Float[Tensor, "#B n D"]
    ) -> Float[Tensor, "B n h w G d"]:
        return _positive(self.key(self._join(x, text_embedding))).unflatten(
            -1, (self.num_heads, -1)
        )

    def _join(
        self, x: Float[Tensor, "B n h w C"], text_embedding: Float[Tensor, "#B n D"]
    ) -> Float[Tensor, "B n h w 2*C"]:
        """The class's own text beside each of its patches."""
        text = F.relu(self.from_text(text_embedding))[:, :, None, None].expand_as(x)
        return torch.cat([x, text], dim=-1)


class FeedForward(nn.Module):
    """Two linear maps with a GELU between."""

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, ratio * width)
        self.lin2 = nn.Linear(ratio * width, width)

    def forward(self, x: Float[Tensor, "*lead C"]) -> Float[Tensor, "*lead C"]:
        return self.lin2(F.gelu(self.lin1(x)))


def _blocks(matrices: Float[Tensor, "#B G d e"]) -> Float[Tensor, "#B d*G e*G"]:
    """The matrices of all heads along the diagonal of one."""
    eye = torch.eye(matrices.shape[1], device=matrices.device, dtype=matrices.dtype)
    return (matrices[:, :, :, None] * eye[:, None, :, None]).flatten(3).flatten(1, 2)


def _positive(x: Float[Tensor, "*lead C"]) -> Float[Tensor, "*lead C"]:
    """The feature map of the linear transformer (Katharopoulos et al., ICML 2020)."""
    return F.elu(x) + 1
