import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from escnet.model.prompt_encoder import ChannelNorm, FourierPosition, PromptEncoder

S = 8


@pytest.fixture
def encoder(stir: Callable[[nn.Module], None]) -> PromptEncoder:
    torch.manual_seed(0)
    encoder = PromptEncoder(S)
    stir(encoder)
    return encoder.eval()


def test_the_fourier_code_of_a_place_computed_by_hand() -> None:
    position = FourierPosition(2)
    position.positional_encoding_gaussian_matrix = torch.tensor([[1.0, 0.0], [0.0, 0.5]])
    x, y = 0.625, 0.75  # -1 to 1: 0.25 and 0.5
    phases = (2 * math.pi * 0.25, 2 * math.pi * 0.25)
    expected = [*map(math.sin, phases), *map(math.cos, phases)]
    torch.testing.assert_close(position(torch.tensor([x, y])), torch.tensor(expected))


def test_the_middle_of_the_picture_has_no_phase() -> None:
    code = FourierPosition(3)(torch.tensor([0.5, 0.5]))
    assert code.tolist() == [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]


@torch.no_grad()
def test_an_invalid_point_is_not_a_point(encoder: PromptEncoder) -> None:
    point = torch.rand(2, 3, 2, generator=torch.Generator().manual_seed(0))
    is_valid = torch.tensor([[True, False, True], [False, True, True]])
    code = encoder.encode_points(point, is_valid)
    assert code.shape == (2, 3, S)
    assert code[~is_valid].eq(encoder.not_a_point_embed.weight).all()
    positive = encoder.state_dict()["point_embeddings.1.weight"]
    torch.testing.assert_close(code[is_valid], encoder.pe_layer(point[is_valid]) + positive)


@torch.no_grad()
def test_a_box_is_its_two_corners_each_of_its_kind(encoder: PromptEncoder) -> None:
    box = torch.tensor([[0.1, 0.2, 0.6, 0.9], [0.0, 0.0, 0.0, 0.0]])
    code = encoder.encode_boxes(box, torch.tensor([True, False]))
    first = encoder.pe_layer(box[0, :2]) + encoder.state_dict()["point_embeddings.2.weight"][0]
    second = encoder.pe_layer(box[0, 2:]) + encoder.state_dict()["point_embeddings.3.weight"][0]
    nothing = encoder.not_a_point_embed.weight[0]
    torch.testing.assert_close(code, torch.stack([first, second, nothing, nothing]))


@torch.no_grad()
def test_the_grids_code_is_that_of_the_patch_centres(encoder: PromptEncoder) -> None:
    found = encoder.image_position(2, 3)
    centres = [((x + 0.5) / 3, (y + 0.5) / 2) for y in range(2) for x in range(3)]
    torch.testing.assert_close(found, encoder.pe_layer(torch.tensor(centres)))


@torch.no_grad()
def test_code_times_basis_plus_offset_is_the_whole_mask_path(encoder: PromptEncoder) -> None:
    mask = torch.randn(5, 12, 20, generator=torch.Generator().manual_seed(0))
    embedding = encoder.encode_masks(mask)
    whole = encoder.mask_downscaling(mask[:, None]).flatten(2).transpose(1, 2)
    assert embedding.code.shape == (5, 15, 16)
    torch.testing.assert_close(embedding.code @ embedding.basis.T + embedding.offset, whole)


def test_without_a_mask_every_patch_gets_sams_no_mask(encoder: PromptEncoder) -> None:
    assert encoder.no_mask().equal(encoder.no_mask_embed.weight[0])
    assert encoder.padding_token().equal(encoder.not_a_point_embed.weight)


def test_the_channel_norm_standardises_each_place(stir: Callable[[nn.Module], None]) -> None:
    norm = ChannelNorm(6)
    stir(norm)
    x = torch.randn(2, 6, 3, 4, generator=torch.Generator().manual_seed(0))
    mean, variance = x.mean(dim=1, keepdim=True), x.var(dim=1, keepdim=True, unbiased=False)
    scale, shift = norm.weight[:, None, None], norm.bias[:, None, None]
    torch.testing.assert_close(norm(x), (x - mean) / (variance + 1e-6).sqrt() * scale + shift)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_place_keeps_its_phase_under_autocast(encoder: PromptEncoder, dtype: torch.dtype) -> None:
    place: Tensor = torch.rand(50, 2, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype):
        found = encoder.pe_layer(place)
    assert found.equal(encoder.pe_layer(place))
