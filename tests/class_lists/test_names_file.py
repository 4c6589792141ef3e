import base64
from pathlib import Path

import numpy as np
import pytest

from escnet.class_lists.details import LabelDetails, TaughtVectors
from escnet.errors import ConfigError, OutputError, VocabularyError
from escnet.vocabulary import MAX_QUERIES, Vocabulary

WHOLE = """
format = 1

[[groups]]
name = "vehicle"
group = "moving"
color = "#283593"

[[labels]]
name = "car"
queries = ["car", "van"]
description = "with four wheels"
color = "#ff0000"
group = "vehicle"
not = ["toy car"]
void_below = 0.25

[[labels]]
name = "bus"
group = "vehicle"

[[labels]]
name = "sky"
"""


def names_in(text: str, folder: Path) -> Vocabulary:
    file = folder / "names.toml"
    file.write_text(text, encoding="utf-8")
    return Vocabulary.read(file)


def unit(*numbers: float) -> str:
    return base64.b64encode(np.array(numbers, "<f2").tobytes()).decode()


def taught(vectors: str, more: str = "") -> str:
    return f"""
[[labels]]
name = "valve"
[[labels.taught]]
weights = "abc"
vectors = {vectors}
{more}
"""


def test_a_names_file_says_all_of_its_labels(tmp_path: Path) -> None:
    names = names_in(WHOLE, tmp_path)
    assert names.labels == ("car", "bus", "sky")
    assert names.queries == ("car", "van", "bus", "sky")
    assert names.owner == (0, 0, 1, 2)
    assert names.contrast == ("toy car",)
    assert names.void_below == (0.25, 0.0, 0.0)
    assert names.colours == {"car": (255, 0, 0), "vehicle": (40, 53, 147)}
    assert names.details_of("car").description == "with four wheels"


def test_labels_are_called_by_their_groups_at_each_level(tmp_path: Path) -> None:
    names = names_in(WHOLE, tmp_path)
    assert names.level(1) == (("moving", "sky"), (0, 0, 1))
    assert names.level(2) == (("vehicle", "sky"), (0, 0, 1))
    assert names.level(3) == (("car", "bus", "sky"), (0, 1, 2))
    with pytest.raises(ConfigError, match=r"level 4 is not among .* 1 .* to 3 .*: choose"):
        names.level(4)
    with pytest.raises(ConfigError, match="the names have none: give labels a `group`"):
        Vocabulary.of(["a", "b"]).level(2)


def test_what_is_saved_is_read_again(tmp_path: Path) -> None:
    names = names_in(WHOLE, tmp_path)
    vectors = TaughtVectors.of(
        np.array([[3.0, 4.0]]), weights_hash="abc", model="mini", source=["a.jpg"]
    )
    names = names.with_label("my valve", ["valve"]).with_details(
        "my valve", LabelDetails(taught=(vectors,))
    )
    names.save(tmp_path / "more.toml")
    assert Vocabulary.read(tmp_path / "more.toml") == names
    np.testing.assert_allclose(vectors.array, [[0.6, 0.8]], atol=1e-3)
    Vocabulary.of(["a"]).save(tmp_path / "more.toml")  # a names file is replaced
    assert Vocabulary.read(tmp_path / "more.toml") == Vocabulary.of(["a"])


def test_a_file_that_is_no_names_file_is_not_replaced(tmp_path: Path) -> None:
    file = tmp_path / "names.txt"
    file.write_text("car\nbus\n")
    with pytest.raises(OutputError, match="is no names file and would be replaced: choose"):
        Vocabulary.of(["a"]).save(file)
    assert file.read_text() == "car\nbus\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[labels]]\nname = ", "is not TOML"),
        ("a.b" * 300 + " = 1\n[[labels]]", "has more than 256 dots in a line"),
        (f"x = {'[' * 5_000}{']' * 5_000}\n[[labels]]", "is nested more than 64 levels deep"),
        ("[[label]]\nname = 'a'", "no key 'label': choose from format, groups, labels"),
        ("[[labels]]\nname = 'a'\ncolr = 'x'", "label 'a', no key 'colr': choose from name, quer"),
        ("[[labels]]\nname = 'a'\ncolor = 'x'", "has the color 'x', which is none: write it as"),
        ("[[labels]]\nqueries = ['a']", "label 1, name is missing: give it"),
        ("[[labels]]\nname = 'a'\nqueries = [1]", "label 'a', queries 0 is 1: input should be"),
        ("[[labels]]\nname = 'a'\nvoid_below = 2", "label 'a', void_below is 2: input should be l"),
        ("[[labels]]\nname = 'a'\nvoid_below = nan", "is not TOML .nan is no finite number"),
        ("[[labels]]\nname = 'a'\n[[labels]]\nname = 'A'", "repeats class name 1"),
        (
            "[[labels]]\nname = 'a'\nnot = ['b']\n[[labels]]\nname='b'",
            "is not 'b', but that is a q",
        ),
        ("format = 2\n[[labels]]\nname = 'a'", "has the format 2, and this version reads 1"),
        ("[[groups]]\nname = 'g'\n", "labels is missing"),
        (taught("[]"), "0 of them, but a label has 1 to 64"),
        (taught("['?']"), "has a taught vector 1 that is not base64"),
        (taught(f"['{unit(float('nan'), 1)}']"), "vector 1 has the length nan, not 1: teach"),
        (taught(f"['{unit(3, 4)}']"), "vector 1 has the length 5, not 1: teach"),
        (taught(f"['{unit(1, 0)}', '{unit(1, 0, 0)}']"), "vector 2 has 6 bytes, which is not two"),
        (taught("['QUFB']"), "vector 1 has 3 bytes"),
        (taught(f"{[unit(1)] * 65}"), "label 'valve', taught 0 vectors is"),
    ],
)
def test_a_fault_is_one_line_with_its_place(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(VocabularyError, match=message) as error:
        names_in(text, tmp_path)
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 400


def in_group(label: str, group: str) -> str:
    return f"[[labels]]\nname = '{label}'\ngroup = '{group}'\n"


def group_in(group: str, outer: str) -> str:
    return f"[[groups]]\nname = '{group}'\ngroup = '{outer}'\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            group_in("a", "b") + group_in("b", "a") + in_group("car", "a"),
            "in a circle, 'a' > 'b' >",
        ),
        (group_in("a", "a") + in_group("car", "a"), "in a circle, 'a' > 'a': take one"),
        (
            "".join(group_in(f"g{i}", f"g{i + 1}") for i in range(99)) + in_group("car", "g0"),
            "group 'g0' lies in more than 15 others",
        ),
        (in_group("car", "bus") + "[[labels]]\nname = 'bus'", "'bus' is both a label and a group"),
        (group_in("a", "") * 2 + in_group("car", "a"), "group 'a' is described twice"),
    ],
)
def test_groups_that_make_no_tree_are_one_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(VocabularyError, match=message):
        names_in(text, tmp_path)


def test_a_label_may_be_called_like_the_group_that_it_is_in(tmp_path: Path) -> None:
    chair, furniture = in_group("chair", "furniture"), in_group("furniture", "furniture")
    names = names_in(f"{chair}{furniture}color = '#010203'\n{group_in('furniture', '')}", tmp_path)
    assert names.colours == {"furniture": (1, 2, 3)}
    assert names.level(1).names == ("furniture",)
    assert names.level(2).names == ("chair", "furniture")


def test_a_million_queries_are_one_line(tmp_path: Path) -> None:
    many = ", ".join(f"'q{number}'" for number in range(1_000_000))
    with pytest.raises(VocabularyError, match="holds more than 500,000 strings, the most that"):
        names_in(f"[[labels]]\nname = 'a'\nqueries = [{many}]", tmp_path)
    queries = [str(number) for number in range(MAX_QUERIES + 1)]
    with pytest.raises(VocabularyError, match=f"more than {MAX_QUERIES:,} queries"):
        Vocabulary.of({"a": queries})


def test_the_rest_class_and_a_group_of_its_name_do_not_go_together(tmp_path: Path) -> None:
    names = names_in(in_group("car", "background"), tmp_path)
    with pytest.raises(VocabularyError, match="group 'background', is also what the rest class"):
        names.with_background()
