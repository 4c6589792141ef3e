"""Where a result stands among the published ones.

The published scores are those of the paper's Table 1 (published.json), as their authors gave them;
which mIoU rule each used is stored where it is known, because it moves the benchmarks whose truth
lacks some of the classes (a-847, pc-459). A result of ours takes its place by `miou_in_truth`. It
has a rank only if nothing parts it from the benchmark: other settings, fewer pictures or other
classes are named, and take the rank away.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Literal

from pydantic import BaseModel, ConfigDict

from escnet.errors import ConfigError
from escnet.evaluation.benchmarks import BENCHMARKS
from escnet.evaluation.result import EvalResult

RULE = "miou_in_truth"  # by which results are placed


class Rule(BaseModel):
    """The mIoU rule of a published system, and how we know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["miou_in_truth", "miou_in_either"]
    is_certain: bool
    evidence: str

    def __str__(self) -> str:
        return self.name if self.is_certain else f"{self.name}, probably"


class PublishedRow(BaseModel):
    """A row of the published table.

    Attributes:
        system: Its name.
        vlm: The vision-language model that it builds on.
        backbone: What other network it needs.
        trained_on: The label maps that it was trained on.
        extra_data: Whether it was also trained on pictures with captions or the like.
        venue: Where it was published.
        year: And when.
        scores: In percent, in the order of the table's benchmarks; None where not reported.
        rule: Which mIoU its authors computed, where known.
        note: What else should be known before comparing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    system: str
    vlm: str | None
    backbone: str | None
    trained_on: str
    extra_data: bool
    venue: str
    year: int
    scores: tuple[float | None, ...]
    rule: Rule | None
    note: str = ""

    @property
    def built_on(self) -> str:
        """All networks that it needs."""
        return " + ".join(part for part in (self.vlm, self.backbone) if part)

    @property
    def training(self) -> str:
        """What it was trained on."""
        return f"{self.trained_on} and more" if self.extra_data else self.trained_on


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedTable:
    """The published scores, with the benchmarks in the order of the columns."""

    source: str
    benchmarks: tuple[str, ...]
    systems: tuple[PublishedRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A line of a leaderboard.

    Attributes:
        rank: From 1, the same for scores that print alike; None for a result with caveats.
        score: mIoU, from 0 to 1.
        name: Of the system, or of our model.
        built_on: Networks that it needs; for ours its method.
        trained_on: What it was trained on.
        published: "CVPR 2024"; empty for ours.
        rule: Which mIoU the score is, as far as known.
        is_ours: Whether it is a result and not a published row.
        other_score: For ours the mIoU under the other rule.
        caveats: For ours what parts it from the benchmark.
        note: For a published row how its rule is known, or what else should be.
    """

    rank: int | None
    score: float
    name: str
    built_on: str
    trained_on: str
    published: str
    rule: str
    is_ours: bool = False
    other_score: float | None = None
    caveats: tuple[str, ...] = ()
    note: str = ""


@cache
def published_table() -> PublishedTable:
    """The scores that ship with this package."""
    content = files("escnet.evaluation").joinpath("published.json").read_text("utf-8")
    table = json.loads(content)
    return PublishedTable(
        source=table["source"],
        benchmarks=tuple(table["benchmarks"]),
        systems=tuple(PublishedRow.model_validate(row) for row in table["systems"]),
    )


def check_published(benchmark: str) -> None:
    """Refuse a benchmark without published scores.

    Raises:
        ConfigError: If it has none.
    """
    known = published_table().benchmarks
    if benchmark not in known:
        raise ConfigError(
            f"there are no published scores of {benchmark!r}: choose from {', '.join(known)}"
        )


def standings(benchmark: str, results: Iterable[EvalResult] = ()) -> list[Entry]:
    """All entries of a benchmark, the best first.

    Args:
        benchmark: One of the published table's.
        results: Our results of that benchmark.

    Raises:
        ConfigError: If there are no published scores, or a result is of another benchmark.
    """
    check_published(benchmark)
    column = published_table().benchmarks.index(benchmark)
    entries = [
        _published_entry(row, score)
        for row in published_table().systems
        if (score := row.scores[column]) is not None
    ]
    for result in results:
        if result.benchmark != benchmark:
            raise ConfigError(
                f"the result of {result.model.name} is of {result.benchmark}, not {benchmark}: "
                "leave it out, or leave the benchmark out"
            )
        entries.append(_our_entry(result))
    return _ranked(sorted(entries, key=lambda entry: (-_printed(entry.score), entry.is_ours)))


def caveats(result: EvalResult) -> tuple[str, ...]:
    """What parts a result from its benchmark, so that it has no rank; nothing if it is fair.

    The result's own list of deviations is not enough: a folder's source that merely has the name
    of a benchmark, or a folder with fewer pictures, deviates from nothing. The headline does not
    matter, because results are placed by a rule that all of them have.
    """
    benchmark = BENCHMARKS[result.benchmark]
    deviations = result.protocol.deviations(benchmark.protocol, benchmark.classes)
    deviations = [*result.deviations, *deviations]
    deviations = [
        text for text in deviations if text.partition(":")[0] not in {"headline", "pictures"}
    ]
    counts = benchmark.split.counts
    if result.data.num_pictures not in counts:
        deviations.append(
            f"pictures: {' or '.join(map(str, counts))} -> {result.data.num_pictures}"
        )
    if result.skipped:
        deviations.append(f"pictures skipped: {len(result.skipped)}")
    if tuple(result.classes) != benchmark.classes:
        deviations.append("classes: not the benchmark's")
    return tuple(dict.fromkeys(deviations))


def _published_entry(row: PublishedRow, percent: float) -> Entry:
    return Entry(
        rank=None,
        score=percent / 100,
        name=row.system,
        built_on=row.built_on,
        trained_on=row.training,
        published=f"{row.venue} {row.year}",
        rule=str(row.rule) if row.rule else "not known",
        note=row.note or (f"{row.rule}: {row.rule.evidence}" if row.rule else ""),
    )


def _our_entry(result: EvalResult) -> Entry:
    trained_on = result.model.trained_on
    return Entry(
        rank=None,
        score=result.scores.get(RULE) or 0.0,
        name=result.model.name,
        built_on=result.model.method,
        trained_on="not known" if trained_on is None else f"{len(trained_on)} class names",
        published="",
        rule=RULE,
        is_ours=True,
        other_score=result.scores.get("miou_in_either"),
        caveats=caveats(result),
    )


def _ranked(entries: Sequence[Entry]) -> list[Entry]:
    """The entries with their ranks: one more than the number of fair entries that are better."""
    fair = [_printed(entry.score) for entry in entries if not entry.caveats]
    return [
        entry
        if entry.caveats
        else replace(entry, rank=1 + sum(score > _printed(entry.score) for score in fair))
        for entry in entries
    ]


def _printed(score: float) -> float:
    """In percent with the one decimal that papers print, so that ours cannot win by the second."""
    return round(100 * score, 1)
