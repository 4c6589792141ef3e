"""The vector that tells patches inside of masks from those outside."""

import numpy as np
import pytest

from escnet.teaching.vectors import taught_vector


def directions(seed: int, count: int, width: int = 12) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=(count, width))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_patches_inside_lie_near_it_and_those_outside_do_not() -> None:
    kind, other, text = directions(0, 3)
    noise = 0.1 * directions(1, 40)
    patch = np.concatenate([kind + noise[:20], other + noise[20:]])
    inside = np.repeat([1.0, 0.0], 20)
    vector = taught_vector(patch, inside, 1 - inside, text)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
    unit = patch / np.linalg.norm(patch, axis=1, keepdims=True)
    cosine = unit @ vector
    assert cosine[:20].min() > 0.4
    assert cosine[20:].max() < 0.1


def test_a_patch_counts_on_both_sides_by_its_shares_and_not_where_nobody_labelled() -> None:
    patch, text = directions(2, 4), directions(3, 1)[0]
    inside, outside = np.array([0.5, 0.2, 0, 0]), np.array([0.5, 0.3, 1, 0])
    found = taught_vector(patch, inside, outside, text)
    twice = np.concatenate([patch, patch])  # each side by itself
    nothing = np.zeros(4)
    expected = taught_vector(
        twice, np.concatenate([inside, nothing]), np.concatenate([nothing, outside]), text
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)
    patch[3] = directions(4, 1)[0]  # neither inside nor outside
    np.testing.assert_allclose(taught_vector(patch, inside, outside, text), found, atol=1e-6)


def test_lengths_do_not_count() -> None:
    patch, text = directions(5, 6), directions(6, 1)[0]
    inside = np.array([1, 1, 0, 0, 0, 0.5])
    found = taught_vector(patch, inside, 1 - inside, text)
    stretched = patch * np.arange(1, 7)[:, None]
    np.testing.assert_allclose(
        taught_vector(stretched, inside, 1 - inside, 9 * text), found, atol=1e-6
    )


def test_without_any_patch_outside_it_lies_between_text_and_patches() -> None:
    kind, text = directions(7, 2)
    vector = taught_vector(kind[None].repeat(3, 0), np.ones(3), np.zeros(3), text)
    assert vector @ kind > text @ kind
    assert vector @ text > kind @ text
