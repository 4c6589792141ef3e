"""What a careful colleague would say of class names, without asking a model."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from escnet.class_lists.class_list import counted, display_text, is_rest_word

# Words by which people ask for the pixels of no class.
_REST_QUERIES = frozenset(
    {"other", "others", "unknown", "none", "nothing", "rest", "anything else"}
)
_PLURALS = (("ies", "y"), ("ves", "f"), ("ves", "fe"), ("es", ""), ("s", ""))
_UNLIKE_PLURALS = {
    "men": "man", "women": "woman", "people": "person", "children": "child", "mice": "mouse",
    "feet": "foot", "teeth": "tooth", "geese": "goose", "oxen": "ox", "leaves": "leaf",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to look at.

    Attributes:
        level: An error stops every other command; a warning does not.
        kind: What it is, in a word or two, such as "plural".
        names: The labels that it is about.
        message: What is wrong and what to do, in one line.
    """

    level: Literal["error", "warning"]
    kind: str
    names: tuple[str, ...]
    message: str


def check_words(queries_by_label: Mapping[str, Sequence[str]]) -> list[Finding]:
    """What the names show by themselves: lists in one name, rest classes, plural pairs.

    Args:
        queries_by_label: The queries of each label, in label order.
    """
    return [
        *_lists_in_one_name(queries_by_label),
        *_rest_classes(queries_by_label),
        *_plural_pairs(queries_by_label),
        *_kinds_of(queries_by_label),
    ]


def check_groups(paths: Sequence[tuple[str, ...]], described: Sequence[str]) -> list[Finding]:
    """What groups of labels show: those without labels, and those of one.

    Args:
        paths: From the outermost group to the label, for each label.
        described: The groups of which the file says something.
    """
    members: dict[str, list[str]] = {group: [] for group in described}
    for path in paths:
        for group in path[:-1]:
            members.setdefault(group, []).append(path[-1])
    findings = []
    for group, labels in members.items():
        if len(labels) > 1:
            continue
        has = f"has one label, {display_text(labels[0])}" if labels else "has no label"
        message = f"group {display_text(group)} {has}: give others this `group`, or take it out"
        findings.append(Finding("warning", "group", tuple(labels), message))
    return findings


def _lists_in_one_name(queries_by_label: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    for label, queries in queries_by_label.items():
        for query in queries:
            parts = [part.strip() for part in re.split(r"[,;|]", query) if part.strip()]
            if len(parts) > 1:
                yield Finding(
                    "warning", "list", (label,),
                    f"{display_text(query)} is asked as one name, though it reads as "
                    f"{counted(len(parts))}: for synonyms write {parts[0]}={'|'.join(parts)}, "
                    "for names of their own a line each",
                )  # fmt: skip


def _rest_classes(queries_by_label: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    for label, queries in queries_by_label.items():
        if any(is_rest_word(q) or q.strip(" _").casefold() in _REST_QUERIES for q in queries):
            yield Finding(
                "warning", "rest class", (label,),
                f"{display_text(label)} is asked as a word like any other name: leave it out and "
                "pass --background for a class of what no name fits",
            )  # fmt: skip


def _plural_pairs(queries_by_label: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    label_of = {q.casefold(): label for label, queries in queries_by_label.items() for q in queries}
    for query, label in label_of.items():
        for singular in _singulars(query):
            if (other := label_of.get(singular, label)) != label:
                yield Finding(
                    "warning", "plural", (other, label),
                    f"{display_text(other)} and {display_text(label)} are one thing and several of "
                    f"it, which no model keeps apart: write {other}={singular}|{query}",
                )  # fmt: skip
                break


def _kinds_of(queries_by_label: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    """Labels that take the pixels of others, whose name ends with theirs."""
    label_of = {q.casefold(): label for label, queries in queries_by_label.items() for q in queries}
    for query, label in label_of.items():
        words = query.split()
        for start in range(1, len(words)):
            wider = label_of.get(" ".join(words[start:]), label)
            if wider != label:
                yield Finding(
                    "warning", "wider name", (wider, label),
                    f"{display_text(wider)} takes pixels of {display_text(label)}, which is a kind "
                    f"of it: write them as one label, or what other kinds there are as the queries "
                    f"of {display_text(wider)}",
                )  # fmt: skip
                break


def _singulars(name: str) -> Iterator[str]:
    """What a name may be the plural of."""
    before, blank, word = name.rpartition(" ")
    if word in _UNLIKE_PLURALS:
        yield before + blank + _UNLIKE_PLURALS[word]
    for ending, singular in _PLURALS:
        if word.endswith(ending) and len(word) > len(ending) + 1:
            yield before + blank + word.removesuffix(ending) + singular
