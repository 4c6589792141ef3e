from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from escnet.annotations.registry import DEFAULT_FORMATS, FORMATS
from escnet.errors import OutputError
from escnet.inference.jobs.outputs import check_outputs, existing_summary, plan_outputs
from escnet.segmentation import Segmentation


def test_pictures_of_one_folder_land_in_the_output_folder_itself(tmp_path: Path) -> None:
    plan = plan_outputs([tmp_path / "deep" / "in" / n for n in ("a.png", "b.png")], "out")
    assert {output.out / output.place.below for output in plan} == {Path("out")}


def test_no_two_pictures_ever_share_a_file(tmp_path: Path) -> None:
    names = ["a.jpg", "a.png", "A.gif", "a.jpg.png", "b.png", "a.jpg-2.tif", "a.jpg.gif", "a.jpg.x"]
    paths = [tmp_path / name for name in names]
    plan = plan_outputs(paths, tmp_path / "out")
    assert [output.place.stem for output in plan][:2] == ["a.jpg", "a.png"]
    assert len({output.place.stem.casefold() for output in plan}) == len(names)
    assert [output.picture for output in plan] == paths


def test_a_whole_file_name_that_is_another_s_stem_gets_a_number(tmp_path: Path) -> None:
    plan = plan_outputs([tmp_path / name for name in ("a.jpg.png", "a.jpg", "a.png")], "out")
    assert [output.place.stem for output in plan] == ["a.jpg", "a.jpg-2", "a.png"]


def test_a_picture_called_failures_keeps_clear_of_the_list_of_failures(tmp_path: Path) -> None:
    (output,) = plan_outputs([tmp_path / "failures.jpg"], tmp_path / "out")
    assert output.place.stem == "failures.jpg"


def test_a_picture_given_twice_is_made_twice_under_different_names(tmp_path: Path) -> None:
    plan = plan_outputs([tmp_path / "a.jpg", tmp_path / "a.jpg"], "out")
    assert len({output.place.stem for output in plan}) == 2


def test_relative_and_absolute_paths_share_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = plan_outputs(["in/a.jpg", tmp_path / "in" / "b.jpg", "x/../in/c.jpg"], "out")
    assert {output.out / output.place.below for output in plan} == {Path("out")}


def test_what_does_not_exist_is_not_finished(tmp_path: Path) -> None:
    assert existing_summary({}, {"json": tmp_path / "a.json"}) is None


def check(out: Path, *names: str, formats: Sequence[str] = DEFAULT_FORMATS) -> None:
    check_outputs(plan_outputs(names or ["a.jpg"], out), out, formats)


@pytest.mark.parametrize("formats", [[kind] for kind in FORMATS] + [list(FORMATS)])
@pytest.mark.parametrize("num_names", [3, 254])
def test_results_may_be_replaced(tmp_path: Path, formats: list[str], num_names: int) -> None:
    result = Segmentation(
        label_map=np.zeros((2, 3), np.uint8 if num_names <= 254 else np.uint16),
        confidence=np.ones((2, 3), np.float32),
        names=tuple(f"name {index}" for index in range(num_names)),
        picture=np.zeros((2, 3, 3), np.uint8),
        top_names=np.zeros((3, 2, 3), np.uint8),
        top_probabilities=np.ones((3, 2, 3), np.float16),
        scores=np.ones((1, 2, 3), np.float16),
    )
    result.save(tmp_path, "a", formats)
    check(tmp_path)
    check(tmp_path, formats=formats)


@pytest.mark.parametrize("content", ['{"version": "5.5.0", "shapes": []}', "[]", '{"escnet'])
def test_another_program_s_json_is_not_replaced(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(OutputError, match=r"a\.json is no result of escnet .* another folder"):
        check(tmp_path)
    check(tmp_path, formats=["labels", "overlay"])


@pytest.mark.parametrize("name", ["a.labels.png", "a.overlay.jpg"])
@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"no picture"])
def test_another_program_s_picture_is_not_replaced(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / "a.json").write_text('{\n  "escnet": "0.1.0"\n}')  # vouches for nothing beside it
    with pytest.raises(OutputError, match=rf"{name} is no result of escnet"):
        check(tmp_path)
    (tmp_path / name).write_bytes(b"")  # holds nothing that could be lost
    check(tmp_path)


def test_an_unreadable_file_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.json").write_text('{\n  "escnet": "0.1.0"\n}')

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(OutputError, match=r"a\.json is no result"):
        check(tmp_path)


def test_of_many_foreign_files_the_first_is_named(tmp_path: Path) -> None:
    for name in ("b.json", "c.json", "c.labels.png"):
        (tmp_path / name).write_text("[]")
    with pytest.raises(OutputError, match=r"3 files are no results .*\(first: .*b\.json\)"):
        check(tmp_path, "a.jpg", "b.jpg", "c.jpg")


def test_folders_and_impossible_names_are_no_foreign_files(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    check(tmp_path, "a.jpg", "n" * 254)


def test_the_class_names_are_not_replaced(tmp_path: Path) -> None:
    plan = plan_outputs(["a.jpg", "classes.jpg"], tmp_path)
    (tmp_path / "classes.json").write_text('{\n  "escnet": "logo"\n}')  # looks like a result
    (tmp_path / "link.json").symlink_to("classes.json")
    for classes_file in (tmp_path / "classes.json", tmp_path / "link.json"):
        with pytest.raises(
            OutputError, match=r"classes\.json holds the class names .*classes\.jpg: choose another"
        ):
            check_outputs(plan, tmp_path, ["json"], classes_file=classes_file)
        check_outputs(plan, tmp_path, ["labels"], classes_file=classes_file)
        check_outputs(plan[:1], tmp_path, ["json"], classes_file=classes_file)


def test_a_folder_of_pictures_called_like_a_format_s_own_is_told(tmp_path: Path) -> None:
    pictures = [tmp_path / "in" / "Coco" / "a.jpg", tmp_path / "in" / "b.jpg"]
    with pytest.raises(OutputError, match=r"coco/ would lie among"):
        check_outputs(plan_outputs(pictures, tmp_path / "out"), tmp_path / "out", ["coco"])


def test_pictures_are_numbered_and_called_as_they_lie_in_their_folders(tmp_path: Path) -> None:
    pictures = [tmp_path / "in" / name for name in ("a.jpg", "b/a.jpg", "b/c/d.png")]
    places = [output.place for output in plan_outputs(pictures, "out")]
    assert [place.number for place in places] == [1, 2, 3]
    assert [place.picture_path for place in places] == ["a.jpg", "b/a.jpg", "b/c/d.png"]
