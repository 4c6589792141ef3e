"""The scores of benchmarks/sam_prompts.py, which are counted for all thresholds at once."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield import_module("sam_prompts")
    sys.modules.pop("sam_prompts")


def band(mask: np.ndarray, distance: int) -> np.ndarray:
    """The pixels of a mask with one outside it, or beyond the picture, that near."""
    padded = np.pad(mask, distance)
    found = np.zeros_like(mask)
    for y, x in zip(*np.nonzero(mask), strict=True):
        found[y, x] = not padded[y : y + 2 * distance + 1, x : x + 2 * distance + 1].all()
    return found


def share(one: np.ndarray, other: np.ndarray) -> float:
    union = (one | other).sum()
    return (one & other).sum() / union if union else 1.0


@pytest.mark.parametrize("seed", range(3))
def test_scores_of_all_thresholds_are_those_of_each(benchmark: Any, seed: int) -> None:
    torch.manual_seed(seed)
    coarse = torch.rand(2, 1, 5, 6)
    value, truth = torch.nn.functional.interpolate(coarse, (30, 40), mode="bilinear")[:, 0]
    value[:10] = (20 * value[:10]).round() / 20  # some just reach a threshold
    target, valid = truth > 0.5, torch.rand(30, 40) > 0.02
    found = benchmark.at_thresholds(value, target, valid, 2)
    wanted = (target & valid).numpy()
    for at, threshold in enumerate(benchmark.THRESHOLDS):
        mask = ((value >= threshold) & valid).numpy()
        assert found.iou[at] == pytest.approx(share(mask, wanted))
        assert found.boundary[at] == pytest.approx(share(band(mask, 2), band(wanted, 2)))


def test_without_noise_a_map_is_the_blurred_truth(benchmark: Any) -> None:
    mask = torch.zeros(1, 1, 48, 48)
    mask[..., 20:28, 20:28] = 1
    coarse = benchmark.noisy_map(mask, 0.0, seed="x")
    assert coarse.shape == (24, 24)
    assert int(coarse.argmax()) in {11 * 24 + 11, 11 * 24 + 12, 12 * 24 + 11, 12 * 24 + 12}
    torch.testing.assert_close(coarse, coarse.flip(0).flip(1))
    noise = benchmark.noisy_map(mask, 0.5, seed="x") - coarse
    assert float(noise.std()) == pytest.approx(0.5, rel=1e-4)
    assert torch.equal(noise, benchmark.noisy_map(mask, 0.5, seed="x") - coarse)
