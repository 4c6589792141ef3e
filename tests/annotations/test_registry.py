from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from escnet.annotations.format import FormatOptions, Place
from escnet.annotations.registry import FORMATS, check_formats, check_places, write_whole_files
from escnet.errors import ConfigError, OutputError
from escnet.segmentation import Segmentation, save_all


@pytest.fixture
def result(result: Segmentation) -> Segmentation:
    """With all that a format may need."""
    top = np.stack([result.label_map] * 3)
    chances, scores = np.zeros(top.shape, np.float16), np.zeros((1, 4, 4), np.float16)
    return replace(result, top_names=top, top_probabilities=chances, scores=scores)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_second_run_replaces_what_the_first_wrote(
    result: Segmentation, tmp_path: Path, kind: str
) -> None:
    for _ in range(2):
        save_all([result], tmp_path, [kind])
        check_places(tmp_path, [Place("beach")], [kind])
    path = result.save(tmp_path, formats=[kind])[kind]
    assert path == tmp_path / FORMATS[kind].first_file(Place("beach"))


@pytest.mark.parametrize("kind", FORMATS)
def test_nothing_that_escnet_did_not_write_is_replaced(
    result: Segmentation, tmp_path: Path, kind: str
) -> None:
    mine = tmp_path / FORMATS[kind].first_file(Place("beach"))
    mine.parent.mkdir(parents=True, exist_ok=True)
    mine.write_text("mine")
    with pytest.raises(OutputError):
        check_places(tmp_path, [Place("beach")], [kind])
    with pytest.raises(OutputError):
        result.save(tmp_path, formats=[kind])
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("name", ["folder.csv", "contact-sheet.html"])
def test_a_file_for_the_folder_replaces_nobody_s_own(
    result: Segmentation, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("mine")
    kind = "csv" if name == "folder.csv" else "contact-sheet"
    with pytest.raises(OutputError, match=name):
        check_places(tmp_path, [], [kind])
    with pytest.raises(OutputError, match=name):
        save_all([result], tmp_path, [kind])
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("kind", [kind for kind, form in FORMATS.items() if form.whole])
def test_the_whole_of_a_job_that_was_resumed_is_that_of_one_that_was_not(
    result: Segmentation, tmp_path: Path, kind: str
) -> None:
    results = [replace(result, stem=stem, source=None) for stem in ("a", "b", "c")]
    whole = save_all(results, tmp_path / "at-once", [kind])
    # a first job ends after two pictures, a second one makes the third alone
    folder = tmp_path / "resumed"
    save_all(results[:2], folder, [kind])
    places = [Place(r.stem, picture=f"{r.stem}.jpg", number=n) for n, r in enumerate(results, 1)]
    results[2].save_at(folder, places[2], [kind], FormatOptions())
    again = write_whole_files(folder, result.names, places, [kind], FormatOptions())[kind]
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in whole]
    assert [path.name for path in again] == [path.name for path in whole]


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind != "json"])
def test_pictures_of_subfolders_keep_theirs_in_every_format(
    result: Segmentation, tmp_path: Path, kind: str
) -> None:
    added = []
    for number, below in enumerate(("", "mon/", "tue/"), 1):
        before = set(tmp_path.rglob("*.*"))
        place = Place("beach", below=below, picture="beach.png", number=number)
        (path,) = result.save_at(tmp_path, place, [kind], FormatOptions()).values()
        assert path.is_file()
        files = (p for p in set(tmp_path.rglob("*.*")) - before if p.is_file())
        added.append(sorted(p.name for p in files if p.name != "README.md"))
    assert added[0] == added[1] == added[2]


def test_a_part_that_is_gone_says_how_to_get_it_back(result: Segmentation, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"coco/parts/gone\.json.*--resume"):
        write_whole_files(tmp_path, result.names, [Place("gone")], ["coco"], FormatOptions())


def test_formats_are_written_in_one_order_each_once_and_json_last() -> None:
    assert check_formats(["json", "coco", "labels", "coco"]) == ("labels", "coco", "json")


@pytest.mark.parametrize("formats", [["gif"], []])
def test_unknown_formats_list_the_known(formats: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"labels, overlay, .*, json"):
        check_formats(formats)


@pytest.mark.parametrize(
    "options",
    [
        {"tolerance": -1.0},
        {"tolerance": float("nan")},
        {"per": "pixel"},
        {"shape": "circle"},
        {"palette": "pink"},
        {"opacity": 2.0},
        {"doubtful_below": -0.1},
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="choose"):
        FormatOptions(**options)


@pytest.mark.parametrize("kind", [kind for kind, form in FORMATS.items() if form.whole])
def test_the_paths_of_a_format_s_whole_files_are_known_before_they_are_written(
    result: Segmentation, tmp_path: Path, kind: str
) -> None:
    written = [
        path.relative_to(tmp_path).as_posix() for path in save_all([result], tmp_path, [kind])
    ]
    assert tuple(written) == FORMATS[kind].whole_paths


def test_the_page_about_other_programs_has_every_format() -> None:
    page = Path(__file__).parents[2] / "docs" / "how-to" / "other-programs.md"
    text = page.read_text(encoding="utf-8")
    assert [kind for kind in FORMATS if f"`{kind}`" not in text] == []
