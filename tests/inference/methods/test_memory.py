import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from escnet.inference.methods.memory import class_chunk
from escnet.model.config import EscNetConfig, preset
from escnet.model.escnet import EscNet
from escnet.towers.patches import Patches


class LivingBytes(TorchDispatchMode):
    """Counts the bytes of all tensors made inside that live at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._living: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else [result]:
            if isinstance(value, Tensor):
                self._count(value.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._living:
            self._living.add(key)
            self.now += size
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._living.discard(key)
        self.now -= size


def config(**settings: Any) -> EscNetConfig:
    return EscNetConfig.from_dict({**preset("tiny").to_dict(), **settings})


def peak_bytes(network: EscNet, num_names: int, chunk: int) -> int:
    grid = network.config.grid_size
    patches = Patches(
        torch.randn(1, 16, grid, grid), (torch.randn(1, 32, grid, grid), torch.randn(1, 32, 1, 1))
    )
    with torch.no_grad(), LivingBytes() as living:
        network.segment(patches, torch.randn(num_names, 16), chunk)
    return living.most


@pytest.mark.parametrize(
    "settings",
    [
        {},  # the decoder is the widest place
        {"hidden_dim": 64},  # the fusion
        {"sam_dim": 128, "regions_per_class": 4},  # the SAM block
        {"sam_dim": 128, "sam_masks": True},  # its masks
    ],
)
def test_a_class_more_costs_at_most_twice_its_estimate_and_at_least_a_quarter(
    settings: dict[str, Any],
) -> None:
    network = EscNet(config(image_size=128, num_blocks=1, **settings)).eval()
    cost = (peak_bytes(network, 24, 12) - peak_bytes(network, 24, 4)) / 8
    assert 0.25 < cost / network.config.bytes_per_class < 2


def test_at_least_one_class_is_worked_on_however_small_the_budget() -> None:
    assert [class_chunk(preset("vit-l-14"), budget=budget) for budget in (0, 1, -1)] == [1, 1, 1]


def test_the_chunk_is_what_fits_into_the_budget() -> None:
    settings = preset("vit-b-16")
    one = settings.bytes_per_class
    assert class_chunk(settings, budget=3 * one) == 3
    assert class_chunk(settings, budget=3 * one - 1) == 2
    assert class_chunk(settings, budget=6 * one, num_pictures=2) == 3


def test_the_chunk_never_grows_when_the_budget_shrinks() -> None:
    chunks = [class_chunk(preset("vit-b-16"), budget=2**power) for power in range(20, 40)]
    assert chunks == sorted(chunks)
    assert chunks[0] == 1
    assert chunks[-1] > 1


def test_a_finer_grid_or_a_wider_state_costs_more() -> None:
    plain = config().bytes_per_class
    assert config(image_size=64).bytes_per_class == 4 * plain
    assert config(hidden_dim=128).bytes_per_class > plain
    assert config(sam_dim=512).bytes_per_class > plain
    assert config(sam_dim=512, sam_masks=True).bytes_per_class > config(sam_dim=512).bytes_per_class
