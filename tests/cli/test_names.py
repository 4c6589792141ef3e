import json
from pathlib import Path

import numpy as np
import pytest

from escnet.class_lists.details import LabelDetails, TaughtVectors
from escnet.cli.main import run
from escnet.vocabulary import Vocabulary


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def findings_of(
    text: str, capsys: pytest.CaptureFixture[str], code: int = 0, *options: str
) -> list[tuple[str, str, list[str]]]:
    Path("names.txt").write_text(text, "utf-8")
    assert run(["names", "check", "names.txt", "--json", *options]) == code
    found = json.loads(capsys.readouterr().out)["findings"]
    return [(one["level"], one["kind"], one["names"]) for one in found]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("text", "kind", "names"),
    [
        ("dog\ndogs\n", "plural", ["dog", "dogs"]),
        ("kitchen knife\nkitchen knives\n", "plural", ["kitchen knife", "kitchen knives"]),
        ("man\nmen\n", "plural", ["man", "men"]),
        ("cafe\ncafé\n", "near double", ["cafe", "café"]),
        ("diningtable\nsofa\n", "glued", ["diningtable"]),
        ("zyxvogk\nsofa\n", "unknown word", ["zyxvogk"]),
        ("кошка\nsofa\n", "unread", ["кошка"]),
        ("background\nsofa\n", "rest class", ["background"]),
        ("others\nsofa\n", "rest class", ["others"]),
        ('["door, double door", "sofa"]', "list", ["door, double door"]),
    ],
)
def test_what_is_doubtful_is_a_warning(
    text: str, kind: str, names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert findings_of(text, capsys) == [("warning", kind, names)]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "text", ["wall\nbus\ngrass\nglass\n", "traffic_light\nkeyboard\nfire hydrant\n"]
)
def test_ordinary_names_are_not_doubtful(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert findings_of(text, capsys) == []


@pytest.mark.usefixtures("folder")
def test_every_double_is_an_error_and_no_model_is_loaded(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = findings_of("cup\ncup\nsky\nSky\n", capsys, 1, "--model", "/no/such/model")
    assert [level for level, _, _ in found] == ["error", "error"]


@pytest.mark.usefixtures("folder")
def test_a_list_with_two_readings_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert findings_of("cup\ncat, dog\n", capsys, 1) == [("error", "unreadable", [])]


@pytest.mark.usefixtures("folder")
def test_a_name_that_the_tower_would_cut_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    long = "-".join(["cat"] * 80)
    assert findings_of(f"sofa\n{long}\n", capsys, 1, "--model", "tiny") == [
        ("error", "too long", [long])
    ]


@pytest.mark.usefixtures("folder")
def test_what_was_understood_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    Path("labels.txt").write_text("0: unlabeled\n1: person\n2: bicycle\n")
    assert run(["names", "check", "labels.txt"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "labels.txt is read as a list of NUMBER: NAME: 3 names, 'unlabeled', 'person', 'bicycle'; "
        "'unlabeled' is asked like any name (--background asks for the rest instead)",
        "  unlabeled",
        "  person",
        "  bicycle",
        "warning: 'unlabeled' is asked as a word like any other name: leave it out and pass "
        "--background for a class of what no name fits",
    ]


@pytest.mark.usefixtures("folder")
def test_a_file_that_is_not_there_is_the_callers_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["names", "check", "absent.txt"]) == 2
    assert "absent.txt does not exist" in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_a_name_that_takes_pixels_of_its_kinds_is_a_warning(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert findings_of("coffee table\ntable\nsofa\n", capsys) == [
        ("warning", "wider name", ["table", "coffee table"])
    ]


@pytest.mark.usefixtures("folder")
def test_groups_of_a_names_file_are_checked(capsys: pytest.CaptureFixture[str]) -> None:
    text = """
    [[groups]]
    name = "empty"
    [[labels]]
    name = "dog"
    group = "animal"
    [[labels]]
    name = "sofa"
    """
    assert findings_of(text, capsys) == [
        ("warning", "group", []),
        ("warning", "group", ["dog"]),
    ]


@pytest.mark.usefixtures("folder")
def test_a_label_that_was_taught_for_another_model_is_an_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    vectors = TaughtVectors.of(np.eye(2), weights_hash="f" * 64, model="other")
    names = Vocabulary.of(["dog", "sofa"]).with_details("dog", LabelDetails(taught=(vectors,)))
    assert findings_of(names.to_toml().decode(), capsys, 1) == [("error", "taught", ["dog"])]


@pytest.mark.usefixtures("folder")
def test_names_are_tried_on_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    Path("names.txt").write_text("cup\ntable\n")
    coffee = str(Path(__file__).parents[2] / "examples" / "coffee.jpg")
    options = ["--out", "out", "--no-suggest"]
    assert run(["names", "try", "names.txt", coffee, *options, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    shares = [label["share"] for label in document["labels"]]
    assert sum(shares) + document["void_share"] == pytest.approx(1, abs=1e-5)
    assert document["pictures"] == 1
    assert "coffee.jpg" in Path("out/names.html").read_text()
    Path("broken.jpg").write_bytes(b"none")
    assert run(["names", "try", "names.txt", coffee, "broken.jpg", *options]) == 1
    assert "failed: broken.jpg" in capsys.readouterr().out
