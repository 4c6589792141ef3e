import json
import warnings
from importlib.resources import files

import pytest

from escnet.errors import NamesWarning
from escnet.inference.names.near_names import near_names, nearest_of_benchmarks
from escnet.inference.segmenter import Segmenter
from escnet.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter.load("mini", device="cpu")


def told_of(segmenter: Segmenter, names: list[str]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        segmenter.text_embedding(Vocabulary.of(names))
    assert all(one.category is NamesWarning for one in caught)
    return [str(one.message) for one in caught]


@pytest.mark.parametrize(
    ("first", "second"),
    [("cafe", "café"), ("crepe", "crêpe"), ("resume", "résumé"), ("diningtable", "dining table")],
)
def test_two_labels_of_equal_embedding_are_a_warning_that_names_both(
    segmenter: Segmenter, first: str, second: str
) -> None:
    (told,) = told_of(segmenter, ["table", first, "spoon", second])
    assert f"'{first}' and '{second}' are equal" in told
    assert f"{first}={first}|{second}" in told


@pytest.mark.parametrize(
    ("names", "reason", "tower"),
    [
        (["кошка", "собака"], "is Cyrillic", "training-free:google/siglip2-base-patch16-224"),
        (["杯子", "table"], "is Chinese or Japanese", "training-free:google/siglip2"),
        (["カップ", "table"], "is Katakana", "training-free:google/siglip2"),
        (["🦄", "table"], "is an emoji", "training-free:openai/clip-vit-base-patch16"),
    ],
)
def test_a_name_that_the_model_cannot_read_says_so_and_names_a_tower_that_can(
    segmenter: Segmenter, names: list[str], reason: str, tower: str
) -> None:
    (told,) = told_of(segmenter, names)
    assert f"model mini cannot read '{names[0]}'" in told
    assert reason in told
    assert tower in told


def test_two_chinese_names_are_one_to_the_built_in_model(segmenter: Segmenter) -> None:
    equal, unread = told_of(segmenter, ["杯子", "桌子"])
    assert "'杯子' and '桌子' are equal" in equal
    assert "cannot read '杯子' (1 more name like it)" in unread


@pytest.mark.parametrize("benchmark", ["camvid11", "voc20", "pc59", "coco171", "ade150"])
def test_the_names_of_a_benchmark_are_no_warning(segmenter: Segmenter, benchmark: str) -> None:
    names = json.loads(
        files("escnet.data").joinpath(f"classes/{benchmark}.json").read_text("utf-8")
    )
    assert told_of(segmenter, names) == []


def test_words_in_latin_letters_with_accents_are_read(segmenter: Segmenter) -> None:
    assert told_of(segmenter, ["jalapeño", "smörgåsbord", "traffic_light"]) == []


def test_synonyms_of_one_label_may_be_equal(segmenter: Segmenter) -> None:
    vocabulary = Vocabulary.of({"cafe": ["cafe", "café"], "table": "table"})
    embedding = segmenter.text_embedding(vocabulary)
    assert near_names(segmenter.method, vocabulary, embedding, segmenter.encode_text) == []


def test_an_equal_vocabulary_is_warned_of_once(segmenter: Segmenter) -> None:
    assert len(told_of(segmenter, ["saute", "sauté"])) == 1
    assert told_of(segmenter, ["saute", "sauté"]) == []


def test_the_limit_of_the_built_in_model_is_what_the_docs_say(segmenter: Segmenter) -> None:
    nearest = nearest_of_benchmarks(segmenter.method, segmenter.encode_text)
    assert nearest == pytest.approx(0.9869, abs=2e-4)


def test_a_random_network_calls_equal_embeddings_alone_one() -> None:
    tiny = Segmenter.load("tiny", device="cpu")
    assert nearest_of_benchmarks(tiny.method, tiny.encode_text) == 1
    assert told_of(tiny, ["cake", "cage", "ruler", "tube"]) == []
