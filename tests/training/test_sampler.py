import pickle
from collections import Counter

import numpy as np
import pytest

from escnet.training.sampler import Sampler


def test_every_picture_is_shown_once_before_any_is_shown_again() -> None:
    sampler = Sampler([7], [1.0], seed=3)
    rows = [sampler.place_of(number).row for number in range(70)]
    turns = [rows[start : start + 7] for start in range(0, 70, 7)]
    assert all(sorted(turn) == list(range(7)) for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 5  # in another order each time


def test_sources_have_their_shares_and_each_is_walked_through() -> None:
    sampler = Sampler([10, 400], [3.0, 1.0], seed=0)
    places = [sampler.place_of(number) for number in range(2000)]
    assert Counter(place.source for place in places) == {0: 1500, 1: 500}
    assert 60 < sum(place.source == 0 for place in places[:100]) < 90  # mixed, not one by one
    small = [place.row for place in places if place.source == 0]
    assert set(Counter(small).values()) == {150}
    large = [place.row for place in places if place.source == 1]
    assert sorted(large[:400]) == list(range(400))
    assert len(set(large[400:])) == 100


def test_the_number_alone_says_which_picture_it_is() -> None:
    series = [Sampler([5, 9], [1.0, 2.0], seed=1).place_of(n) for n in range(1500)]
    sampler = Sampler([5, 9], [1.0, 2.0], seed=1)
    assert [sampler.place_of(n) for n in reversed(range(1500))] == series[::-1]
    sent = pickle.loads(pickle.dumps(sampler))  # noqa: S301 -- as to a worker
    assert [sent.place_of(n) for n in range(1500)] == series
    other = Sampler([5, 9], [1.0, 2.0], seed=2)
    assert [other.place_of(n) for n in range(50)] != series[:50]


def test_a_broken_picture_is_replaced_by_others_of_its_source() -> None:
    sampler = Sampler([5, 9], [1.0, 2.0], seed=1)
    for number in range(30):
        tries = [sampler.place_of(number, attempt) for attempt in range(3)]
        assert len({place.source for place in tries}) == 1
        assert len({place.row for place in tries}) == 3


def test_the_smallest_source_has_one_picture_in_a_thousand() -> None:
    sampler = Sampler([5, 9, 1], [1.0, 0.5, 1e-6], seed=1)
    shown = Counter(sampler.place_of(number).source for number in range(1000))
    assert shown == {0: 666, 1: 333, 2: 1}


def test_a_source_without_a_weight_is_never_drawn() -> None:
    sampler = Sampler([5, 9], [0.0, 2.0], seed=1)
    assert {sampler.place_of(number).source for number in range(2000)} == {1}


@pytest.mark.parametrize("seed", range(5))
def test_pictures_come_as_often_as_they_are_worth_in_turns_of_the_same_length(seed: int) -> None:
    worth = np.array([0.1, 2.5, 0.4, 1.0])
    sampler = Sampler([4], [1.0], seed, worth=[worth])
    rows = [sampler.place_of(number).row for number in range(4 * 500)]
    count = Counter(rows)
    assert [count[row] / 500 for row in range(4)] == pytest.approx(worth.tolist(), abs=0.08)
    for start in range(0, len(rows), 4):  # rounded up or down, never further
        assert set(range(2, 4)) >= {rows[start : start + 4].count(1)}
    sent = pickle.loads(pickle.dumps(sampler))  # noqa: S301 -- as to a worker
    assert [sent.place_of(number).row for number in range(40)] == rows[:40]
