import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from escnet.cli.main import run
from escnet.data.folder import FolderDataset
from escnet.data.reading import FolderOptions
from escnet.errors import DatasetError
from escnet.evaluation.predictions import PredictedFolder
from escnet.evaluation.result import EvalResult
from escnet.evaluation.target import EvalTarget, folder_targets

TRUTH = {"a": [[0, 0, 1, 1], [2, 2, 255, 1]], "b": [[0, 0, 0, 0], [1, 1, 1, 1]]}
FOUND = {"a": [[0, 1, 1, 1], [2, 0, 0, 255]], "b": [[0, 0, 0, 0], [1, 1, 1, 0]]}
NAMES = ["wall", "cat", "cup"]


def put(path: Path, values: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(values, np.uint8)).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "kitchen"
    for stem, labels in TRUTH.items():
        put(root / "images" / f"{stem}.png", np.full((2, 4, 3), 120))
        put(root / "masks" / f"{stem}.png", labels)
    (root / "classes.txt").write_text("\n".join(NAMES))
    return root


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    folder = tmp_path / "deeplab"
    for stem, labels in FOUND.items():
        put(folder / f"{stem}.png", labels)
    return folder


def target_of(root: Path) -> EvalTarget:
    (target,) = folder_targets(FolderDataset.read(root))
    return target


def labels_in(folder: Path, root: Path, stem: str = "a") -> list[list[int]]:
    target = target_of(root)
    (item,) = (item for item in target.items if item.stem == stem)
    return PredictedFolder(folder, [target]).labels_of(target, item).tolist()


def test_label_maps_are_scored_by_both_rules_without_a_model(
    root: Path, answers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--predictions", str(answers), "--out", str(tmp_path / "out"), "--pictures", "0"]
    assert run(["evaluate", str(root), *arguments]) == 0
    result = EvalResult.read(tmp_path / "out" / "kitchen-deeplab.json")
    # wall: 5 of 6 found, 2 beside it: 5/8; cat: 5 of 7, 1 beside it: 5/8; cup: 1 of 2: 1/2.
    # (the truth's ignored pixel, which the answer calls wall, is in none of them)
    assert [part.iou for part in result.per_class] == pytest.approx([5 / 8, 5 / 8, 1 / 2])
    assert result.scores["miou_in_truth"] == pytest.approx((5 / 8 + 5 / 8 + 1 / 2) / 3)
    assert result.scores["pixel_accuracy"] == pytest.approx(11 / 15)
    assert result.matrix().tolist() == [[5, 1, 0], [1, 5, 0], [1, 0, 1]]
    assert result.unanswered == 1
    assert result.model.name == "deeplab"
    assert result.model.method == "label maps on disk"
    assert result.benchmark == "kitchen"
    assert result.deviations == []
    assert "kitchen: 2 pictures, deeplab" in capsys.readouterr().out


def test_what_is_predicted_nowhere_in_truth_counts_under_the_other_rule(
    root: Path, answers: Path, tmp_path: Path
) -> None:
    put(root / "masks" / "a.png", [[0, 0, 1, 1], [0, 0, 255, 1]])  # no cup any more
    arguments = ["--predictions", str(answers), "--out", str(tmp_path / "out"), "--pictures", "0"]
    assert run(["evaluate", str(root), *arguments]) == 0
    scores = EvalResult.read(tmp_path / "out" / "kitchen-deeplab.json").scores
    # wall: 6 of 8 found, 1 beside it: 6/9; cat: 5/8; cup is predicted, and not in the truth
    assert scores["miou_in_truth"] == pytest.approx((6 / 9 + 5 / 8) / 2)
    assert scores["miou_in_either"] == pytest.approx((6 / 9 + 5 / 8 + 0) / 3)


def test_torchmetrics_finds_the_same_ious(root: Path, answers: Path, tmp_path: Path) -> None:
    import torch
    from torchmetrics.classification import MulticlassJaccardIndex

    put(answers / "a.png", [[0, 1, 1, 1], [2, 0, 0, 2]])  # each pixel has an answer
    metric = MulticlassJaccardIndex(num_classes=3, ignore_index=255, average="none")
    for stem, labels in TRUTH.items():
        found = np.asarray(Image.open(answers / f"{stem}.png")).astype(np.int64)
        metric.update(torch.from_numpy(found), torch.tensor(labels))
    arguments = ["--predictions", str(answers), "--out", str(tmp_path / "out"), "--pictures", "0"]
    assert run(["evaluate", str(root), *arguments]) == 0
    result = EvalResult.read(tmp_path / "out" / "kitchen-deeplab.json")
    assert [part.iou for part in result.per_class] == pytest.approx(metric.compute().tolist())


def test_values_mean_what_they_mean_in_the_truth(root: Path, answers: Path) -> None:
    assert labels_in(answers, root) == [[0, 1, 1, 1], [2, 0, 0, 3]]
    (root / "classes.json").write_text('{"classes": ["cat", "cup"], "zero_is": "unlabelled"}')
    (root / "classes.txt").unlink()
    assert labels_in(answers, root) == [[2, 0, 0, 0], [1, 2, 2, 2]]  # 2: of no class


def test_a_list_of_the_predictions_own_decides_by_name(root: Path, answers: Path) -> None:
    (answers / "classes.txt").write_text("Cup\nwall\nbackground\n")
    put(answers / "a.png", [[0, 1, 1, 2], [0, 0, 1, 255]])
    assert labels_in(answers, root) == [[2, 0, 0, 3], [2, 2, 0, 3]]


def test_colours_of_a_list_decide_too(root: Path, answers: Path) -> None:
    (answers / "labelmap.txt").write_text("cat:9,8,7::\nwall:1,2,3::\ncup:0,0,0::\n")
    for stem in FOUND:
        put(answers / f"{stem}.png", [[(9, 8, 7), (1, 2, 3), (0, 0, 0), (9, 8, 7)]] * 2)
    assert labels_in(answers, root) == [[1, 0, 2, 1]] * 2


def test_what_escnet_segment_wrote_goes_by_its_own_names(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "segmented"
    names = ["--classes", "cup, wall, cat", "--format", "labels,overlay,json"]
    model = ["--model", "tiny", "--device", "cpu", "--out", str(out)]
    assert run(["segment", str(root / "images"), *names, *model]) == 0
    stored = np.asarray(Image.open(out / "a.labels.png"))
    expected = np.array([2, 0, 1])[stored]
    assert labels_in(out, root) == expected.tolist()
    capsys.readouterr()


def test_coco_predictions_are_class_indices(root: Path, answers: Path) -> None:
    table = {
        "images": [{"id": 1, "file_name": "a.png", "height": 2, "width": 4}],
        "categories": [{"id": 50 + i, "name": name} for i, name in enumerate(NAMES)],
        "annotations": [],
    }
    (root / "coco.json").write_text(json.dumps(table))
    dataset = FolderDataset.read(root / "coco.json")
    (target,) = folder_targets(dataset)
    (answers / "b.png").unlink()
    predicted = PredictedFolder(answers, [target])
    assert predicted.labels_of(target, target.items[0]).tolist() == [[0, 1, 1, 1], [2, 0, 0, 3]]


def test_missing_extra_and_wrongly_sized_label_maps_are_named(root: Path, answers: Path) -> None:
    target = target_of(root)
    put(answers / "b.png", [[0, 0]])
    with pytest.raises(DatasetError, match=r"prediction .*b\.png is 2 x 1, but its picture is 4 x"):
        labels_in(answers, root, "b")
    (answers / "b.png").rename(answers / "c.png")
    with pytest.raises(DatasetError, match="holds 1 label maps of no picture, the first is c"):
        PredictedFolder(answers, [target])
    (answers / "c.png").unlink()
    with pytest.raises(DatasetError, match="lacks the label maps of 1 of 2 pictures, the first is"):
        PredictedFolder(answers, [target])
    PredictedFolder(answers, [target], limit=1)
    PredictedFolder(answers, [target], may_lack=True)


def test_stray_labels_and_names_that_the_truth_lacks_are_refused(root: Path, answers: Path) -> None:
    put(answers / "a.png", [[9] * 4] * 2)
    with pytest.raises(DatasetError, match=r"a\.png holds label 9"):
        labels_in(answers, root)
    (answers / "classes.txt").write_text("wall\ndog\n")
    with pytest.raises(DatasetError, match="has 1 names that kitchen lacks, the first is 'dog'"):
        PredictedFolder(answers, [target_of(root)])


@pytest.mark.parametrize("option", [["--template", "a {}"], ["--share-prior", "0.5"]])
def test_how_a_model_is_asked_is_refused_beside_label_maps(
    option: list[str], root: Path, answers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate", str(root), "--predictions", str(answers), *option]) == 2
    assert "but --predictions asks none" in capsys.readouterr().err


def test_other_label_maps_are_another_run(
    root: Path, answers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--predictions", str(answers), "--out", str(tmp_path / "out"), "--pictures", "0"]
    assert run(["evaluate", str(root), *arguments]) == 0
    assert run(["evaluate", str(root), *arguments, "--resume"]) == 0
    put(answers / "b.png", [[0] * 4] * 2)
    assert run(["evaluate", str(root), *arguments, "--resume"]) == 2
    assert "of another run (model.weights_hash is" in capsys.readouterr().err


def test_two_folders_of_label_maps_are_compared_picture_by_picture(
    root: Path, answers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    perfect = tmp_path / "people"
    for stem, labels in TRUTH.items():
        put(perfect / f"{stem}.png", labels)
    common = ["--out", str(out), "--pictures", "1"]
    assert run(["evaluate", str(root), "--predictions", str(perfect), *common]) == 0
    other = ["--against", str(out / "kitchen-people.json")]
    assert run(["evaluate", str(root), "--predictions", str(answers), *common, *other]) == 0
    assert "0 pictures better, 2 worse" in capsys.readouterr().out


def test_a_declared_convention_is_in_the_result_and_moves_it(
    root: Path, answers: Path, tmp_path: Path
) -> None:
    arguments = ["--predictions", str(answers), "--out", str(tmp_path / "out"), "--pictures", "0"]
    assert run(["evaluate", str(root), *arguments, "--ignore", "0"]) == 0
    result = EvalResult.read(tmp_path / "out" / "kitchen-deeplab.json")
    assert result.classes == ["cat", "cup"]
    assert result.protocol.labels is not None
    assert result.protocol.labels.ignore == (0,)
    assert result.deviations == []
    # cat: 5 of 7 found, none beside it where the truth counts; cup: 1 of 2
    assert [part.iou for part in result.per_class] == pytest.approx([5 / 7, 1 / 2])
    assert FolderOptions().conventions.is_plain
