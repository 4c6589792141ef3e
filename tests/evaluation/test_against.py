import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from escnet.data.folder import FolderDataset
from escnet.data.labelled_picture import LabelledPicture
from escnet.evaluation.against import draw_disagreements, points, write_comparison
from escnet.evaluation.comparison import Comparison, compare
from escnet.evaluation.panels import PanelModel
from escnet.evaluation.protocol import WHOLE_VIEW
from escnet.evaluation.result import EvalResult, ModelUsed
from escnet.evaluation.run import Evaluation
from escnet.evaluation.target import EvalTarget, folder_targets
from escnet.vocabulary import Vocabulary


@pytest.fixture
def target(tmp_path: Path) -> EvalTarget:
    """Six pictures, cat above, dog below."""
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    table = {"datasets": {"pets": {"classes": ["cat", "<dog>"]}}}
    (folder / "classes.json").write_text(json.dumps(table))
    for number in range(6):
        labels = np.zeros((20, 30), np.uint8)
        labels[10:] = 1
        Image.fromarray(labels).save(folder / "masks" / f"pets__{number}.png")
        Image.new("RGB", (30, 20), "grey").save(folder / "images" / f"pets__{number}.png")
    return folder_targets(FolderDataset.read(folder))[0]


class Half:
    """A model that finds the upper part right, up to a row that depends on the picture."""

    def __init__(self, rows: list[int]) -> None:
        self.rows = rows
        self.asked: list[str] = []

    def __call__(self, item: LabelledPicture, names: Vocabulary) -> np.ndarray:
        assert len(names) == 2
        self.asked.append(item.stem)
        found = np.zeros((20, 30), np.uint8)
        found[self.rows[int(item.stem[-1])] :] = 1
        return found


def run(target: EvalTarget, out: Path, predict: Half) -> EvalResult:
    model = ModelUsed(name=out.name, method="none", weights_hash=out.name, settings={})
    evaluation = Evaluation(
        target=target, out=out, predict=predict, protocol=WHOLE_VIEW, model=model
    )
    result = evaluation.run()
    assert result is not None
    return result


@pytest.fixture
def models() -> tuple[Half, Half]:
    """Ours is perfect; theirs loses 0, 2, 4, 0, 6 and 0 rows of dog."""
    return Half([10] * 6), Half([10, 12, 14, 10, 16, 10])


@pytest.fixture
def results(
    target: EvalTarget, tmp_path: Path, models: tuple[Half, Half]
) -> tuple[EvalResult, EvalResult]:
    found = tuple(
        run(target, tmp_path / name, model)
        for name, model in zip(("ours", "theirs"), models, strict=True)
    )
    for model in models:
        model.asked.clear()
    return found[0], found[1]


@pytest.fixture
def comparison(results: tuple[EvalResult, EvalResult], tmp_path: Path) -> Comparison:
    paths = [tmp_path / name / "pets.json" for name in ("ours", "theirs")]
    return compare(results[0], paths[0], results[1], paths[1])


def test_pictures_that_changed_are_drawn_side_by_side(
    target: EvalTarget,
    tmp_path: Path,
    models: tuple[Half, Half],
    results: tuple[EvalResult, EvalResult],
    comparison: Comparison,
) -> None:
    path = tmp_path / "ours" / "pets.against.json"
    answers = [
        PanelModel(title=title, protocol=WHOLE_VIEW, predict=model)
        for title, model in zip(("ours", "theirs"), models, strict=True)
    ]
    both = draw_disagreements(comparison, path, results, target, answers, 2)
    assert models[0].asked == models[1].asked == ["pets__4", "pets__2"]
    assert both[0].path.parent.name == "pets.against.pictures"
    assert both[0].caption.startswith("pets__4: mIoU 100.0 % against")
    assert "at least 30.0 % of the labelled pixels changed" in both[0].caption
    with Image.open(both[0].path) as panels:
        wide = panels.width
    alone = draw_disagreements(comparison, path, results[:1], target, answers[:1], 9)
    assert len(alone) == 3  # the others did not change
    with Image.open(alone[0].path) as panels:
        assert panels.width < wide
    assert len(list(both[0].path.parent.iterdir())) == 3
    assert draw_disagreements(comparison, tmp_path / "x.json", results, target, answers, 0) == []


def test_what_is_written_can_be_read(comparison: Comparison, tmp_path: Path) -> None:
    path = tmp_path / "pets.against.json"
    markdown = write_comparison(comparison, path)
    fields = json.loads(path.read_bytes())
    assert fields.pop("escnet")
    assert Comparison.model_validate(fields) == comparison
    _, _, *lines = markdown.read_text().splitlines()
    assert markdown.name == "pets.against.md"
    assert lines[0] == "# ours against theirs on pets"
    assert "model: theirs -> ours" in lines
    assert "Ours is better in 3 pictures, theirs in 0." in lines
    # 60 rows of dog in all, of which theirs finds 48: IoU 48 / 60; cat 60 / 72
    assert any(
        line.startswith("| **\\<dog>** | **100.0** | **80.0** | **+20.0** |") for line in lines
    )
    assert any(line.startswith("| **cat** | **100.0** | **83.3** | **+16.7** |") for line in lines)
    changed = lines.index("| picture | changed at least, % | ours | theirs | difference |")
    assert [line.split(" | ")[:2] for line in lines[changed + 2 :]] == [
        ["| pets__4", "30.0"],
        ["| pets__2", "20.0"],
        ["| pets__1", "10.0"],
    ]


def test_points_have_their_sign() -> None:
    assert [points(value) for value in (0.1234, -0.05, 0.0, None)] == ["+12.3", "-5.0", "+0.0", "-"]
