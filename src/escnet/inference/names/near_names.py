"""Names that are one to a model, and names that its text tower cannot read.

Two labels whose text embeddings are equal share their pixels by their order alone: the first takes
all. So do, nearly, labels that are nearer to each other than any two names of a benchmark. How near
that is differs from tower to tower; a few pairs of A-847, the nearest of all benchmarks, tell it.

Sizes: N queries, D the width of the joint space.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from escnet.class_lists.class_list import counted, display_text
from escnet.inference.methods.method import Encode, Method
from escnet.inference.names.unit_vectors import unit_vectors
from escnet.vocabulary import Vocabulary

EQUAL = 1 - 1e-5  # a cosine above differs from 1 by rounding alone
NEVER_NEAR = 0.94  # below this cosine no tower calls names one, and no limit is looked for
# The nearest pairs among the names of A-847 under the built-in model, 0.987 to 0.960.
NEAREST_IN_BENCHMARKS = (
    ("hanging clothes", "clothes hanging"),
    ("paper towel", "towel paper"),
    ("lockers", "locker"),
    ("table tennis", "tennis table"),
    ("soap", "soaps"),
    ("scarf", "scarfs"),
)
# A trained tower finds synonyms nearer than names that share letters; a random one does not.
_SYNONYMS = (("sofa", "couch"), ("car", "automobile"), ("photo", "picture"), ("rug", "carpet"))
_ALIKE = (("house", "horse"), ("car", "cat"), ("cake", "cage"), ("train", "brain"))
_MARGIN = 1e-4
_ROWS_AT_ONCE = 1_024
_SHOWN = 3
_BYTES = 1_000  # tokens of a tower that reads single bytes and no words
_WITH_EMOJI, _MANY_LANGUAGES = 45_000, 100_000  # tokens from which a tower knows these
MULTILINGUAL = "training-free:google/siglip2-base-patch16-224"
EMOJI_READER = "training-free:openai/clip-vit-base-patch16"


class NearNames(NamedTuple):
    """Two labels that a model hardly tells apart.

    Attributes:
        first: The label that comes first and takes the pixels of both.
        second: The other.
        cosine: Of their nearest queries' text embeddings.
    """

    first: str
    second: str
    cosine: float

    @property
    def is_equal(self) -> bool:
        """Whether the embeddings differ by rounding alone."""
        return self.cosine >= EQUAL


def near_names(
    method: Method,
    vocabulary: Vocabulary,
    embedding: Float32[np.ndarray, "N D"],
    encode: Encode,
) -> list[NearNames]:
    """The pairs of labels nearer than any two names of a benchmark, the nearest first.

    Args:
        method: Whose text tower the names are for.
        vocabulary: The class names.
        embedding: Of the queries, in their order.
        encode: Encodes the pairs that set the limit, if it is needed.
    """
    cosines: dict[tuple[int, int], float] = {}
    for first, second, cosine in _pairs_above(embedding, NEVER_NEAR):
        labels = vocabulary.owner[first], vocabulary.owner[second]
        if labels[0] != labels[1]:
            cosines[labels] = max(cosine, cosines.get(labels, -1.0))
    if not cosines:
        return []
    limit = nearest_of_benchmarks(method, encode) if min(cosines.values()) < EQUAL else EQUAL
    pairs = [
        NearNames(vocabulary.labels[first], vocabulary.labels[second], cosine)
        for (first, second), cosine in cosines.items()
        if cosine >= min(limit + _MARGIN, EQUAL)
    ]
    return sorted(pairs, key=lambda pair: -pair.cosine)


def nearest_of_benchmarks(method: Method, encode: Encode) -> float:
    """The largest cosine of two names of a benchmark; 1 of a tower that is not trained."""
    if method.num_tokens < _BYTES:
        return 1.0
    pairs = (*NEAREST_IN_BENCHMARKS, *_SYNONYMS, *_ALIKE)
    cosine = _cosines(encode, method.template, pairs)
    first, last = len(NEAREST_IN_BENCHMARKS), len(cosine) - len(_ALIKE)
    near, synonyms, alike = np.split(cosine, [first, last])
    return float(near.max()) if synonyms.mean() > alike.mean() else 1.0


def _cosines(
    encode: Encode, template: str, pairs: Sequence[tuple[str, str]]
) -> Float32[np.ndarray, " pairs"]:
    texts = [template.replace("{}", name) for pair in pairs for name in pair]
    unit = unit_vectors(encode(texts))
    return (unit[0::2] * unit[1::2]).sum(axis=1)


def _pairs_above(
    embedding: Float32[np.ndarray, "N D"], limit: float
) -> Iterator[tuple[int, int, float]]:
    """The pairs of queries whose cosine is above the limit; in parts, as N x N may be large."""
    embedding = unit_vectors(embedding)
    for start in range(0, len(embedding), _ROWS_AT_ONCE):
        part = embedding[start : start + _ROWS_AT_ONCE]
        cosine = np.triu(part @ embedding[start:].T, 1)
        for row, column in np.argwhere(cosine > limit).tolist():
            yield start + row, start + column, float(cosine[row, column])


def near_names_message(pairs: Sequence[NearNames], model: str) -> str:
    """One line about the pairs, with what to do."""
    shown = "; ".join(
        f"{display_text(pair.first)} and {display_text(pair.second)} "
        + ("are equal" if pair.is_equal else f"have cosine {pair.cosine:.4f}")
        for pair in pairs[:_SHOWN]
    )
    more = f" and {counted(len(pairs) - _SHOWN, 'more pair')}" if len(pairs) > _SHOWN else ""
    first = pairs[0]
    return (
        f"names that are one to model {model} by their text embeddings: {shown}{more}; the first "
        "of two takes the pixels of both: leave one out, or write them as one label, such as "
        f"{first.first}={first.first}|{first.second}"
    )


def unread_names(method: Method, names: Sequence[str]) -> dict[str, str]:
    """For each name that the text tower cannot read, why and what can: other scripts, emoji."""
    num_tokens = method.num_tokens
    unread = {}
    for name in names if _BYTES < num_tokens < _MANY_LANGUAGES else ():
        if script := _other_script(name):
            unread[name] = (
                f"is {script}, which its text tower was not taught: write it in English, "
            )
            unread[name] += f"or take a model that reads it, such as {MULTILINGUAL}"
        elif num_tokens < _WITH_EMOJI and _is_emoji(name):
            unread[name] = "is an emoji, which its text tower was not taught: write the word, or "
            unread[name] += f"take a model that reads it, such as {EMOJI_READER}"
    return unread


def unread_names_message(unread: dict[str, str], model: str) -> str:
    """One line about the names, with what to do."""
    (name, why), *others = unread.items()
    more = f" ({counted(len(others), 'more name')} like it)" if others else ""
    return f"model {model} cannot read {display_text(name)}{more}: it {why}"


def _other_script(name: str) -> str | None:
    """The script of the first letter that is not Latin, such as "Cyrillic"."""
    for letter in filter(str.isalpha, name):
        script = unicodedata.name(letter, "another script").partition(" ")[0]
        if script not in {"LATIN", "MODIFIER", "FEMININE", "MASCULINE", "MICRO"}:
            return "Chinese or Japanese" if script == "CJK" else script.capitalize()
    return None


def _is_emoji(name: str) -> bool:
    return any(unicodedata.category(character) == "So" for character in name)
