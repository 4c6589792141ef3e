from collections.abc import Callable

import numpy as np

from escnet.inference.label_maps.rest import Rest
from escnet.video.smoothing import Seen, Smoothing

SIDE = 96


def textured(shift: int = 0, seed: int = 0) -> np.ndarray:
    """A smooth random picture, moved to the right."""
    noise = np.random.default_rng(seed).normal(size=(SIDE, SIDE + 40))
    for axis in (0, 1):
        for _ in range(3):
            noise = (np.roll(noise, 1, axis) + noise + np.roll(noise, -1, axis)) / 3
    grey = 128 + 60 * noise / noise.std()
    window = grey[:, 20 - shift : 20 - shift + SIDE].clip(0, 255).astype(np.uint8)
    return window[..., None].repeat(3, axis=2)


def says(logits: np.ndarray, rest: Rest | None = None) -> Callable[[Rest | None], Seen]:
    return lambda known: (logits, known or rest)


def step_at(column: int) -> np.ndarray:
    """Two labels, with the border between them in this column of 24."""
    logits = np.full((2, 24, 24), -4.0, np.float32)
    logits[0, :, :column] = logits[1, :, column:] = 4
    return logits


def test_a_still_picture_averages_what_the_model_wavers_between() -> None:
    smoothing = Smoothing(0.8)
    smoothing.step(textured(), says(step_at(12)))
    wavering = step_at(12)
    wavering[:, 5:8, 5:8] = wavering[::-1, 5:8, 5:8] / 2
    seen = smoothing.step(textured(), says(wavering))
    assert np.array_equal(seen.logits.argmax(0), step_at(12).argmax(0))


def test_what_moves_is_carried_along_between_key_frames() -> None:
    smoothing = Smoothing(0.5, keyframes=3)
    assert smoothing.step(textured(0), says(step_at(12))).is_key
    for shift in (4, 8):  # of the picture; a fourth of it on the grid

        def refuse(_: Rest | None) -> Seen:
            raise AssertionError("the model was asked")

        seen = smoothing.step(textured(shift), refuse)
    assert not seen.is_key
    moved = step_at(14).argmax(0)
    assert (seen.logits.argmax(0) == moved)[:, 4:].mean() > 0.97
    assert smoothing.step(textured(8), says(step_at(14))).is_key


def test_a_cut_forgets_what_was_before() -> None:
    smoothing = Smoothing(0.9, keyframes=10)
    smoothing.step(textured(), says(step_at(4), Rest(0.1)))
    seen = smoothing.step(textured(seed=1), says(step_at(20), Rest(0.7)))
    assert (seen.is_cut, seen.is_key, seen.rest) == (True, True, Rest(0.7))
    assert np.array_equal(seen.logits, step_at(20))


def test_the_rule_for_the_rest_holds_until_the_next_cut() -> None:
    smoothing = Smoothing(0.5)
    smoothing.step(textured(), says(step_at(4), Rest(0.1)))
    assert smoothing.step(textured(1), says(step_at(4), Rest(0.7))).rest == Rest(0.1)


def test_where_pictures_disagree_the_old_has_no_say() -> None:
    smoothing = Smoothing(0.95)
    smoothing.step(textured(), says(step_at(24)))
    changed = textured()
    changed[32:64, 32:64] = 255 - textured(seed=2)[32:64, 32:64]
    seen = smoothing.step(changed, says(step_at(0)))
    assert (seen.logits.argmax(0)[10:14, 10:14] == 1).all()
    assert (seen.logits.argmax(0)[:6, :6] == 0).all()
