import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from escnet.cli.main import run
from escnet.evaluation.result import EvalResult


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    sources = {"pets": ["cat", "dog, hound"], "street": ["road", "car", "sky"]}
    table = {"datasets": {name: {"classes": classes} for name, classes in sources.items()}}
    (folder / "classes.json").write_text(json.dumps(table))
    for source, classes in sources.items():
        for number in range(3):
            labels = random.integers(len(classes), size=(30, 40)).astype(np.uint8)
            Image.fromarray(labels).save(folder / "masks" / f"{source}__{number}.png")
            Image.fromarray(random.integers(256, size=(30, 40, 3)).astype(np.uint8)).save(
                folder / "images" / f"{source}__{number}.png"
            )
    return folder


def command(folder: Path, out: Path, *options: str) -> list[str]:
    return [
        "evaluate",
        str(folder),
        "--model",
        "tiny",
        "--device",
        "cpu",
        "--out",
        str(out),
        "--pictures",
        "0",
        *options,
    ]


def lasting(path: Path) -> dict[str, Any]:
    """The result without times and memory."""
    table = json.loads(path.read_text())
    for picture in table["pictures"]:
        del picture["seconds"]
    del table["seconds"], table["peak_memory"]
    return table


def error_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert run(arguments) == 2
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if line.startswith("escnet: ")]
    assert len(lines) == 1
    return lines[0]


def test_every_source_has_a_result_and_both_rules_are_printed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(command(folder, out)) == 0
    printed = capsys.readouterr().out
    for source, num_classes in (("pets", 2), ("street", 3)):
        result = EvalResult.read(out / f"{source}.json")
        assert result.data.num_pictures == 3
        assert result.matrix().shape == (num_classes, num_classes)
        assert result.matrix().sum() == 3 * 30 * 40
        assert result.model.name == "tiny"
        assert len(result.model.weights_hash) == 64
        assert str(out / f"{source}.json") in printed
        for name in ("miou_in_truth", "miou_in_either"):
            assert f"{name:24} {100 * (result.scores[name] or 0):5.1f}" in printed
    assert not result.deviations


def test_flags_change_the_protocol_and_are_told_as_deviations(folder: Path, tmp_path: Path) -> None:
    options = ["--vocabulary", "present", "--names", "first", "--headline", "miou_in_either"]
    template = ["--template", "this is a {}"]
    assert run(command(folder, tmp_path, "--limit", "2", *options, *template)) == 0
    result = EvalResult.read(tmp_path / "pets.json")
    assert result.deviations == [
        "template: own -> this is a {}",
        "names: whole -> first",
        "vocabulary: all -> present",
        "headline: miou_in_truth -> miou_in_either",
        "pictures: 3 -> 2",
    ]
    assert result.protocol.vocabulary == "present"
    assert result.model.settings["template"] == "this is a {}"


def test_the_rest_class_is_scored_on_sources_that_label_it(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = json.loads((folder / "classes.json").read_text())
    table["datasets"]["pets"]["has_background"] = True
    (folder / "classes.json").write_text(json.dumps(table))
    for number in range(3):
        path = folder / "masks" / f"pets__{number}.png"
        labels = np.asarray(Image.open(path)).copy()
        labels[:10] = 254
        Image.fromarray(labels).save(path)
    assert run(command(folder, tmp_path / "out", "--background", "rest", "--pictures", "1")) == 0
    assert "street" not in capsys.readouterr().out
    result = EvalResult.read(tmp_path / "out" / "pets.json")
    assert result.classes == ["cat", "dog, hound", "background"]
    assert result.matrix().sum(axis=1)[2] == 3 * 400
    assert result.matrix().sum(axis=0)[2] > 0  # some pixel is of the rest class
    assert result.deviations == ["background: none -> rest"]
    assert "background" in (tmp_path / "out" / "pets.md").read_text()
    windows = ["--view", "windows", "--size", "64", "--window", "48", "--limit", "1"]
    assert run(command(folder, tmp_path / "2", "--background", "rest", *windows)) == 0
    assert EvalResult.read(tmp_path / "2" / "pets.json").matrix().shape == (3, 3)


def test_the_windows_of_a_folder_are_told_as_deviations(folder: Path, tmp_path: Path) -> None:
    options = ["--view", "windows", "--size", "64", "--window", "48", "--no-global-view"]
    assert run(command(folder, tmp_path, "--limit", "1", *options)) == 0
    assert EvalResult.read(tmp_path / "pets.json").deviations == [
        "view: whole -> windows",
        "size: own -> 64",
        "window: 384 -> 48",
        "global_view: True -> False",
        "pictures: 3 -> 1",
    ]


def test_a_picture_whose_name_is_not_utf_8_is_scored_compared_and_reported(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for part in ("images", "masks"):
        name = os.fsdecode(b"street__\xff.png")
        (folder / part / "street__1.png").rename(folder / part / name)
    assert run(command(folder, tmp_path / "1")) == 0
    options = ["--pictures", "2", "--against", str(tmp_path / "1" / "street.json")]
    assert run(command(folder, tmp_path / "2", *options, "--template", "zebra {} zebra")) == 0
    stems = [picture.stem for picture in EvalResult.read(tmp_path / "2" / "street.json").pictures]
    assert "street__\udcff" in stems
    table = json.loads((tmp_path / "2" / "street.against.json").read_text())
    assert "street__\udcff" in [picture["stem"] for picture in table["pictures"]]
    assert "street__" in (tmp_path / "2" / "street.against.md").read_text(encoding="utf-8")
    assert not capsys.readouterr().err.count("Error")


def test_another_template_gives_another_matrix(folder: Path, tmp_path: Path) -> None:
    assert run(command(folder, tmp_path / "1")) == 0
    assert run(command(folder, tmp_path / "2", "--template", "zebra {} zebra")) == 0
    first, second = (EvalResult.read(tmp_path / name / "street.json") for name in "12")
    assert (first.matrix() != second.matrix()).any()


def test_a_share_prior_counts_for_whole_pictures_and_is_told(folder: Path, tmp_path: Path) -> None:
    template = ["--template", "zebra {} zebra"]  # the prior must come through it
    for name, options in (("1", template), ("2", [*template, "--share-prior", "20"])):
        assert run(command(folder, tmp_path / name, *options)) == 0
    first, second = (EvalResult.read(tmp_path / name / "street.json") for name in "12")
    priors = [result.model.settings["share_prior"] for result in (first, second)]
    assert priors == [0.0, 20.0]
    assert second.matrix().sum(axis=0).max() > first.matrix().sum(axis=0).max()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--share-prior", "0.5", "--view", "windows"], "needs pictures seen as a whole"),
        (["--view", "both"], "view is 'both'"),
        (["--overlap", "2"], "overlap is 2.0"),
        (["--template", "a photo"], "write {} once"),
        (["--names", "some"], "names is 'some'"),
        (["--background", "others"], "no other names"),
        (["--background", "rest"], "labels what is none of them 254, the background"),
        (["--background", "name"], "labels what is none of them 254, the background"),
        (["--limit", "0"], "--limit"),
        (["--threads", "0"], "--threads 0 cannot be"),
        (["--size", "640"], "--size 640 needs windows, but pets is seen as a whole"),
        (["--window", "384", "--view", "whole"], "--window 384 needs windows"),
        (["--overlap", "0"], "--overlap 0.0 needs windows"),
        (["--seams", "smooth"], "--seams smooth needs windows"),
        (["--global-view"], "--global-view needs windows"),
        (["--no-global-view"], "--no-global-view needs windows, but pets is seen as a whole: add"),
    ],
)
def test_a_wrong_flag_is_told_in_one_line(
    folder: Path,
    tmp_path: Path,
    options: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert message in error_of(command(folder, tmp_path / "out", *options), capsys)
    assert not (tmp_path / "out").exists()


def test_a_target_that_is_neither_a_folder_nor_a_benchmark_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no-such-set" in error_of(command(Path("no-such-set"), tmp_path), capsys)


def test_a_source_in_two_folders_would_overwrite_itself(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = command(folder, tmp_path)
    assert "pets is evaluated twice" in error_of([*arguments, str(folder)], capsys)


def test_a_bad_label_map_is_named_in_one_line_or_skipped_and_the_rest_resumed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "masks" / "pets__1.png"
    path.write_bytes(path.read_bytes()[:70])
    out = tmp_path / "out"
    assert "pets__1.png" in error_of(command(folder, out), capsys)
    assert "--resume" in error_of(command(folder, out, "--skip-bad"), capsys)
    assert run(command(folder, out, "--skip-bad", "--resume")) == 0
    assert "1 pictures skipped, the first: label map" in capsys.readouterr().out
    assert EvalResult.read(out / "pets.json").data.num_pictures == 2
    assert EvalResult.read(out / "street.json").data.num_pictures == 3


def test_two_processes_give_the_result_of_one(folder: Path, tmp_path: Path) -> None:
    assert run(command(folder, tmp_path / "one")) == 0
    script = Path(__file__).parents[1] / "processes.py"
    arguments = [str(script), str(tmp_path), "escnet", *command(folder, tmp_path / "two")]
    subprocess.run([sys.executable, *arguments], check=True, timeout=240)
    printed = [(tmp_path / f"{rank}.txt").read_text() for rank in (0, 1)]
    for source in ("pets", "street"):
        one, two = (lasting(tmp_path / run / f"{source}.json") for run in ("one", "two"))
        assert one == two
    assert "miou_in_truth" in printed[0]
    assert "miou_in_truth" not in printed[1]
    assert not list((tmp_path / "two").glob("*.pictures.[0-9].jsonl"))  # of single processes


def test_every_source_has_a_report_with_its_pictures(folder: Path, tmp_path: Path) -> None:
    assert run(command(folder, tmp_path, "--pictures", "1")) == 0
    for source in ("pets", "street"):
        page = (tmp_path / f"{source}.html").read_text()
        assert page.count("data:image/jpeg;base64,") == 2
        assert f"<h1>tiny on {source}</h1>" in page
        figures = sorted(path.name[:-13] for path in (tmp_path / f"{source}.pictures").iterdir())
        assert figures == ["best-1", "worst-1"]
    plain = (tmp_path / "pets.md").read_text()
    (tmp_path / "pets.md").unlink()
    (tmp_path / "pets.html").unlink()
    assert run(["report", str(tmp_path / "pets.json"), str(tmp_path / "street.json")]) == 0
    assert (tmp_path / "pets.md").read_text() == plain
    assert "](pets.pictures/best-1-" in plain
    assert (tmp_path / "pets.html").read_text().count("data:image/jpeg;base64,") == 2


def test_no_pictures_are_drawn_where_none_are_wanted(folder: Path, tmp_path: Path) -> None:
    assert run(command(folder, tmp_path)) == 0
    assert not list(tmp_path.glob("*.pictures"))
    assert (tmp_path / "pets.html").exists()


def test_another_template_is_compared_with_the_models_own(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command(folder, tmp_path / "1")) == 0
    other = str(tmp_path / "1" / "street.json")
    options = ["--template", "zebra {} zebra", "--against", other, "--pictures", "1"]
    capsys.readouterr()
    assert run(command(folder, tmp_path / "2", *options)) == 0
    printed = capsys.readouterr().out
    assert printed.count("against tiny, on the same 3 pictures") == 1
    assert "differs in template: own -> zebra {} zebra" in printed
    table = json.loads((tmp_path / "2" / "street.against.json").read_text())
    assert table["settings"][-1] == "template: own -> zebra {} zebra"
    text = (tmp_path / "2" / "street.against.md").read_text()
    assert text.count("](street.against.pictures/changed-1-") == 1
    (drawn,) = (tmp_path / "2" / "street.against.pictures").iterdir()
    (single,) = (tmp_path / "2" / "street.pictures").glob("best-*")
    with Image.open(drawn) as four, Image.open(single) as three:
        assert four.width > three.width  # their own answers, by their own template, stand beside
    assert not (tmp_path / "2" / "pets.against.json").exists()


def test_a_result_that_cannot_be_compared_is_refused_before_anything_is_evaluated(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command(folder, tmp_path / "1", "--limit", "1")) == 0
    result = EvalResult.read(tmp_path / "1" / "pets.json")
    result.model_copy(update={"classes": ["cat", "wolf"]}).write(tmp_path / "names.json")
    result.model_copy(update={"benchmark": "cars"}).write(tmp_path / "cars.json")
    for name, message in (("names", "differs is 'wolf'"), ("cars", "which is not evaluated here")):
        arguments = command(folder, tmp_path / "2", "--against", str(tmp_path / f"{name}.json"))
        assert message in error_of(arguments, capsys)
        assert not (tmp_path / "2").exists()
    arguments = command(folder, tmp_path / "2", "--against", str(tmp_path / "1" / "pets.json"))
    assert "is of other pictures or labels" in error_of(arguments, capsys)


WITHOUT_TORCH = (
    "import sys; sys.modules.update(torch=None, transformers=None);"
    "from escnet.cli.main import run; sys.exit(run(sys.argv[1:]))"
)


@pytest.mark.parametrize("verb", ["evaluate", "data check"])
def test_label_maps_are_scored_and_checked_without_pytorch(
    verb: str, folder: Path, tmp_path: Path
) -> None:
    predictions, out = tmp_path / "predictions", tmp_path / "scores"
    shutil.copytree(folder / "masks", predictions)
    options: list[str | Path] = []
    if verb == "evaluate":
        options = ["--predictions", predictions, "--out", out]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *verb.split(), folder, *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    if verb == "evaluate":
        assert re.search(r"pixel_accuracy +100\.0", done.stdout)
