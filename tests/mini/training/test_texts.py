"""What class names are called."""

import numpy as np
import pytest

from escnet.errors import ConfigError
from escnet.mini.training.texts import NameTexts


def test_synonyms_come_after_all_names() -> None:
    names = NameTexts.of(["cat", "car", "sky"], {"car": ["auto", "van"], "cat": ["kitty"]})
    assert names.texts == ("cat", "car", "sky", "kitty", "auto", "van")
    assert names.wordings == ((0, 3), (1, 4, 5), (2,))
    assert names.words_of([1]) == {1: ["car", "auto", "van"]}


def test_a_synonym_of_no_class_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="no class name 'cow'"):
        NameTexts.of(["cat"], {"cow": ["bull"]})


def test_every_other_time_a_synonym_stands_for_its_name() -> None:
    random = np.random.default_rng(0)
    names = NameTexts.of(["cat", "car", "sky"], {"car": ["auto", "van"]})
    drawn = [names.draw([2, 1], random) for _ in range(2000)]
    assert {first for first, _ in drawn} == {2}
    share = {row: sum(second == row for _, second in drawn) / 2000 for row in (1, 3, 4)}
    assert share == pytest.approx({1: 0.5, 3: 0.25, 4: 0.25}, abs=0.04)
