import numpy as np
import torch

from escnet.training.pasting import with_things_of
from escnet.training.random_view import View

WALL, CAT, DOG = 3, 7, 9
NAMES = np.array([WALL, CAT, DOG])


def view(colour: float, labels: np.ndarray) -> View:
    """A view of one colour, its picture twice as fine as its label map."""
    return View(torch.full((3, 16, 16), colour), labels)


def giver() -> View:
    labels = np.full((8, 8), WALL)
    labels[1:3, 2:5] = CAT
    labels[6, 6] = DOG
    return view(1.0, labels)


def taker() -> View:
    return view(0.0, np.full((8, 8), 254))


def test_pixels_and_labels_of_a_thing_move_together_and_the_rest_stays() -> None:
    seen = set()
    for seed in range(20):
        image, labels = with_things_of(giver(), taker(), NAMES, np.random.default_rng(seed))
        is_pasted = labels != 254
        assert (labels[is_pasted] == giver().labels[is_pasted]).all()
        fine = is_pasted.repeat(2, axis=0).repeat(2, axis=1)
        np.testing.assert_array_equal(image.numpy(), np.broadcast_to(fine, (3, 16, 16)))
        seen.add(frozenset(np.unique(labels[is_pasted]).tolist()))
    # The wall covers more than three tenths and would hide the taker.
    assert seen == {frozenset({CAT}), frozenset({DOG}), frozenset({CAT, DOG})}


def test_only_names_that_the_source_annotates_are_taken() -> None:
    random = np.random.default_rng(0)
    for _ in range(10):
        labels = with_things_of(giver(), taker(), np.array([DOG]), random).labels
        assert set(np.unique(labels)) == {254, DOG}


def test_a_giver_without_a_small_thing_gives_nothing() -> None:
    plain = view(1.0, np.full((8, 8), WALL))
    before = taker()
    assert with_things_of(plain, before, NAMES, np.random.default_rng(0)) is before
