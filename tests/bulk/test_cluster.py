from typing import Any

import pytest

from escnet.bulk.cluster import Workforce, _crew, answers_of, ray_cluster
from escnet.errors import ConfigError
from tests.bulk.workers import DyingTask


@pytest.mark.parametrize(
    ("resources", "asked", "expected"),
    [
        ({"CPU": 8.0}, {}, (8, 1, 0)),
        ({"CPU": 8.0}, {"threads": 3}, (2, 3, 0)),
        ({"CPU": 8.0}, {"workers": 2}, (2, 4, 0)),
        ({"CPU": 2.0}, {"workers": 5}, (5, 1, 0)),
        ({"CPU": 8.0, "GPU": 2.0}, {}, (2, 4, 1)),
        ({"CPU": 8.0, "GPU": 2.0}, {"uses_gpu": False, "workers": 4}, (4, 2, 0)),
    ],
)
def test_workers_fill_the_processors_or_have_a_gpu_each(
    resources: dict[str, float], asked: dict[str, Any], expected: tuple[int, int, int]
) -> None:
    assert _crew(resources, Workforce(**asked)) == expected


@pytest.mark.parametrize(
    ("resources", "asked", "said"),
    [
        ({"CPU": 8.0, "GPU": 2.0}, {"workers": 3}, "--workers 3 are more than the cluster's 2 GPU"),
        ({"CPU": 2.0}, {"threads": 4, "address": "auto"}, "4 threads does not fit"),
    ],
)
def test_workers_that_a_cluster_has_no_room_for_are_refused(
    resources: dict[str, float], asked: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        _crew(resources, Workforce(**asked))


def test_a_worker_that_is_killed_gets_its_part_again(ray: object) -> None:
    del ray
    with ray_cluster(Workforce()) as crew:
        answers = dict(answers_of(["a", "deadly once", "b", "c"], DyingTask(), crew))
    assert answers == {0: ("a", 1), 1: ("deadly once", 1), 2: ("b", 1), 3: ("c", 1)}


def test_a_part_that_kills_each_worker_is_given_up_and_the_others_go_on(ray: object) -> None:
    del ray
    with ray_cluster(Workforce()) as crew:
        answers = list(answers_of(["deadly", "a", "b"], DyingTask(), crew))
    assert sorted(answers) == [(0, None), (1, ("a", 1)), (2, ("b", 1))]
    assert answers[-1] == (0, None)


def test_an_error_of_a_worker_is_raised_where_the_job_was_started(ray: object) -> None:
    del ray
    with ray_cluster(Workforce()) as crew, pytest.raises(ZeroDivisionError, match="a bug of ours"):
        list(answers_of(["a", "wrong"], DyingTask(), crew))
