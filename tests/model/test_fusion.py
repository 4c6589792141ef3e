from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from escnet.model.fusion import (
    ClassAttention,
    Fusion,
    TextAttention,
    WindowAttention,
    WindowGrid,
    window_grid,
)

B, N, C, S, D, G = 2, 3, 8, 6, 5, 2
GRIDS = [(4, 4), (5, 7), (2, 3), (1, 6), (8, 4)]

Stir = Callable[[nn.Module], None]


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def linear(module: nn.Module, x: Tensor) -> Tensor:
    state = module.state_dict()
    return x @ state["weight"].T + state["bias"]


def norm(module: nn.Module, x: Tensor) -> Tensor:
    state = module.state_dict()
    variance = x.var(dim=-1, keepdim=True, unbiased=False)
    centred = x - x.mean(dim=-1, keepdim=True)
    return centred / (variance + 1e-5).sqrt() * state["weight"] + state["bias"]


def gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.erf(x / 2**0.5))


def positive(x: Tensor) -> Tensor:
    return torch.where(x > 0, x + 1, x.exp())


def head(x: Tensor, index: int) -> Tensor:
    return x[..., index * C // G : (index + 1) * C // G]


def by_window(x: Tensor, windows: WindowGrid) -> Tensor:
    return x.flatten(2, 3)[:, :, windows.patch]


def by_row(x: Tensor, windows: WindowGrid, height: int, width: int) -> Tensor:
    return x[:, :, windows.place].unflatten(2, (height, width))


def test_places_of_a_shifted_grid_by_hand() -> None:
    # Shifted by one, a grid of 2 x 3 in windows of 2 starts at its second row and second column.
    windows = window_grid(2, 3, 2, 1, torch.device("cpu"))
    assert windows.patch.tolist() == [4, 5, 1, 2, 0, 3, 0, 0]  # padding shows patch 0
    assert windows.place.tolist() == [7, 2, 3, 5, 0, 1]


@torch.no_grad()
def test_the_projection_is_that_of_the_normed_concatenation(stir: Stir) -> None:
    attention = WindowAttention(C, G, window=2, shift=0, ffn_ratio=2)
    stir(attention)
    state, guidance = 3 * draw(B, N, 4, 5, C) + 2, draw(B, 4, 5, C, seed=2) - 1
    joined = torch.cat([state, guidance[:, None].expand_as(state)], dim=-1)
    shared = attention.share(guidance)
    found = by_row(
        attention._project(by_window(state, shared.windows), shared), shared.windows, 4, 5
    )
    expected = linear(attention.qkv, norm(attention.norm1, joined))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def area_of(place: int, window: int, shift: int) -> int:
    """Which window a row or column falls into when the windows begin `shift` further on."""
    return (place - shift) // window if place >= shift else -1


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), GRIDS)
@pytest.mark.parametrize(("window", "shift"), [(2, 0), (2, 1), (3, 0), (3, 1), (4, 2), (12, 6)])
def test_windows_are_a_masked_attention_over_the_whole_map(
    stir: Stir, height: int, width: int, window: int, shift: int
) -> None:
    attention = WindowAttention(C, G, window=window, shift=shift, ffn_ratio=2)
    stir(attention)
    qkv = draw(B, N, height, width, 3 * C)
    if window > max(height, width):
        shift = 0  # one window holds all of the map
    query, key, value = qkv.chunk(3, dim=-1)
    expected = torch.zeros(B, N, height, width, C)
    places = [(y, x) for y in range(height) for x in range(width)]
    area = {(y, x): (area_of(y, window, shift), area_of(x, window, shift)) for y, x in places}
    for y, x in places:
        seen = [place for place in places if area[place] == area[y, x]]
        for index in range(G):
            score = torch.stack(
                [
                    (head(query, index)[:, :, y, x] * head(key, index)[:, :, v, u]).sum(dim=-1)
                    for v, u in seen
                ]
            )
            weight = torch.softmax(score / (C // G) ** 0.5, dim=0)[..., None]
            values = torch.stack([head(value, index)[:, :, v, u] for v, u in seen])
            head(expected[:, :, y, x], index).copy_((weight * values).sum(dim=0))
    windows = attention.share(draw(1, height, width, C)).windows
    found = attention._attend(by_window(qkv, windows), windows.may_see)
    found = by_row(found, windows, height, width)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_half_pair_is_attention_and_network_each_beside_what_it_adds_to(stir: Stir) -> None:
    attention = WindowAttention(C, G, window=2, shift=1, ffn_ratio=2)
    stir(attention)
    state, guidance = draw(B, N, 4, 4, C), draw(B, 4, 4, C, seed=2)
    shared = attention.share(guidance)
    windows = shared.windows
    found = attention._attend(
        attention._project(by_window(state, windows), shared), windows.may_see
    )
    x = state + linear(attention.out, by_row(found, windows, 4, 4))
    inner = gelu(linear(attention.ffn.lin1, norm(attention.norm2, x)))
    expected = x + linear(attention.ffn.lin2, inner)
    torch.testing.assert_close(attention(state, shared), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_language_attention_is_the_sum_over_all_names(stir: Stir) -> None:
    attention = TextAttention(C, D, G, ffn_ratio=2)
    stir(attention)
    state, text = draw(B, N, 2, 3, C), draw(1, N, D, seed=2)
    found = attention(state, text, attention.summarise([state], text, None))

    hidden = linear(attention.from_text, text[0]).clamp(min=0)
    query = positive(linear(attention.query, norm(attention.norm1, state)))
    key, value = positive(linear(attention.key, hidden)), linear(attention.value, hidden)
    heads = []
    for index in range(G):
        weight = [(head(query, index) * head(key, index)[n]).sum(dim=-1) for n in range(N)]
        weighted = [weight[n][..., None] * head(value, index)[n] for n in range(N)]
        heads.append(torch.stack(weighted).sum(dim=0) / torch.stack(weight).sum(dim=0)[..., None])
    x = state + linear(attention.out, torch.cat(heads, dim=-1))
    inner = gelu(linear(attention.ffn.lin1, norm(attention.norm2, x)))
    expected = x + linear(attention.ffn.lin2, inner)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_class_attention_is_the_sum_over_the_classes_of_a_patch(stir: Stir) -> None:
    attention = ClassAttention(C, D, G, ffn_ratio=2)
    stir(attention)
    state, text = draw(B, N, 2, 3, C), draw(1, N, D, seed=2)
    found = attention(state, text, attention.summarise([state], text, None))

    normed = norm(attention.norm1, state)
    told = linear(attention.from_text, text[0]).clamp(min=0)[:, None, None]
    joined = torch.cat([normed, told.expand_as(normed)], dim=-1)
    query, key = positive(linear(attention.query, joined)), positive(linear(attention.key, joined))
    value = linear(attention.value, normed)
    x = state.clone()
    for n in range(N):
        heads = []
        for index in range(G):
            weight = [
                (head(query, index)[:, n] * head(key, index)[:, m]).sum(dim=-1) for m in range(N)
            ]
            weighted = [weight[m][..., None] * head(value, index)[:, m] for m in range(N)]
            total = torch.stack(weight).sum(dim=0)[..., None]
            heads.append(torch.stack(weighted).sum(dim=0) / total)
        x[:, n] += linear(attention.out, torch.cat(heads, dim=-1))
    inner = gelu(linear(attention.ffn.lin1, norm(attention.norm2, x)))
    expected = x + linear(attention.ffn.lin2, inner)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("kind", [TextAttention, ClassAttention])
def test_ten_thousand_names_stay_finite_in_half_precision(
    kind: type[TextAttention] | type[ClassAttention], stir: Stir
) -> None:
    attention = kind(C, D, G, ffn_ratio=2)
    stir(attention)
    many = 10_000
    state, text = draw(1, many, 1, 1, C), 30 * draw(1, many, D, seed=2)
    some = slice(0, 4)

    def told() -> Tensor:
        return attention(
            state[:, some], text[:, some], attention.summarise([10 * state], 4 * text, None)
        )

    expected = told()
    with torch.autocast("cpu", torch.float16):
        found = told()
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0.05)


def fusion(language_attention: str, stir: Stir) -> Fusion:
    torch.manual_seed(0)
    module = Fusion(
        hidden_dim=C,
        appearance_dim=S,
        text_dim=D,
        num_heads=G,
        window=3,
        ffn_ratio=2,
        language_attention="classes" if language_attention == "classes" else "text",
    )
    stir(module)
    return module.eval()


@torch.no_grad()
@pytest.mark.parametrize("language_attention", ["text", "classes"])
@pytest.mark.parametrize("class_chunk", [1, 2, 3, 8])
def test_chunks_of_classes_change_nothing(
    stir: Stir, language_attention: str, class_chunk: int
) -> None:
    module = fusion(language_attention, stir)
    state, appearance, text = draw(B, N, 4, 5, C), draw(B, 4, 5, S, seed=2), draw(1, N, D, seed=3)
    whole = module(state, appearance, text)
    found = module(state, appearance, text, class_chunk)
    torch.testing.assert_close(found, whole, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("language_attention", ["text", "classes"])
def test_reordering_the_classes_reorders_their_states(stir: Stir, language_attention: str) -> None:
    module = fusion(language_attention, stir)
    state, appearance, text = draw(B, N, 4, 5, C), draw(B, 4, 5, S, seed=2), draw(1, N, D, seed=3)
    order = [2, 0, 1]
    torch.testing.assert_close(
        module(state[:, order], appearance, text[:, order]),
        module(state, appearance, text)[:, order],
        atol=1e-5,
        rtol=1e-5,
    )


@torch.no_grad()
def test_the_second_half_sees_across_the_windows_of_the_first(stir: Stir) -> None:
    module = fusion("text", stir)
    state, appearance, text = draw(1, 1, 6, 6, C), draw(1, 6, 6, S, seed=2), draw(1, 1, D, seed=3)
    moved = state.clone()
    moved[0, 0, 2, 2] += 1.0  # the last patch of the first 3 x 3 window
    change = (module(moved, appearance, text) - module(state, appearance, text)).abs().amax(dim=-1)
    # It reaches its window, then the shifted windows (rows 0, 1-3, 4-5) that overlap it.
    reached = change[0, 0] > 1e-6
    expected = torch.zeros(6, 6, dtype=torch.bool)
    expected[:4, :4] = True
    assert reached.equal(expected)
