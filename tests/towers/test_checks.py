"""Values of the wrong type, as a damaged or hand-written config.json has them."""

from typing import Any

import pytest

from escnet.errors import ConfigError
from escnet.towers.checks import check_pair, check_taps, check_template, check_whole_numbers


@pytest.mark.parametrize("value", [384.0, 1.5, "3", None, True, [2]])
def test_what_is_no_whole_number_is_refused_by_name(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"window .* is no whole number: give one from 1 on"):
        check_whole_numbers({"num_blocks": 2, "window": value})


def test_the_least_number_passes() -> None:
    check_whole_numbers({"max_classes": 0}, least=0)
    check_whole_numbers({"num_blocks": 1})


@pytest.mark.parametrize("values", [(), (4,), (4, 4, 4), (4, 0), (4, 2.0)])
def test_what_is_not_one_size_for_each_stage_is_refused(values: Any) -> None:
    with pytest.raises(ConfigError, match=r"^skip_dims"):
        check_pair("skip_dims", values)


@pytest.mark.parametrize("taps", [(), (0,), (0, 1, 2), (0, 3), (0, -1), (0.0, 1.0), ("a", "b")])
def test_taps_that_are_not_two_blocks_are_refused(taps: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"are not two of a tower of 3 blocks: give two .* 0 to 2"
    ):
        check_taps(taps, 3)
    check_taps((2, 0), 3)


def test_a_template_that_is_no_text_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"template 3 is no text: write one with \{\} in it"):
        check_template(3)
