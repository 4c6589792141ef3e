import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from published import PUBLISHED, H, W, png, rows, write_files, write_packed

from escnet.data.check import check_split
from escnet.data.labelled_picture import LabelledPicture
from escnet.data.pascal import BACKGROUND_NAMES
from escnet.data.prepare import prepare
from escnet.evaluation.benchmarks import BENCHMARKS
from escnet.evaluation.protocol import PAPER_PROTOCOL
from escnet.evaluation.result import EvalResult, ModelUsed
from escnet.evaluation.run import Evaluation
from escnet.evaluation.target import Question
from escnet.vocabulary import Vocabulary

MODEL = ModelUsed(name="rows", method="none", weights_hash="0" * 64, settings={})
Answers = dict[str, list[str]]  # for each picture the names that each of its rows shows


def prepared(name: str, folder: Path) -> Path:
    prepare(
        BENCHMARKS[name].split, write_packed(folder / "downloads", PUBLISHED[name]()[0]), folder
    )
    return folder


def scored(name: str, folder: Path, answers: Answers, **settings: Any) -> EvalResult:
    """The result of a model that answers each picture with these names."""
    target = BENCHMARKS[name].read(folder)

    def predict(item: LabelledPicture, names: Vocabulary) -> np.ndarray:
        indices = [names.labels.index(answer) for answer in answers[item.stem]]
        return rows(indices, np.uint16)

    result = Evaluation(
        target=target,
        model=MODEL,
        predict=predict,
        protocol=target.paper,
        out=folder / "out",
        **settings,
    ).run()
    assert result is not None
    return result


@pytest.mark.parametrize(
    ("name", "num_classes", "num_asked", "ignore_label"),
    [
        ("pc-459", 459, 459, 459),
        ("a-150", 150, 150, 255),
        ("pc-59", 59, 59, 255),
        ("pas-20", 20, 20, 255),
        ("pas-20b", 21, 59, 255),
        ("coco-stuff", 171, 171, 255),
        ("camvid", 11, 11, 255),
    ],
)
def test_each_benchmark_scores_its_classes_and_asks_its_names(
    name: str, num_classes: int, num_asked: int, ignore_label: int, tmp_path: Path
) -> None:
    benchmark = BENCHMARKS[name]
    assert (len(benchmark.classes), benchmark.ignore_label) == (num_classes, ignore_label)
    target = benchmark.read(prepared(name, tmp_path))
    asked = Question(target, target.paper).about([0])
    assert asked is not None
    assert len(asked[0]) == num_asked
    assert sorted(set(asked[1].tolist())) == list(range(num_classes))


def test_a_847_scores_its_classes_and_asks_the_first_name_of_each(tmp_path: Path) -> None:
    benchmark = BENCHMARKS["a-847"]
    assert (len(benchmark.classes), benchmark.ignore_label) == (847, 65_535)
    target = benchmark.read(prepared("a-847", tmp_path))
    asked = Question(target, target.paper).about([0])
    assert asked is not None
    firsts = [name.split(", ")[0] for name in benchmark.classes]
    assert Counter(asked[0].queries) == Counter(firsts)
    assert (len(asked[0].queries), len(asked[1])) == (847, 837)


def test_the_eight_benchmarks_are_seen_as_in_the_paper() -> None:
    assert list(BENCHMARKS) == list(PUBLISHED)
    for name, benchmark in BENCHMARKS.items():
        protocol = benchmark.protocol
        assert (protocol.view, protocol.size, protocol.window) == ("windows", 640, 384)
        assert protocol.overlap == pytest.approx(1 / 3)
        assert protocol.global_view
        assert protocol.headline == "miou_in_truth"
        assert protocol.background == ("others" if name == "pas-20b" else "none")
        assert protocol.names == "first"
        assert protocol.deviations(PAPER_PROTOCOL, benchmark.classes) == (
            ["background: none -> others"] if name == "pas-20b" else []
        )


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_truth_as_answer_scores_everything_and_ignored_pixels_count_nowhere(
    name: str, tmp_path: Path
) -> None:
    benchmark = BENCHMARKS[name]
    names = (
        [*benchmark.classes[:-1], BACKGROUND_NAMES[7]]
        if name == "pas-20b"
        else [*benchmark.classes]
    )
    truth = PUBLISHED[name]()[1]
    answers = {
        stem: [names[label if label < len(names) else 0] for label in labels]
        for stem, labels in truth.items()
    }
    result = scored(name, prepared(name, tmp_path), answers)
    assert result.scores["miou_in_truth"] == result.scores["miou_in_either"] == 1.0
    labelled = sum(label < len(names) for labels in truth.values() for label in labels)
    assert result.matrix().sum() == np.trace(result.matrix()) == H * labelled
    assert result.deviations == []
    assert result.data.checksum == check_split(benchmark.split, tmp_path).checksum


def test_predictions_of_the_39_other_names_are_background_in_20b(tmp_path: Path) -> None:
    # the truth: background, aeroplane, tvmonitor, outline, bird? - see `voc_2012` - and 8 bicycles
    folder = prepared("pas-20b", tmp_path)
    classes = BENCHMARKS["pas-20b"].classes
    assert PUBLISHED["pas-20b"]()[1] == {
        "2007_000033": [20, 0, 19, 255, 6, 6, 20, 20],
        "2007_000042": [2] * W,
    }
    bag, wood = BACKGROUND_NAMES[0], BACKGROUND_NAMES[-1]
    first = [bag, "aeroplane", "aeroplane", "aeroplane", bag, classes[6], "aeroplane", wood]
    result = scored(
        "pas-20b", folder, {"2007_000033": first, "2007_000042": [classes[2]] * 6 + [wood] * 2}
    )
    expected = np.zeros((21, 21), np.int64)
    expected[20, 20] = 2  # said bag and wood: both right, though neither says "background"
    expected[20, 0] = 1
    expected[0, 0] = expected[19, 0] = expected[6, 6] = expected[6, 20] = 1
    expected[2, 2], expected[2, 20] = 6, 2
    assert (result.matrix() == H * expected).all()
    # background 2 of 3 + 3, aeroplane 1 of 3, tvmonitor 0, class 6 1 of 2, class 2 6 of 8
    ious = [2 / 6, 1 / 3, 0, 1 / 2, 6 / 8]
    assert result.scores["miou_in_truth"] == pytest.approx(np.mean(ious))


def test_both_rules_differ_where_a_class_is_only_imagined(tmp_path: Path) -> None:
    names = BENCHMARKS["camvid"].classes
    truth = PUBLISHED["camvid"]()[1]
    answers = {stem: [names[min(label, 10)] for label in labels] for stem, labels in truth.items()}
    answers["Seq05VD_f00000"][0] = names[7]  # a fence, which no truth holds, for a pavement
    scores = scored("camvid", prepared("camvid", tmp_path), answers).scores
    ious = [1, 1, 1, 1, 7 / 8, 1, 1]  # sky, building, pole, road, pavement, pedestrian, bicyclist
    assert scores["miou_in_truth"] == pytest.approx(sum(ious) / 7)
    assert scores["miou_in_either"] == pytest.approx(sum(ious) / 8)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (png(rows([12] * W)), "holds raw label 12"),
        (png(rows([1] * 9)), "is 9 x 6, but its picture is 8 x 6"),
        (b"no picture", "cannot be read|of another format"),
    ],
)
def test_a_bad_label_map_ends_the_run_or_is_counted_and_left_out(
    labels: bytes, reason: str, tmp_path: Path
) -> None:
    folder = prepared("camvid", tmp_path)
    write_files(folder, {"CamVid/testannot/0001TP_008550.png": labels})
    answers = {"0001TP_008550": ["sky"] * W, "Seq05VD_f00000": ["pavement"] * W}
    with pytest.raises(Exception, match=rf"0001TP_008550\.png .*({reason})"):
        scored("camvid", folder, answers)
    (folder / "out/camvid.pictures.jsonl").unlink()
    result = scored("camvid", folder, answers, skip_bad=True)
    assert [skipped.stem for skipped in result.skipped] == ["0001TP_008550"]
    assert result.data.num_pictures == 1
    assert result.scores["miou_in_truth"] == 1.0


def test_only_the_names_of_a_847_list_synonyms() -> None:
    lists = {name for name, benchmark in BENCHMARKS.items() if "," in "".join(benchmark.classes)}
    assert lists == {"a-847"}
    assert not any("," in name or ";" in name for name in BACKGROUND_NAMES)


def test_a_file_name_that_is_not_utf_8_is_in_the_checksums(tmp_path: Path) -> None:
    folder = prepared("camvid", tmp_path)
    stem = os.fsdecode(b"Seq05VD_\xff")
    for part in ("test", "testannot"):
        (folder / "CamVid" / part / "Seq05VD_f00000.png").rename(
            folder / "CamVid" / part / f"{stem}.png"
        )
    truth = PUBLISHED["camvid"]()[1]
    truth[stem] = truth.pop("Seq05VD_f00000")
    names = BENCHMARKS["camvid"].classes
    answers = {stem: [names[min(label, 10)] for label in labels] for stem, labels in truth.items()}
    result = scored("camvid", folder, answers)
    assert EvalResult.read(folder / "out" / "camvid.json") == result
    assert stem in [picture.stem for picture in result.pictures]
    assert result.data.checksum == check_split(BENCHMARKS["camvid"].split, folder).checksum
