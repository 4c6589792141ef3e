from pathlib import Path

import numpy as np
import pytest

from escnet.errors import ConfigError, EscnetError, WeightsError
from escnet.inference.figures.comparison import (
    ComparedModel,
    ComparedPicture,
    check_models,
    compare_models,
)
from escnet.vocabulary import Vocabulary


def test_an_error_of_a_model_names_it() -> None:
    """tests/cli/test_compare.py has the rest: a process takes seconds to start."""
    models = ["training-free:tiny?a=b"]
    with pytest.raises(ConfigError, match=r"^model training-free:tiny\?a=b: no choice 'a'"):
        list(compare_models(models, [Path("a.png")], Vocabulary.parse("sky"), device="cpu"))


def test_the_mean_time_and_the_summary_of_a_column() -> None:
    cells = tuple(
        ComparedPicture(
            labels=np.zeros((1, 1), np.uint8),
            seconds=seconds,
            peak_memory=None,
            numbers={"seconds": seconds},
        )
        for seconds in (1.0, 4.0)
    )
    column = ComparedModel(
        model="mini",
        method="esc-net",
        weights_hash="abc",
        settings={"dtype": "float32"},
        load_seconds=2.0,
        peak_memory=7,
        pictures=cells,
    )
    assert column.mean_seconds == 2.5
    assert column.summary([Path("a.png"), Path("b.png")]) == {
        "model": "mini",
        "method": "esc-net",
        "weights_hash": "abc",
        "settings": {"dtype": "float32"},
        "load_seconds": 2.0,
        "mean_seconds": 2.5,
        "peak_memory": 7,
        "pictures": [{"picture": "a.png", "seconds": 1.0}, {"picture": "b.png", "seconds": 4.0}],
    }


@pytest.mark.parametrize(
    ("models", "kind", "message"),
    [
        ([], ConfigError, "no model is given: pass models"),
        (["tiny", "mini", "tiny"], ConfigError, "'tiny' is named twice"),
        (["tiny", "/no/such"], WeightsError, "model /no/such: no folder or file '/no/such'"),
        (["training-free:/a?attention=clip"], WeightsError, "no folder or file '/a'"),
        (["training-free:tiny+sam:/s"], WeightsError, "no folder or file '/s'"),
        (["proposals:/p+sam:/s"], WeightsError, "no folder or file '/p'"),
        (["proposals-crop:mini+sam:/s"], WeightsError, "no folder or file '/s'"),
    ],
)
def test_a_model_that_is_not_here_is_told_before_any_runs(
    models: list[str], kind: type[EscnetError], message: str
) -> None:
    with pytest.raises(kind) as caught:
        check_models(models)
    assert message in str(caught.value)


def test_what_is_here_is_no_error(tmp_path: Path) -> None:
    check_models(["mini", "tiny", "training-free:tiny", f"training-free:mini+sam:{tmp_path}"])
