from pathlib import Path

import pytest

from escnet.inference.outputs import finished_summary, plan_outputs


def test_pictures_of_one_folder_land_in_the_output_folder_itself(tmp_path: Path) -> None:
    plan = plan_outputs([tmp_path / "deep" / "in" / n for n in ("a.png", "b.png")], "out")
    assert {output.folder for output in plan} == {Path("out")}


def test_no_two_pictures_ever_share_a_file(tmp_path: Path) -> None:
    names = ["a.jpg", "a.png", "A.gif", "a.jpg.png", "b.png", "a.jpg-2.tif", "a.jpg.gif", "a.jpg.x"]
    paths = [tmp_path / name for name in names]
    plan = plan_outputs(paths, tmp_path / "out")
    assert [output.stem for output in plan][:2] == ["a.jpg", "a.png"]
    assert len({output.stem.casefold() for output in plan}) == len(names)
    assert [output.picture for output in plan] == paths


def test_a_whole_file_name_that_is_another_s_stem_gets_a_number(tmp_path: Path) -> None:
    plan = plan_outputs([tmp_path / name for name in ("a.jpg.png", "a.jpg", "a.png")], "out")
    assert [output.stem for output in plan] == ["a.jpg", "a.jpg-2", "a.png"]


def test_a_picture_called_failures_keeps_clear_of_the_list_of_failures(tmp_path: Path) -> None:
    (output,) = plan_outputs([tmp_path / "failures.jpg"], tmp_path / "out")
    assert output.stem == "failures.jpg"


def test_a_picture_given_twice_is_made_twice_under_different_names(tmp_path: Path) -> None:
    plan = plan_outputs([tmp_path / "a.jpg", tmp_path / "a.jpg"], "out")
    assert len({output.stem for output in plan}) == 2


def test_relative_and_absolute_paths_share_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = plan_outputs(["in/a.jpg", tmp_path / "in" / "b.jpg", "x/../in/c.jpg"], "out")
    assert {output.folder for output in plan} == {Path("out")}


def test_what_does_not_exist_is_not_finished(tmp_path: Path) -> None:
    assert finished_summary(tmp_path / "a.jpg", {"json": tmp_path / "a.json"}) is None
