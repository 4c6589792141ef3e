import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from escnet.data.folder import FolderDataset
from escnet.data.labelled_picture import LabelledPicture
from escnet.evaluation.benchmarks import BENCHMARKS
from escnet.evaluation.panels import PanelModel
from escnet.evaluation.protocol import PAPER_PROTOCOL, WHOLE_VIEW
from escnet.evaluation.report import draw_pictures, report_of, write_report
from escnet.evaluation.result import EvalResult, to_confusion
from escnet.evaluation.target import EvalTarget, folder_targets
from escnet.vocabulary import Vocabulary

CLASSES = ["cat", "<b>dog</b>", "a|b", "bird"]
MATRIX = np.array([[90, 10, 0, 0], [0, 20, 60, 0], [5, 0, 45, 0], [0, 0, 0, 0]])


class Cats:
    """A model that sees a cat everywhere, and remembers what it was asked about."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, item: LabelledPicture, names: Vocabulary) -> np.ndarray:
        assert len(names) == len(CLASSES)
        self.asked.append(item.stem)
        return np.zeros((40, 60), np.uint8)


def result_of(**changes: Any) -> EvalResult:
    hits, truth, found = np.diag(MATRIX), MATRIX.sum(1), MATRIX.sum(0)
    per_class = [
        {
            "name": name,
            "iou": hits[i] / (truth[i] + found[i] - hits[i]) if truth[i] else None,
            "accuracy": hits[i] / truth[i] if truth[i] else None,
            "boundary_iou": 0.5 if truth[i] else None,
            "pixels": truth[i],
        }
        for i, name in enumerate(CLASSES)
    ]
    mious = [0.3, 0.9, None, 0.5, 0.7, 0.1]
    fields: dict[str, Any] = {
        "benchmark": "pets",
        "data": {"root": "data", "num_pictures": 6, "checksum": "c" * 64},
        "model": {"name": "m", "method": "none", "weights_hash": "w" * 64, "settings": {"s": 1}},
        "protocol": WHOLE_VIEW,
        "deviations": ["names: whole -> first"],
        "versions": {"escnet": "0.1"},
        "seconds": 1.5,
        "peak_memory": 2_000_000,
        "classes": CLASSES,
        "confusion": to_confusion(MATRIX),
        "scores": {"miou_in_truth": 0.6251, "miou_in_either": 0.4688, "miou_seen": None},
        "intervals": {"miou_in_truth": (0.5, 0.75)},
        "per_class": per_class,
        "pictures": [
            {"stem": f"pets__{i}", "miou": miou, "pixel_accuracy": miou, "seconds": 0.1}
            for i, miou in enumerate(mious)
        ],
        "skipped": [{"stem": "pets__9", "reason": "label map <torn>"}],
    }
    return EvalResult.model_validate({**fields, **changes})


@pytest.fixture
def target(tmp_path: Path) -> EvalTarget:
    """Six pictures whose truth is a cat on the left; the right side is not labelled."""
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    table = {"datasets": {"pets": {"classes": CLASSES}}}
    (folder / "classes.json").write_text(json.dumps(table))
    for number in range(6):
        labels = np.full((40, 60), 255, np.uint8)
        labels[:, :30] = 0
        Image.fromarray(labels).save(folder / "masks" / f"pets__{number}.png")
        Image.new("RGB", (60, 40), "grey").save(folder / "images" / f"pets__{number}.png")
    return folder_targets(FolderDataset.read(folder))[0]


def lines_of(result: EvalResult) -> list[str]:
    return report_of(result).to_markdown(Path()).splitlines()


def test_the_headline_gives_both_rules_and_what_parts_it_from_the_protocol() -> None:
    lines = lines_of(result_of())
    assert lines[2] == "62.5 % miou_in_truth, 46.9 % miou_in_either, on 6 pictures with 4 classes."
    assert "**Not the benchmark's own protocol: names: whole -> first**" in lines
    assert "**1 pictures were skipped.**" in lines
    assert "| pets__9 | label map \\<torn> |" in lines
    row = next(line for line in lines if line.startswith("| **miou_in_truth**"))
    assert row.endswith("| **62.5** | **50.0** | **75.0** |")
    assert not any("miou_seen" in line for line in lines)


def test_the_other_headline_comes_first_where_it_is_the_result() -> None:
    either = WHOLE_VIEW.with_changes(headline="miou_in_either")
    assert lines_of(result_of(protocol=either))[2].startswith("46.9 % miou_in_either, 62.5 %")


def test_everything_that_moves_the_number_is_in_the_report() -> None:
    text = "\n".join(lines_of(result_of()))
    for value in ("w" * 64, "c" * 64, "| escnet | 0.1 |", "| model: s | 1 |", "2 MB", "6 in data"):
        assert value in text
    assert all(f"| {name} |" in text for name in WHOLE_VIEW.model_dump())


def test_classes_and_the_worst_pairs_of_a_hand_computed_matrix() -> None:
    lines = lines_of(result_of())
    assert "| cat | 85.7 | 90.0 | 50.0 | 100 | 95 |" in lines
    assert "| bird | - | - | - | 0 | 0 |" in lines
    assert "| a\\|b | 40.9 | 90.0 | 50.0 | 50 | 105 |" in lines
    first = lines.index("| in the truth | predicted | pixels | % of the class |")
    assert lines[first + 2 : first + 6] == [
        "| \\<b>dog\\</b> | a\\|b | 60 | 75.0 |",
        "| cat | \\<b>dog\\</b> | 10 | 10.0 |",
        "| a\\|b | cat | 5 | 10.0 |",
        "",
    ]


def test_the_published_table_stands_beside_a_benchmark_and_nothing_else() -> None:
    assert not any("Published" in line for line in lines_of(result_of()))
    benchmark = BENCHMARKS["pas-20"]
    lines = lines_of(
        result_of(
            benchmark="pas-20",
            protocol=PAPER_PROTOCOL,
            deviations=[],
            classes=list(benchmark.classes),
            confusion=to_confusion(np.eye(20, dtype=np.int64)),
            per_class=[],
        )
    )
    assert "## Published results on pas-20" in lines
    assert "| **-** | **m** | **none** | **not known** |  |" in "".join(lines)
    assert any("ESC-Net" in line and line.endswith("| 98.3 |") for line in lines)
    assert "**m has no rank, because it is not the benchmark: pictures: 1449 -> 6**" in lines


def test_the_best_and_worst_pictures_are_drawn_and_shown(
    target: EvalTarget, tmp_path: Path
) -> None:
    predict = Cats()
    result, path = result_of(), tmp_path / "out" / "pets.json"
    answers = PanelModel(title="prediction", protocol=WHOLE_VIEW, predict=predict)
    draw_pictures(result, path, target, answers, 2)
    assert predict.asked == ["pets__1", "pets__4", "pets__5", "pets__0"]
    files = sorted(path.with_suffix(".pictures").iterdir())
    assert [file.name[:-13] for file in files] == ["best-1", "best-2", "worst-1", "worst-2"]
    with Image.open(files[0]) as panels:
        pixels = np.asarray(panels.convert("RGB")).astype(int)
    picture, cat, unlabelled = (pixels[34, left] for left in (10, 80, 80 + 40))
    np.testing.assert_allclose(picture, 128, atol=6)
    assert np.ptp(cat) > 30  # washed in its colour
    assert np.ptp(unlabelled) < 12
    markdown, page = write_report(result, path)
    text = markdown.read_text()
    assert all(f"](pets.pictures/{file.name})" in text for file in files)
    assert "best: pets__1, mIoU 90.0 %" in text
    assert page.read_text().count("data:image/jpeg;base64,") == 4


def test_pictures_of_another_run_are_neither_shown_nor_kept(
    target: EvalTarget, tmp_path: Path
) -> None:
    path = tmp_path / "pets.json"
    answers = PanelModel(title="prediction", protocol=WHOLE_VIEW, predict=Cats())
    draw_pictures(result_of(), path, target, answers, 1)
    (path.with_suffix(".pictures") / "mine.jpg").touch()
    model = {"name": "n", "method": "none", "weights_hash": "x", "settings": {}}
    other = result_of(model=model)
    assert "best:" not in write_report(other, path)[0].read_text()
    draw_pictures(other, path, target, answers, 1)
    assert "best:" in write_report(other, path)[0].read_text()
    names = [file.name for file in path.with_suffix(".pictures").iterdir()]
    assert len(names) == 3  # two, and what is not ours
    draw_pictures(other, path, target, answers, 1)
    assert sorted(names) == sorted(f.name for f in path.with_suffix(".pictures").iterdir())


def test_no_picture_is_both_best_and_worst(target: EvalTarget, tmp_path: Path) -> None:
    predict = Cats()
    answers = PanelModel(title="prediction", protocol=WHOLE_VIEW, predict=predict)
    draw_pictures(result_of(), tmp_path / "pets.json", target, answers, 9)
    assert predict.asked == ["pets__1", "pets__4", "pets__3", "pets__5", "pets__0"]
    draw_pictures(result_of(), tmp_path / "none.json", target, answers, 0)
    assert not (tmp_path / "none.pictures").exists()
