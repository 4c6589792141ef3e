import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from published import PUBLISHED, W, png, rows, write_files, write_packed

from escnet.cli.main import run
from escnet.data import splits
from escnet.evaluation.result import EvalResult


@pytest.fixture(autouse=True)
def _as_if_two_were_published(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PUBLISHED:
        monkeypatch.setitem(splits.SPLITS, name, replace(splits.SPLITS[name], counts=(2,)))


def prepared(name: str, folder: Path) -> Path:
    write_packed(folder / "downloads", PUBLISHED[name]()[0])
    source, root = str(folder / "downloads"), str(folder / "root")
    assert run(["data", "prepare", name, "--from", source, "--to", root]) == 0
    return folder / "root"


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_benchmark_is_prepared_checked_and_evaluated(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = prepared(name, tmp_path)
    truth = PUBLISHED[name]()[1]
    assert "0 kept, 0 bad" in capsys.readouterr().out
    assert run(["data", "check", name, "--data", str(root)]) == 0
    checked = capsys.readouterr().out
    assert f"{name}: 2 pictures with label maps, 2 published" in checked
    assert "as published" in checked
    # the paper's protocol would take seconds a picture for each of five views and 847 names
    view = ["--size", "64", "--vocabulary", "present", "--pictures", "0"]
    model = ["--model", "tiny", "--device", "cpu"]
    out = ["--data", str(root), "--out", str(tmp_path / "out")]
    assert run(["evaluate", name, *model, *out, *view]) == 0
    result = EvalResult.read(tmp_path / "out" / f"{name}.json")
    assert result.data.checksum in checked
    assert result.data.num_pictures == 2
    assert result.deviations == ["size: 640 -> 64", "vocabulary: all -> present"]
    ignored = splits.SPLITS[name].ignore_label
    labelled = [label for labels in truth.values() for label in labels if label != ignored]
    assert result.matrix().sum() == 6 * len(labelled)
    assert set(np_rows(result)) == set(labelled)


def np_rows(result: EvalResult) -> list[int]:
    return [int(row) for row in result.matrix().sum(axis=1).nonzero()[0]]


def test_offenders_are_told_the_first_ten_and_all_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = prepared("camvid", tmp_path)
    for number in range(10, 22):
        write_files(root, {f"CamVid/test/{number}.png": b""})
    write_files(root, {"CamVid/testannot/Seq05VD_f00000.png": png(rows([12] * W))})
    capsys.readouterr()
    assert run(["data", "check", "camvid", "--data", str(root)]) == 1
    told = capsys.readouterr().out.splitlines()
    start = told.index("  problems: 13")
    assert told[start + 1] == "  picture 10 has no label map"
    assert told[start + 11] == "  ... and 3 more"
    assert len(told) == start + 12
    assert run(["data", "check", "camvid", "--data", str(root), "--json"]) == 1
    table = json.loads(capsys.readouterr().out)
    assert len(table["problems"]) == 13
    assert "Seq05VD_f00000.png holds raw label 12" in table["problems"][12]
    assert (table["is_good"], table["num_pictures"], table["expected"]) == (False, 14, [2])


def test_files_that_cannot_be_made_end_in_1_and_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archives, _ = PUBLISHED["a-150"]()
    bad = "ADEChallengeData2016/annotations/validation/ADE_val_00000002.png"
    archives["ADEChallengeData2016.zip"][bad] = png(rows([151] * W))
    write_packed(tmp_path, archives)
    command = ["data", "prepare", "a-150", "--from", str(tmp_path), "--to", str(tmp_path / "root")]
    assert run(command) == 1
    told = capsys.readouterr().out
    assert "a-150: 3 files written, 0 kept, 1 bad" in told
    assert "ADE_val_00000002.png holds raw label 151" in told
    assert run([*command, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["num_kept"] == 3


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["data", "check", "ade", "--data", "."], "no folder or data set 'ade': give a folder"),
        (["data", "check", "a-150", "--data", "none"], "none holds no a-150"),
        (["data", "prepare", "a-150", "--from", "none", "--to", "x"], "no folder none: give"),
        (["evaluate", "a-150", "--data", "none"], "none holds no a-150"),
        (["evaluate", "a-150"], "benchmark a-150 needs its pictures: pass --data ROOT"),
        (["evaluate", "a150"], "no folder or benchmark 'a150': choose"),
        (["evaluate", "coco-stuff-train", "--data", "."], "no folder or benchmark 'coco-stuff-tr"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(
    command: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_folder_with_a_benchmarks_name_is_a_folder_only_with_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "camvid").mkdir()
    assert run(["evaluate", "camvid", "--data", "."]) == 2
    assert "holds no camvid" in capsys.readouterr().err
    (tmp_path / "camvid/classes.json").write_text("{}")
    assert run(["evaluate", "camvid"]) == 2
    assert "holds no pictures with label maps that are recognised" in capsys.readouterr().err


def test_all_data_sets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "list"]) == 0
    told = capsys.readouterr().out
    assert "coco-stuff-train  171 classes, 118,287 pictures" in told
    assert run(["data", "list", "--json"]) == 0
    names = [entry["name"] for entry in json.loads(capsys.readouterr().out)]
    assert names == [*PUBLISHED, "coco-stuff-train"]


def documented() -> list[list[str]]:
    """The arguments of every `escnet` in docs/how-to/benchmarks.md, however it is started."""
    page = (Path(__file__).parents[2] / "docs/how-to/benchmarks.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```bash\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    lines = [shlex.split(line) for block in blocks for line in block.splitlines() if line]
    return [line[line.index("escnet") + 1 :] for line in lines]


def test_the_page_documents_every_benchmark() -> None:
    commands = [words[:3] for words in documented()]
    for name in PUBLISHED:
        assert ["data", "prepare", name] in commands
        assert ["data", "check", name] in commands
        assert ["evaluate", name, "--data"] in commands


@pytest.mark.parametrize("words", documented(), ids=" ".join)
def test_documented_commands_exist_with_their_options(words: list[str]) -> None:
    assert run([*words, "--help"]) == 0
