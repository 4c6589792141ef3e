from collections.abc import Callable

import torch
from torch import Tensor, nn

from escnet.catseg.decoder import CatSegDecoder, GrowingStage


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_a_stage_is_a_convolution_over_what_grew_and_the_skip(
    stir: Callable[[nn.Module], None],
) -> None:
    torch.manual_seed(0)
    stage = GrowingStage(8, 5, 6, 2, 16, factor=2).eval()
    stir(stage)
    x, skip = draw(3, 8, 4, 4), draw(1, 5, 4, 4, seed=1)
    with torch.inference_mode():
        projected = stage.project(stage.grow_skip(skip)).relu()
        joined = torch.cat([stage.grow(x), projected.expand(3, -1, -1, -1)], dim=1)
        y = stage.norm1(stage.conv1(joined)).relu()
        expected = stage.norm2(stage.conv2(y)).relu()
        found = stage(x, stage.share(skip))
    torch.testing.assert_close(found, expected)
    assert (found.shape, stage.norm1.num_groups) == ((3, 16, 8, 8), 1)


def test_each_map_of_the_tower_goes_to_its_own_stage(stir: Callable[[nn.Module], None]) -> None:
    torch.manual_seed(0)
    decoder = CatSegDecoder(
        hidden_dim=8, tower_dim=5, skip_channels=(6, 7), skip_dims=(2, 3), dims=(16, 16)
    ).eval()
    stir(decoder)
    state, first, second = draw(2, 3, 4, 4, 8), draw(2, 5, 4, 4, seed=1), draw(2, 5, 4, 4, seed=2)
    with torch.inference_mode():
        found = decoder(state, (first, second))
        swapped = decoder(state, (second, first))
        chunked = decoder(state, (first, second), class_chunk=2)
    assert found.shape == (2, 3, 16, 16)
    torch.testing.assert_close(chunked, found)
    assert not torch.allclose(swapped, found, atol=1e-3)
