import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from escnet.data.limits import MAX_PIXELS
from escnet.errors import ConfigError
from escnet.inference.label_maps.windows import MODES, NATIVE
from escnet.inference.options import SegmentOptions


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"void_below": float("nan")}, "void_below nan is not a confidence"),
        ({"void_below": 1.5}, "void_below 1.5 is not a confidence"),
        ({"windows": "own"}, "windows 'own' are unknown: choose from whole, paper, native"),
        ({"windows": 3}, "windows 3 are unknown"),
        ({"share_prior": -1.0}, "share_prior -1.0 is not a number from 0 on"),
        ({"share_prior": float("inf")}, "share_prior inf is not a number from 0 on"),
        ({"top": 11}, "top 11 is no number of names: choose a whole number from 0 to 10"),
        ({"max_pixels": 0}, "max_pixels 0 leaves no picture: choose a whole number"),
        (
            {"share_prior": 0.3, "windows": "native"},
            "share_prior 0.3 needs pictures seen as a whole: leave out one of it and windows",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SegmentOptions.of(**values)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_the_command_line_reads_of_its_own_options() -> None:
    with pytest.raises(ConfigError) as caught:
        SegmentOptions(share_prior=0.3, windows=NATIVE)
    assert caught.value.for_command_line() == (
        "--share-prior 0.3 needs pictures seen as a whole: leave out one of it and --windows"
    )


MISTYPED = {
    "void_below 'x' is not a confidence: choose one from 0 to 1": {"void_below": "x"},
    "void_below None is not a confidence": {"void_below": None},
    "void_below True is not a confidence": {"void_below": True},
    "share_prior 'x' is not a number from 0 on": {"share_prior": "x"},
    "max_pixels 1.5 leaves no picture: choose a whole number": {"max_pixels": 1.5},
    "max_pixels 'x' leaves no picture": {"max_pixels": "x"},
    "min_area 0.5 is no number of pixels": {"min_area": 0.5},
}


def test_values_of_another_type_are_refused_in_one_line() -> None:
    code = (
        "from escnet.errors import ConfigError\n"
        "from escnet.inference.options import SegmentOptions\n"
        f"for values in {list(MISTYPED.values())!r}:\n"
        "    try:\n"
        "        print(SegmentOptions.of(**values))\n"
        "    except ConfigError as error:\n"
        "        print(error)\n"
    )
    # a process of its own: in this one the tests' checks of types would refuse them first
    command = [sys.executable, "-c", code]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    for line, message in zip(told.splitlines(), MISTYPED, strict=True):
        assert line.startswith(message)


@pytest.mark.parametrize("mode", MODES)
def test_windows_may_be_given_by_name(mode: str) -> None:
    assert SegmentOptions.of(windows=mode).windows is MODES[mode]


def test_numbers_of_numpy_are_numbers() -> None:
    options = SegmentOptions.of(void_below=np.float64(0.25), max_pixels=10_000)
    assert (options.void_below, options.max_pixels) == (0.25, 10_000)


def test_without_a_word_a_picture_is_seen_as_a_whole_and_everything_is_labelled() -> None:
    assert SegmentOptions.of() == SegmentOptions(
        void_below=0.0, windows=None, share_prior=None, max_pixels=MAX_PIXELS
    )
