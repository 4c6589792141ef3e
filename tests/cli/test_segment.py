import json
import os
import subprocess
import sys
from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import numpy as np
import pytest
from PIL import Image

from escnet.annotations.format import FormatOptions
from escnet.annotations.label_png import read_label_png
from escnet.annotations.registry import DEFAULT_FORMATS, FORMATS
from escnet.cli.main import run
from escnet.cli.segment import segment
from escnet.errors import ConfigError
from escnet.inference.jobs.segment_job import SegmentJob
from escnet.inference.label_maps.windows import NATIVE, Windows
from escnet.inference.options import SegmentOptions
from escnet.inference.segmenter import Segmenter
from escnet.vocabulary import Vocabulary

if TYPE_CHECKING:
    from corpus import Expected

TINY = ["--classes", "sky, car=car|truck, road", "--model", "tiny"]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "deep").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("1.jpg", "2.png", "10.jpg", "deep/1.jpg"):
        Image.fromarray(rng.integers(0, 256, (40, 60, 3)).astype(np.uint8)).save(folder / name)
    return folder


def error_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert run(["segment", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("escnet: ")
    err = "".join(line for line in err.splitlines(True) if " is read as " not in line)
    assert err.count("\n") == 1
    return err


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--classes-file FILE"),
        (["--classes", "a", "--classes-file", "names.txt"], "give one of them"),
        (["--classes", " , "], "class name"),
        (["--classes", "a, a"], "repeats"),
        (["--classes", "word " * 500], "2,499 characters"),
        (["--classes-file", "absent.txt"], "absent.txt"),
        (["--classes", "background", "--background"], "background"),
        (["--classes", "a", "--format", "labels,gif"], "labels, overlay, grey, color"),
        (["--classes", "a", "--format", ","], "no format"),
        (["--classes", "a", "--format", "labels", "--resume"], "json"),
        (["--classes", "a", "--void-below", "2"], "from 0 to 1"),
        (["--classes", "a", "--void-below", "nan"], "from 0 to 1"),
        (["--classes", "a", "--share-prior", "-1"], "share_prior -1.0 is not a number from 0 on"),
        (
            ["--classes", "a", "--windows", "native", "--share-prior", "0.5"],
            "--share-prior 0.5 needs pictures seen as a whole",
        ),
        (["--classes", "a", "--max-pixels", "0"], "at least 1"),
        (["--classes", "a", "--threads", "0"], "--threads 0 cannot be"),
        (["--classes", "a", "--device", "cuda:x"], "device 'cuda:x' is unknown"),
        (["--classes", "a", "--dtype", "int8"], "dtype 'int8' is unknown"),
        (["--classes", "a", "--windows", "own"], "choose from whole, paper, native"),
        (["--classes", "a", "--window-side", "100"], "--window-side needs windows"),
        (["--classes", "a", "--window-overlap", "0.1"], "--window-overlap needs windows"),
        (["--classes", "a", "--windows", "native", "--window-side", "0"], "window 0 leaves no"),
        (["--classes", "a", "--windows", "native", "--window-overlap", "1"], "give 0 to 0.9"),
        (["--classes", "a", "--out", "/dev/null/out"], "cannot be written"),
        (["--classes", "a", "--out", "/dev/null/two\nlines"], "cannot be written"),
    ],
)
def test_a_mistake_is_told_in_one_line_before_a_model_is_loaded(
    pictures: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # a model that does not exist would be the error if it were loaded first
    found = error_of([str(pictures), *options, "--model", "/no/such/model"], capsys)
    assert message in found


def test_an_empty_model_name_is_told_before_anything_is_read(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = error_of([str(pictures), "--classes", "a", "--model", ""], capsys)
    assert "--model '' names nothing: give mini, a folder" in found


def test_a_lone_picture_that_is_none_is_told_before_a_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.jpg").write_text("no picture")
    options = ["--classes", "a", "--model", "/no/such/model", "--out", str(tmp_path)]
    assert "a.jpg is of another format" in error_of([str(tmp_path / "a.jpg"), *options], capsys)


@pytest.mark.parametrize("source", ["absent.jpg", "absent/*.jpg", ""])
def test_a_source_that_matches_nothing_is_named(
    source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert repr(source)[1:-1] in error_of([source, *TINY], capsys)


def test_one_picture_gives_three_files_in_the_current_folder_and_a_table(
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert run(["segment", str(pictures / "1.jpg"), *TINY]) == 0
    assert sorted(files_below(Path())) == ["1.json", "1.labels.png", "1.overlay.jpg"]
    label_map, names = read_label_png("1.labels.png")
    assert label_map.shape == (40, 60)
    assert names == ("sky", "car", "road")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{pictures / '1.jpg'}: 60 x 40 pixels"
    table = {line.split()[0]: line.split()[1] for line in lines[1:] if "confidence" in line}
    summary = json.loads(Path("1.json").read_text())
    assert table == {e["name"]: f"{e['share']:.1%}" for e in summary["names"] if e["share"]}


def test_json_is_one_document_about_every_picture(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "bad.jpg").write_text("no picture")
    out = tmp_path / "out"
    code = run(["segment", str(pictures), "--recursive", *TINY, "--out", str(out), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert code == 1
    assert [failure["picture"] for failure in document["failures"]] == [str(pictures / "bad.jpg")]
    assert len(document["pictures"]) == 4
    for entry in document["pictures"]:
        assert (entry["height"], entry["width"], entry["status"]) == (40, 60, "written")
        assert set(entry["outputs"]) == {"labels", "overlay", "json"}
        assert all(Path(path).is_file() for path in entry["outputs"].values())
        shares = sum(name["share"] for name in entry["names"]) + entry["void"]["share"]
        assert shares == pytest.approx(1, abs=1e-4)
    assert (out / "deep" / "1.labels.png").is_file()


def test_a_second_run_does_not_take_results_for_pictures(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pictures)
    assert run(["segment", ".", *TINY]) == 0
    first = files_below(pictures)
    assert run(["segment", ".", *TINY]) == 0
    assert files_below(pictures).keys() == first.keys()


def test_results_alone_are_no_pictures(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    assert run(["segment", str(pictures / "1.jpg"), *TINY, "--out", str(out)]) == 0
    capsys.readouterr()
    assert "results of earlier runs" in error_of([str(out), *TINY], capsys)
    assert run(["segment", str(out / "1.overlay.jpg"), *TINY, "--out", str(tmp_path)]) == 0


def test_a_photograph_that_is_called_like_a_result_is_a_picture(
    pictures: Path, tmp_path: Path
) -> None:
    (pictures / "1.jpg").rename(pictures / "holiday.overlay.jpg")
    (pictures / "2.png").rename(pictures / "holiday.labels.png")
    assert run(["segment", str(pictures), *TINY, "--out", str(tmp_path / "out")]) == 0
    stems = {path.name.removesuffix(".json") for path in (tmp_path / "out").glob("*.json")}
    assert stems == {"10", "holiday.labels", "holiday.overlay"}


def test_a_lone_bad_picture_is_an_error_like_any_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.jpg").touch()
    found = error_of([str(tmp_path / "bad.jpg"), *TINY, "--out", str(tmp_path)], capsys)
    assert "bad.jpg is empty" in found
    assert list(files_below(tmp_path)) == ["bad.jpg"]


def test_resuming_makes_nothing_twice(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["segment", str(pictures), *TINY, "--out", str(tmp_path / "out"), "--resume"]
    assert run(command) == 0
    assert "3 of 3 pictures segmented; results in" in capsys.readouterr().out
    assert run(command) == 0
    assert "0 of 3 pictures segmented, 3 already finished" in capsys.readouterr().out


def test_resuming_does_not_take_an_older_picture_for_the_one_it_replaced(
    pictures: Path, tmp_path: Path
) -> None:
    command = ["segment", str(pictures), *TINY, "--out", str(tmp_path / "out"), "--resume"]
    assert run(command) == 0
    with Image.open(pictures / "2.png") as image:
        image.resize((70, 50)).save(pictures / "2.png")
    os.utime(pictures / "2.png", (1, 1))  # as mv, cp -p, rsync and unzip leave it
    assert run(command) == 0
    assert read_label_png(tmp_path / "out" / "2.labels.png")[0].shape == (50, 70)


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("1.json", '{"shapes": []}', ["--classes", "a"], "1.json is no result of escnet"),
        ("1.labels.png", "PNG", ["--classes", "a"], "1.labels.png is no result of escnet"),
        ("1.overlay.jpg", "mine", ["--classes", "a"], "1.overlay.jpg is no result of escnet"),
        ("1.json", '["a"]', ["--classes-file", "1.json"], "1.json holds the class names"),
    ],
)
def test_what_is_no_result_is_not_replaced(
    pictures: Path,
    name: str,
    content: str,
    options: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(pictures)
    Path(name).write_text(content)
    before = files_below(pictures)
    # a model that does not exist would be the error if it were loaded first
    found = error_of(["1.jpg", *options, "--model", "/no/such/model"], capsys)
    assert message in found
    assert "choose another folder" in found
    assert files_below(pictures) == before


def test_what_somebody_put_in_the_place_of_a_result_is_not_replaced(
    pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(pictures)
    assert run(["segment", "1.jpg", *TINY]) == 0
    capsys.readouterr()
    with Image.open("1.labels.png") as image:
        image.copy().save("1.labels.png")  # a corrected label map: Pillow drops the text
    before = files_below(pictures)
    for options in ([], ["--resume"]):
        found = error_of(["1.jpg", *TINY, *options], capsys)
        assert "1.labels.png is no result of escnet" in found
    assert files_below(pictures) == before


def test_an_empty_file_in_the_place_of_a_result_stops_no_job(
    pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "2.json").touch()
    assert run(["segment", str(pictures), *TINY, "--out", str(out), "--resume"]) == 0
    assert json.loads((out / "2.json").read_bytes())["width"] == 60


@pytest.mark.parametrize("formats", ["labels", "overlay", "json", "labels,overlay,json"])
def test_results_are_replaced_by_those_of_the_same_picture(
    pictures: Path, formats: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pictures)
    for asked in (formats, formats, "labels,overlay,json"):
        assert run(["segment", ".", *TINY, "--format", asked]) == 0


def test_a_name_too_long_for_results_is_one_failure_of_many(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "2.png").rename(pictures / ("n" * 250 + ".png"))
    out = tmp_path / "out"
    assert run(["segment", str(pictures), *TINY, "--out", str(out)]) == 1
    assert "2 of 3 pictures segmented, 1 failed" in capsys.readouterr().out
    (failure,) = json.loads((out / "failures.json").read_text())["failures"]
    assert "shorten the name of the picture" in failure["error"]


def test_a_prior_that_is_asked_for_and_windows_are_refused_in_python_too(
    pictures: Path, tmp_path: Path
) -> None:
    segmenter = Segmenter.load("tiny", share_prior=0.3)
    with pytest.raises(ConfigError, match=r"share_prior 0\.3 needs pictures seen as a whole"):
        SegmentJob.plan(
            [pictures / "1.jpg"],
            Vocabulary.of("a"),
            out=tmp_path,
            options=SegmentOptions(windows=NATIVE),
        ).run(segmenter)
    assert not (tmp_path / "1.json").exists()


@pytest.mark.parametrize("windows", [None, NATIVE])
def test_a_file_says_the_settings_that_the_result_says(
    pictures: Path, tmp_path: Path, windows: Windows | None
) -> None:
    method = Segmenter.load("tiny").method
    segmenter = Segmenter(method, model="tiny", weights_hash="", share_prior=0.5)
    names = Vocabulary.of("car=car|truck, sky", has_background=True)
    options: dict[str, Any] = {"void_below": 0.1, "windows": windows}
    SegmentJob.plan(
        [pictures / "1.jpg"], names, out=tmp_path, options=SegmentOptions(**options)
    ).run(segmenter)
    written = json.loads((tmp_path / "1.json").read_text())
    expected = segmenter.segment(pictures / "1.jpg", names, **options).summary()
    assert written["settings"] == json.loads(json.dumps(expected["settings"]))
    assert written["settings"]["share_prior"] == (0.5 if windows is None else 0.0)
    assert written["source"] == expected["source"]


def test_windows_reach_the_result(pictures: Path, tmp_path: Path) -> None:
    options = ["--windows", "native", "--window-side", "30", "--window-overlap", "0.2"]
    assert run(["segment", str(pictures / "1.jpg"), *TINY, *options, "--out", str(tmp_path)]) == 0
    made = json.loads((tmp_path / "1.json").read_bytes())
    windows = made["settings"]["windows"]
    assert (windows["window"], windows["overlap"], windows["seams"]) == (30, 0.2, "smooth")


def test_background_and_void_reach_the_result(pictures: Path, tmp_path: Path) -> None:
    options = ["--background", "--void-below", "1", "--format", "json", "--out", str(tmp_path)]
    assert run(["segment", str(pictures / "1.jpg"), *TINY, *options]) == 0
    summary: dict[str, Any] = json.loads((tmp_path / "1.json").read_text())
    assert [entry["name"] for entry in summary["names"]] == ["sky", "car", "road", "background"]
    assert summary["void"]["share"] > 0.99
    assert summary["settings"]["synonyms"] == {"car": ["car", "truck"]}


def test_every_hostile_file_ends_in_a_result_or_in_one_line(
    hostile_corpus: "dict[Path, Expected]",
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = {path: expected for path, expected in hostile_corpus.items() if not path.is_dir()}
    assert len(files) >= 60
    out = tmp_path / "out"
    options = ["--out", str(out), "--json", "--format", "labels,json"]
    code = run(["segment", *map(str, files), *TINY, *options])
    document = json.loads(capsys.readouterr().out)
    assert code == 1
    assert document["format"] == 1
    bad = {str(path) for path, expected in files.items() if not expected.reads}
    assert {failure["picture"] for failure in document["failures"]} == bad
    assert json.loads((out / "failures.json").read_text())["failures"] == document["failures"]
    assert all(f["error"] and "\n" not in f["error"] for f in document["failures"])
    for entry in document["pictures"]:
        assert (entry["height"], entry["width"]) == files[Path(entry["picture"])].size_hw
        with Image.open(entry["outputs"]["labels"]) as label_map:
            assert (label_map.height, label_map.width) == (entry["height"], entry["width"])


def test_an_interruption_is_told_in_one_line(
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    assert run(["segment", str(pictures), *TINY, "--out", str(tmp_path / "out")]) == 130
    assert capsys.readouterr() == ("", "escnet: interrupted\n")
    assert files_below(tmp_path / "out") == {}


def test_the_command_itself_ends_with_the_code_and_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    done = subprocess.run(
        [sys.executable, "-m", "escnet", "segment", tmp_path / "bad.jpg", *TINY],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("escnet: picture")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("option", [["--classes-file", "labels.txt"], ["--classes", "@labels.txt"]])
def test_a_class_list_is_said_to_be_what_it_was_read_as(
    pictures: Path,
    option: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(pictures)
    Path("labels.txt").write_text("0: unlabeled\n1: person\n2: bicycle\n")
    assert run(["segment", "1.jpg", *option, "--model", "tiny", "--format", "json", "--json"]) == 0
    out, err = capsys.readouterr()
    names = {entry["name"] for entry in json.loads(out)["pictures"][0]["names"]}
    assert names == {"unlabeled", "person", "bicycle"}
    assert err.splitlines()[0] == (
        "escnet: labels.txt is read as a list of NUMBER: NAME: 3 names, 'unlabeled', 'person', "
        "'bicycle'; 'unlabeled' is asked like any name (--background asks for the rest instead)"
    )


def test_a_file_of_classes_that_is_not_there_is_told(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "absent.txt does not exist" in error_of(
        [str(pictures), "--classes", "@absent.txt"], capsys
    )
    found = error_of([str(pictures), "--classes", "names.txt"], capsys)
    assert "'names.txt' looks like a file: give it as --classes-file" in found


def test_formats_of_other_programs_reach_the_folder_and_are_told(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    options = ["--format", "coco, csv,contact-sheet", "--per", "region", "--shape", "rle"]
    assert run(["segment", str(pictures), *TINY, *options, "--out", str(out)]) == 0
    told = capsys.readouterr().out
    for path in ("coco/instances.json", "folder.csv", "contact-sheet.html"):
        assert str(out / path) in told
        assert (out / path).is_file()
    document = json.loads((out / "coco" / "instances.json").read_text())
    assert [image["file_name"] for image in document["images"]] == ["1.jpg", "2.png", "10.jpg"]
    assert "counts" in document["annotations"][0]["segmentation"]


def test_a_limit_takes_the_first_pictures_only(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    options = ["--limit", "2", "--format", "json", "--out", str(out)]
    assert run(["segment", str(pictures), *TINY, *options]) == 0
    assert sorted(files_below(out)) == ["1.json", "2.json"]
    capsys.readouterr()
    assert "'--limit'" in error_of([str(pictures), *TINY, "--limit", "0"], capsys)


def test_least_area_and_holes_reach_the_result_and_its_settings(
    pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    options = ["--min-area", "5000", "--fill-holes", "7", "--out", str(out)]
    assert run(["segment", str(pictures / "1.jpg"), *TINY, *options]) == 0
    summary = json.loads((out / "1.json").read_text())
    assert (summary["settings"]["min_area"], summary["settings"]["fill_holes"]) == (5000, 7)
    assert len(np.unique(read_label_png(out / "1.labels.png")[0])) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "png"], "no format 'png': choose from labels, overlay, grey"),
        (["--tolerance", "-1"], "--tolerance -1.0 is out of range"),
        (["--per", "pixel"], "--per 'pixel' is unknown: choose from name, region"),
        (["--palette", "pink"], "--palette 'pink' is unknown"),
        (["--opacity", "2"], "--opacity 2.0 is out of range"),
        (["--doubtful-below", "2"], "--doubtful-below 2.0 is out of range"),
        (
            ["--only", "moon"],
            "no class name 'moon' to show in overlays: choose from sky, car",
        ),
        (["--min-area", "-3"], "--min-area -3 is no number of pixels"),
    ],
)
def test_a_mistake_in_an_option_of_formats_is_told(
    pictures: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in error_of([str(pictures), *TINY, *options], capsys)


def test_the_command_s_defaults_of_formats_are_those_of_python() -> None:
    defaults = {
        name: parameter.default for name, parameter in signature(segment).parameters.items()
    }
    for field in fields(FormatOptions):
        if field.name not in {"only", "own_colours"}:  # a names file gives the latter
            assert defaults[field.name] == getattr(FormatOptions(), field.name)
    assert defaults["formats"].split(",") == list(DEFAULT_FORMATS)


def test_the_help_names_every_format() -> None:
    (option,) = get_type_hints(segment, include_extras=True)["formats"].__metadata__
    assert option.help == f"What to write: {', '.join(FORMATS)}."


def test_pages_of_a_tiff_are_told_of_and_can_be_had(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shades = (0, 128, 255)
    pages = [Image.new("RGB", (20, 10), (shade,) * 3) for shade in shades]
    pages[0].save(tmp_path / "scan.tif", save_all=True, append_images=pages[1:])
    job = ["segment", str(tmp_path / "scan.tif"), "--classes", "a, b", "--model", "tiny"]
    assert run([*job, "--out", str(tmp_path / "one")]) == 0
    assert "has 3 pages or frames: the first was read; --pages all" in capsys.readouterr().err
    assert run([*job, "--out", str(tmp_path / "all"), "--pages", "2-9"]) == 0
    told = capsys.readouterr().err
    assert "scan.tif has 3 pages or frames, so 4-9 of --pages cannot be read" in told
    Image.new("RGB", (20, 10)).save(tmp_path / "photo.png")
    both = ["segment", str(tmp_path), *job[2:]]
    assert run([*both, "--out", str(tmp_path / "both"), "--pages", "2,3"]) == 0
    assert "1 file has none of the pages 2,3" in capsys.readouterr().err
    written = sorted(path.name for path in (tmp_path / "all").glob("*.json"))
    assert written == ["scan.page-2.json", "scan.page-3.json"]
    reading = json.loads((tmp_path / "all" / "scan.page-3.json").read_text())["reading"]
    assert reading == {"orientation": 1, "value_range": None, "page": 3, "pages": 3}
    assert run([*job, "--out", str(tmp_path / "none"), "--pages", "4"]) == 2
    assert "no picture has one of the pages 4: give --pages all" in capsys.readouterr().err


def test_results_say_how_a_picture_was_read(tmp_path: Path) -> None:
    grey = np.arange(200, dtype=np.uint16).reshape(10, 20) * 20  # up to 3,980: twelve bits
    Image.fromarray(grey).save(tmp_path / "raw.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (20, 10)).save(tmp_path / "turned.jpg", exif=turned)
    job = ["segment", str(tmp_path), "--classes", "a", "--model", "tiny", "--format", "json"]
    assert run([*job, "--out", str(tmp_path / "out")]) == 0
    assert run([*job, "--out", str(tmp_path / "deep"), "--depth", "16"]) == 0

    def reading(name: str) -> dict[str, object]:
        told: dict[str, object] = json.loads((tmp_path / name).read_text())["reading"]
        return told

    assert reading("out/raw.json")["value_range"] == [0, 4095]
    assert reading("deep/raw.json")["value_range"] == [0, 65535]
    assert reading("out/turned.json")["orientation"] == 6
    settings = json.loads((tmp_path / "deep" / "raw.json").read_text())["settings"]
    assert settings["depth"] == 16
