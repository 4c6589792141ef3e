from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from escnet.catseg.aggregation import ClassAggregation, GuidedWindows

Stir = Callable[[nn.Module], None]
C, A = 8, 4


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def windows(stir: Stir, window: int, shift: int) -> GuidedWindows:
    torch.manual_seed(0)
    module = GuidedWindows(C, A, 2, window, shift, 2)
    stir(module)
    return module.eval()


def classes(stir: Stir, *, pooling: int = 1, pad_to: int = 0) -> ClassAggregation:
    torch.manual_seed(0)
    module = ClassAggregation(C, A, 2, 2, pooling=(pooling, 2), pad_to=pad_to)
    stir(module)
    return module.eval()


def told(module: ClassAggregation, state: Tensor, text: Tensor) -> Tensor:
    with torch.inference_mode():
        found: Tensor = module(state, text, module.summarise([state], [text]))
    return found


def reach(module: GuidedWindows, row: int, column: int) -> list[list[int]]:
    """Which patches of a 4 x 4 grid change when one changes."""
    state, guidance = draw(1, 1, 4, 4, C), draw(1, 4, 4, A, seed=1)
    moved = state.clone()
    moved[0, 0, row, column] += draw(C, seed=2)
    with torch.inference_mode():
        shared = module.share(guidance)
        difference = (module(moved, shared) - module(state, shared)).abs().amax(dim=-1)
    return (difference[0, 0] > 0).int().tolist()


def test_a_patch_reaches_its_window(stir: Stir) -> None:
    assert reach(windows(stir, 2, 0), 0, 1) == [
        [1, 1, 0, 0],
        [1, 1, 0, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
    ]


def test_a_shifted_window_does_not_reach_around_the_edge(stir: Stir) -> None:
    assert reach(windows(stir, 2, 1), 0, 1) == [
        [0, 1, 1, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
    ]


def test_a_window_as_large_as_the_grid_is_not_shifted(stir: Stir) -> None:
    assert reach(windows(stir, 4, 2), 0, 0) == [[1] * 4] * 4


def test_guidance_is_in_queries_and_keys_but_not_in_values(stir: Stir) -> None:
    module = windows(stir, 2, 0)
    state = draw(1, 1, 1, 1, C).expand(1, 1, 4, 4, C)  # so that it does not matter where one looks
    with torch.inference_mode():
        first, second = (module(state, module.share(draw(1, 4, 4, A, seed=s))) for s in (1, 2))
    torch.testing.assert_close(first, second)
    state = draw(1, 1, 4, 4, C)
    with torch.inference_mode():
        first, second = (module(state, module.share(draw(1, 4, 4, A, seed=s))) for s in (1, 2))
    assert not torch.allclose(first, second, atol=1e-4)


@pytest.mark.parametrize("missing", [1, 3])
def test_missing_classes_are_as_if_the_learned_one_were_there(stir: Stir, missing: int) -> None:
    module, bare = classes(stir, pad_to=2 + missing), classes(stir)
    bare.load_state_dict(
        {name: value for name, value in module.state_dict().items() if "padding" not in name}
    )
    state, text = draw(1, 2, 4, 4, C), draw(1, 2, A, seed=1)
    extra = module.padding_state.expand(1, missing, 4, 4, C)
    full = torch.cat([state, extra], dim=1)
    texts = torch.cat([text, module.padding_text.expand(1, missing, A)], dim=1)
    torch.testing.assert_close(told(module, state, text), told(bare, full, texts)[:, :2])
    assert not torch.allclose(told(module, state, text), told(bare, state, text), atol=1e-4)


def test_pooled_maps_come_back_with_their_corners_aligned(stir: Stir) -> None:
    module = classes(stir, pooling=2)
    state, text = draw(1, 3, 4, 4, C), draw(1, 3, A, seed=1)
    pooled = F.avg_pool2d(state[0].permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)[None]
    fine = classes(stir)
    corner = told(fine, pooled, text) - pooled  # the residual of the fine map is on top of x
    found = told(module, state, text) - state
    for here, there in (((0, 0), (0, 0)), ((3, 0), (1, 0)), ((3, 3), (1, 1))):
        torch.testing.assert_close(found[0, :, *here], corner[0, :, *there])


def test_training_pools_as_its_own_setting_says(stir: Stir) -> None:
    state, text = draw(1, 3, 4, 4, C), draw(1, 3, A, seed=1)
    pooled = told(classes(stir, pooling=2), state, text)
    module = classes(stir)
    assert not torch.allclose(told(module, state, text), pooled, atol=1e-4)
    torch.testing.assert_close(told(module.train(), state, text), pooled)


def test_many_classes_with_large_keys_stay_within_float16(stir: Stir) -> None:
    module = classes(stir)
    with torch.no_grad():
        for linear in (module.query, module.key):
            linear.bias.add_(10.0)  # a sum over the classes would pass 65,504
    state, text = draw(1, 300, 2, 2, C), draw(1, 300, A, seed=1)
    expected = told(module, state, text)
    with torch.autocast("cpu", torch.float16):
        found = told(module, state.half(), text.half())
    torch.testing.assert_close(found.float(), expected, rtol=0.02, atol=0.05)
