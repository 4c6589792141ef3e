import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from escnet.cli.main import run
from escnet.evaluation.benchmarks import BENCHMARKS
from escnet.evaluation.result import EvalResult


def result_file(folder: Path, benchmark: str, **changes: Any) -> Path:
    definition = BENCHMARKS[benchmark]
    fields: dict[str, Any] = {
        "benchmark": benchmark,
        "data": {"root": "r", "num_pictures": definition.split.counts[0], "checksum": ""},
        "model": {"name": "our model", "method": "esc-net", "weights_hash": "", "settings": {}},
        "protocol": definition.protocol,
        "deviations": [],
        "versions": {},
        "seconds": 1.5,
        "peak_memory": None,
        "classes": list(definition.classes),
        "confusion": {"rows": [], "columns": [], "counts": []},
        "scores": {"miou_in_truth": 0.32, "miou_in_either": 0.3},
        "intervals": {},
        "per_class": [],
        "pictures": [],
        "skipped": [],
    }
    path = folder / f"{benchmark}.json"
    EvalResult.model_validate({**fields, **changes}).write(path)
    return path


def test_the_whole_table_has_a_line_for_each_published_row(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["leaderboard"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[-6:] == ["a-847", "pc-459", "a-150", "pc-59", "pas-20", "pas-20b"]
    rows = [line for line in lines if line.startswith("ESC-Net ")]
    assert [row.split()[-6:] for row in rows] == [
        ["13.3", "21.1", "35.6", "59.0", "97.3", "80.1"],
        ["18.1", "27.0", "41.8", "65.6", "98.3", "86.3"],
    ]


def test_a_result_stands_at_its_place_with_its_other_rule(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = result_file(tmp_path, "a-150")
    assert run(["leaderboard", "a-150", "--result", str(path)]) == 0
    printed = capsys.readouterr().out
    board = [line.split() for line in printed.splitlines() if line[:1].isdigit()]
    place = next(index for index, line in enumerate(board) if ">" in line)
    assert board[place][:5] == [str(place + 1), "32.0", ">", "our", "model"]
    assert float(board[place - 1][1]) > 32 > float(board[place + 1][1])
    assert "our model: 30.0 under miou_in_either." in printed
    assert "no rank" not in printed


def test_a_result_on_a_part_of_the_pictures_is_told_and_not_ranked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = {"root": "r", "num_pictures": 12, "checksum": ""}
    path = result_file(tmp_path, "a-150", data=data, deviations=["pictures: 2000 -> 12"])
    assert run(["leaderboard", "--result", str(path)]) == 0
    printed = capsys.readouterr().out
    assert next(line for line in printed.splitlines() if "> our" in line).startswith("-")
    assert printed.count("has no rank, because it is not the benchmark: pictures: 2000 -> 12") == 1


def test_json_holds_what_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = result_file(tmp_path, "pas-20b", scores={"miou_in_truth": 0.999, "miou_in_either": 0.9})
    assert run(["leaderboard", "--result", str(path), "--json"]) == 0
    board = json.loads(capsys.readouterr().out)["benchmarks"]["pas-20b"]
    assert (board[0]["name"], board[0]["rank"], board[0]["is_ours"]) == ("our model", 1, True)
    assert run(["leaderboard", "--json"]) == 0
    systems = json.loads(capsys.readouterr().out)["systems"]
    assert len(systems) == 30
    assert systems[-1]["scores"]["a-150"] == 0.418


def test_what_has_no_place_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["leaderboard", "voc20"]) == 2
    assert "no published scores of 'voc20': choose from a-847" in capsys.readouterr().err
    path = str(result_file(tmp_path, "camvid"))
    assert run(["leaderboard", "--result", path]) == 2
    assert "no published scores of 'camvid'" in capsys.readouterr().err
    assert run(["leaderboard", "a-150", "--result", str(result_file(tmp_path, "pc-59"))]) == 2
    assert "is of pc-59, not a-150" in capsys.readouterr().err


def test_a_matrix_is_no_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(np.eye(2).tolist()))
    assert run(["leaderboard", "--result", str(path)]) == 2
    assert (
        "holds a JSON list, not an object: give a file that `escnet evaluate` wrote"
        in capsys.readouterr().err
    )
