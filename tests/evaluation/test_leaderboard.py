from typing import Any

import pytest

from escnet.errors import ConfigError
from escnet.evaluation.benchmarks import BENCHMARKS
from escnet.evaluation.leaderboard import caveats, published_table, standings
from escnet.evaluation.protocol import WHOLE_VIEW
from escnet.evaluation.result import EvalResult


def result_of(benchmark: str, score: float, **changes: Any) -> EvalResult:
    definition = BENCHMARKS[benchmark]
    fields: dict[str, Any] = {
        "benchmark": benchmark,
        "data": {"root": "r", "num_pictures": definition.split.counts[-1], "checksum": ""},
        "model": {"name": "m", "method": "esc-net", "weights_hash": "", "settings": {}},
        "protocol": definition.protocol,
        "deviations": [],
        "versions": {},
        "seconds": 0.0,
        "peak_memory": None,
        "classes": list(definition.classes),
        "confusion": {"rows": [], "columns": [], "counts": []},
        "scores": {"miou_in_truth": score, "miou_in_either": score / 2},
        "intervals": {},
        "per_class": [],
        "pictures": [],
        "skipped": [],
    }
    return EvalResult.model_validate({**fields, **changes})


def test_the_published_table_is_whole() -> None:
    table = published_table()
    assert len(table.systems) == 30
    assert len({row.system for row in table.systems}) == 21
    assert all(len(row.scores) == len(table.benchmarks) == 6 for row in table.systems)
    given = [score for row in table.systems for score in row.scores if score is not None]
    assert len(given) == 135
    assert all(0 < score < 100 for score in given)
    assert set(table.benchmarks) < BENCHMARKS.keys()


def test_the_sums_of_the_published_columns() -> None:
    # added up from the paper's table apart from the file, so that a slip in one number is found
    table = published_table()
    columns = zip(*(row.scores for row in table.systems), strict=True)
    sums = [round(sum(score or 0 for score in column), 1) for column in columns]
    assert dict(zip(table.benchmarks, sums, strict=True)) == {
        "a-847": 270.4, "pc-459": 375.1, "a-150": 734.9,
        "pc-59": 1439.6, "pas-20": 2133.5, "pas-20b": 581.9,
    }  # fmt: skip


def test_the_best_published_score_of_every_benchmark_is_the_large_esc_net() -> None:
    for benchmark in published_table().benchmarks:
        first = standings(benchmark)[0]
        assert (first.rank, first.name, first.built_on) == (1, "ESC-Net", "CLIP ViT-L/14")


def test_ranks_count_who_is_better_and_are_shared_by_scores_that_print_alike() -> None:
    board = standings("pas-20")
    assert [entry.score for entry in board] == sorted((e.score for e in board), reverse=True)
    for entry in board:
        assert entry.rank == 1 + sum(other.score > entry.score for other in board)
    shared = [entry.rank for entry in board if entry.score == 0.97]
    assert len(shared) == 3
    assert len(set(shared)) == 1


def test_a_fair_result_takes_its_rank_and_moves_the_others_down() -> None:
    before = {(e.name, e.built_on): e.rank for e in standings("a-150")}
    board = standings("a-150", [result_of("a-150", 0.4178)])  # prints as 41.8, like the best
    ours = next(entry for entry in board if entry.is_ours)
    assert (ours.rank, ours.other_score, ours.caveats) == (1, 0.2089, ())
    assert [entry.rank for entry in board[:3]] == [1, 1, 3]
    assert all(e.rank == (before[e.name, e.built_on] or 0) + 1 for e in board[2:])


def test_a_result_with_caveats_has_a_place_but_no_rank() -> None:
    board = standings("a-150", [result_of("a-150", 0.5, protocol=WHOLE_VIEW)])
    assert [entry.rank for entry in board[:2]] == [None, 1]
    assert board[0].caveats == ("view: windows -> whole", "exact: True -> False")


def test_every_way_out_of_a_benchmark_is_a_caveat() -> None:
    fair = result_of("pc-459", 0.2)
    assert not caveats(fair)
    assert not caveats(fair.model_copy(update={"deviations": ["headline: a -> b"]}))
    oracle = fair.protocol.with_changes(vocabulary="present")
    told = ["vocabulary: all -> present", "pictures: 5104 -> 12"]
    few = fair.data.model_copy(update={"num_pictures": 12})
    update = {"protocol": oracle, "deviations": told, "data": few, "classes": ["cat"]}
    bad = EvalResult.model_validate(
        {**fair.model_dump(), **update, "skipped": [{"stem": "a", "reason": "torn"}]}
    )
    assert caveats(bad) == (
        "vocabulary: all -> present",
        "pictures: 5104 or 5105 -> 12",
        "pictures skipped: 1",
        "classes: not the benchmark's",
    )


def test_rules_are_told_where_they_are_known() -> None:
    rules = {entry.name: entry.rule for entry in standings("pc-459")}
    assert rules["CAT-Seg"] == "miou_in_truth"
    assert rules["ODISE"] == "miou_in_either, probably"
    assert rules["SAN"] == "not known"
    notes = {entry.name: entry.note for entry in standings("pc-459")}
    assert "14.6 under the other" in notes["CAT-Seg"]
    assert "its own paper reports" in notes["FC-CLIP"]
    assert not notes["SAN"]


def test_a_benchmark_without_published_scores_is_refused() -> None:
    with pytest.raises(ConfigError, match="no published scores of 'camvid'"):
        standings("camvid")
    with pytest.raises(ConfigError, match="is of a-150, not pc-59"):
        standings("pc-59", [result_of("a-150", 0.3)])


def test_only_where_names_list_synonyms_it_matters_which_are_asked() -> None:
    for benchmark, expected in (("a-847", ("names: first -> whole",)), ("a-150", ())):
        protocol = BENCHMARKS[benchmark].protocol
        assert not caveats(result_of(benchmark, 0.1))
        whole = result_of(benchmark, 0.1, protocol=protocol.with_changes(names="whole"))
        assert caveats(whole) == expected
