import math
from itertools import pairwise

import pytest

from escnet.training.stage import average_decay, cosine_share


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (0, 2e-4),
        (20_000, 2e-4 * (1 + math.sqrt(0.5)) / 2),
        (40_000, 1e-4),
        (60_000, 2e-4 * (1 - math.sqrt(0.5)) / 2),
        (80_000, 0.0),
    ],
)
def test_the_papers_rate_falls_in_half_a_cosine_over_its_steps(step: int, rate: float) -> None:
    assert 2e-4 * cosine_share(step / 80_000, 0.0) == pytest.approx(rate, abs=1e-12)


def test_the_rate_never_jumps_and_peaks_once() -> None:
    shares = [cosine_share(place / 1000, 0.2) for place in range(1001)]
    steps = [after - before for before, after in pairwise(shares)]
    assert shares.index(max(shares)) == 200
    assert max(shares) == 1.0
    assert all(step > 0 for step in steps[:200])
    assert all(step < 0 for step in steps[200:])
    assert max(map(abs, steps)) < 0.006  # the rise in a line, 1 in 200 steps
    assert shares[0] > 0  # also the first step trains
    assert shares[-1] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("decay", "step", "expected"),
    [
        (0.995, 0, 1 / 10),
        (0.995, 1, 2 / 11),
        (0.995, 8, 1 / 2),
        (0.995, 1789, 1790 / 1799),
        (0.995, 10_000, 0.995),
        (0.3, 5, 0.3),
        (0.0, 7, 0.0),  # no mean: the weights themselves
    ],
)
def test_the_mean_forgets_its_start_quickly_and_then_slowly(
    decay: float, step: int, expected: float
) -> None:
    assert average_decay(decay, step) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("place", "warmup", "share"),
    [
        (0.0, 0.0, 1.0),  # without a warm-up it starts at the peak
        (0.5, 0.0, 0.5),
        (1.0, 0.0, 0.0),
        (0.0, 0.1, 0.001 / 0.101),
        (0.05, 0.1, 0.051 / 0.101),
        (0.1, 0.1, 1.0),
        (0.325, 0.1, 0.5 * (1 + math.sqrt(0.5))),  # a quarter of the way down
        (1.0, 0.1, 0.0),
    ],
)
def test_the_rate_goes_up_in_a_line_and_down_in_half_a_cosine(
    place: float, warmup: float, share: float
) -> None:
    assert cosine_share(place, warmup) == pytest.approx(share)
