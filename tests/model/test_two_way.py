"""The trick against the plain way; transformers' SamModel is the oracle in tests/parity."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from escnet.model.two_way import SharedPatches, TwoWayLayer, TwoWayTransformer

B, N, T, P, S, M, G = 2, 3, 4, 6, 16, 5, 4


@pytest.fixture
def shared_patches() -> SharedPatches:
    generator = torch.Generator().manual_seed(1)
    return SharedPatches(
        base=torch.randn(B, P, S, generator=generator),
        code=torch.randn(B, N, P, M, generator=generator),
        basis=torch.randn(S, M, generator=generator),
    )


@pytest.fixture
def position() -> Tensor:
    return torch.randn(P, S, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def token() -> Tensor:
    return torch.randn(B, N, T, S, generator=torch.Generator().manual_seed(3))


def own_patches(patches: SharedPatches) -> Tensor:
    """Every class's patches, built in full."""
    assert patches.code is not None
    assert patches.basis is not None
    return patches.base[:, None] + patches.code @ patches.basis.T


@pytest.fixture
def layer(request: pytest.FixtureRequest, stir: Callable[[nn.Module], None]) -> TwoWayLayer:
    torch.manual_seed(0)
    layer = TwoWayLayer(S, G, 32, starts_afresh=request.param == "first")
    stir(layer)
    return layer.eval()


@torch.no_grad()
@pytest.mark.parametrize("layer", ["first", "second"], indirect=True)
def test_shared_projections_give_what_each_class_alone_gives(
    layer: TwoWayLayer, shared_patches: SharedPatches, position: Tensor, token: Tensor
) -> None:
    shared = layer.share(shared_patches.base, position)
    found = layer.forward_shared(shared_patches, shared, token)
    expected = layer(own_patches(shared_patches), layer.place(position), token, token)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("layer", ["first", "second"], indirect=True)
def test_without_a_mask_all_classes_share_the_patches(
    layer: TwoWayLayer, shared_patches: SharedPatches, position: Tensor, token: Tensor
) -> None:
    bare = SharedPatches(shared_patches.base, None, None)
    found = layer.forward_shared(bare, layer.share(bare.base, position), token)
    image = bare.base[:, None].expand(B, N, P, S)
    for ours, theirs in zip(found, layer(image, layer.place(position), token, token), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("layer", ["first", "second"], indirect=True)
def test_a_layer_is_its_formula_written_out(
    layer: TwoWayLayer, position: Tensor, token: Tensor, shared_patches: SharedPatches
) -> None:
    image = own_patches(shared_patches)
    updated = token + 1
    found_token, found_image = layer(image, layer.place(position), updated, token)
    for b in range(B):
        for n in range(N):
            x, patches = written_out(layer, image[b, n], position, updated[b, n], token[b, n])
            torch.testing.assert_close(found_token[b, n], x, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(found_image[b, n], patches, atol=1e-5, rtol=1e-5)


def written_out(
    layer: TwoWayLayer, image: Tensor, position: Tensor, x: Tensor, token: Tensor
) -> tuple[Tensor, Tensor]:
    """SAM's two-way layer for one class, with torch's own attention."""
    if layer.starts_afresh:
        x = layer.norm1(attention(layer.self_attn, x, x, x))
    else:
        x = layer.norm1(x + attention(layer.self_attn, x + token, x + token, x))
    read = layer.cross_attn_token_to_image
    x = layer.norm2(x + attention(read, x + token, image + position, image))
    x = layer.norm3(x + layer.mlp.lin2(layer.mlp.lin1(x).clamp(min=0)))
    write = layer.cross_attn_image_to_token
    return x, layer.norm4(image + attention(write, image + position, x + token, x))


def attention(maps: nn.Module, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    state = maps.state_dict()

    def project(x: Tensor, name: str) -> Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    query, key, value = project(query, "q_proj"), project(key, "k_proj"), project(value, "v_proj")
    heads = []
    for own in range(G):
        width = query.shape[1] // G
        cut = slice(own * width, (own + 1) * width)
        score = query[:, cut] @ key[:, cut].T / width**0.5
        heads.append(torch.softmax(score, dim=1) @ value[:, cut])
    return project(torch.cat(heads, dim=1), "out_proj")


@torch.no_grad()
def test_the_transformer_is_its_layers_one_after_the_other(
    stir: Callable[[nn.Module], None],
    shared_patches: SharedPatches,
    position: Tensor,
    token: Tensor,
) -> None:
    torch.manual_seed(0)
    two_way = TwoWayTransformer(width=S, num_heads=G, mlp_width=32)
    stir(two_way)
    found = two_way(shared_patches, two_way.share(shared_patches.base, position), token)
    image, x = own_patches(shared_patches), token
    for layer in two_way.layers.values():
        assert isinstance(layer, TwoWayLayer)
        x, image = layer(image, layer.place(position), x, token)
    torch.testing.assert_close(found.image, image, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.token, x, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_order_of_the_tokens_changes_no_patch(
    shared_patches: SharedPatches, position: Tensor, token: Tensor
) -> None:
    torch.manual_seed(0)
    two_way = TwoWayTransformer(width=S, num_heads=G, mlp_width=32)
    shared = two_way.share(shared_patches.base, position)
    found = two_way(shared_patches, shared, token.flip(2))
    expected = two_way(shared_patches, shared, token)
    torch.testing.assert_close(found.image, expected.image)
    torch.testing.assert_close(found.token.flip(2), expected.token)


def test_only_the_first_of_sams_layers_starts_afresh() -> None:
    for layers, expected in (((0, 1), [True, False]), ((0,), [True]), ((1,), [False])):
        two_way = TwoWayTransformer(width=S, num_heads=G, mlp_width=8, layers=layers)
        assert [layer.starts_afresh for layer in two_way.layers.values()] == expected
        assert list(two_way.layers) == [str(index) for index in layers]
