import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from escnet.data.folder import FolderDataset
from escnet.data.labelled_picture import LabelledPicture
from escnet.errors import ConfigError, DatasetError, ImageError, OutputError
from escnet.evaluation.comparison import compare
from escnet.evaluation.metrics import SCORES, ConfusionMatrix
from escnet.evaluation.processes import Processes
from escnet.evaluation.protocol import WHOLE_VIEW
from escnet.evaluation.records import read_records
from escnet.evaluation.result import EvalResult, ModelUsed
from escnet.evaluation.run import Evaluation, RunProgress
from escnet.evaluation.target import folder_targets
from escnet.vocabulary import Vocabulary

NUM_PICTURES = 6
SIZE_HW = (12, 16)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six pictures of random labels; the fourth has none."""
    random = np.random.default_rng(0)
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    table = {"datasets": {"pets": {"classes": ["cat", "dog", "sofa", "bird"]}}}
    (folder / "classes.json").write_text(json.dumps(table))
    for number in range(NUM_PICTURES):
        labels = random.integers(3, size=SIZE_HW).astype(np.uint8)  # no bird
        labels[random.random(SIZE_HW) < (1 if number == 3 else 0.2)] = 255
        Image.fromarray(labels).save(folder / "masks" / f"pets__{number}.png")
        Image.fromarray(random.integers(256, size=(*SIZE_HW, 3)).astype(np.uint8)).save(
            folder / "images" / f"pets__{number}.png"
        )
    return folder


def guess(item: LabelledPicture, names: Vocabulary) -> np.ndarray:
    """A model whose answer depends on nothing but the picture and the names."""
    pixels = np.asarray(Image.open(item.image_path))
    return (pixels[..., 0] % len(names)).astype(np.uint8)


class Killed(BaseException):
    """As by a signal: nothing of ours catches it."""


def killed_at(number: int) -> Callable[[LabelledPicture, Vocabulary], np.ndarray]:
    def predict(item: LabelledPicture, names: Vocabulary) -> np.ndarray:
        if item.stem == f"pets__{number}":
            raise Killed
        return guess(item, names)

    return predict


def evaluation(folder: Path, out: Path, **settings: Any) -> Evaluation:
    target = folder_targets(FolderDataset.read(folder))[0]
    model = ModelUsed(name="guess", method="none", weights_hash="0" * 64, settings={"a": 1})
    chosen: dict[str, Any] = {"protocol": WHOLE_VIEW, "predict": guess, "model": model, **settings}
    return Evaluation(target=target, out=out, **chosen)


def run(folder: Path, out: Path, *, resume: bool = False, **settings: Any) -> EvalResult:
    result = evaluation(folder, out, **settings).run(resume=resume)
    assert result is not None
    return result


def lasting(result: EvalResult) -> dict[str, Any]:
    """The result without times and memory."""
    pictures = [picture.model_copy(update={"seconds": 0}) for picture in result.pictures]
    update = {"seconds": 0, "peak_memory": None, "pictures": pictures}
    return result.model_copy(update=update).model_dump()


def test_the_matrix_is_the_sum_over_pictures(folder: Path, tmp_path: Path) -> None:
    matrix = ConfusionMatrix(4)
    target = folder_targets(FolderDataset.read(folder))[0]
    for item in target.items:
        matrix.add(item.read_truth(), guess(item, Vocabulary.of(target.classes)))
    result = run(folder, tmp_path / "out")
    np.testing.assert_array_equal(result.matrix(), matrix.counts)
    assert result.headline == matrix.scores().miou_in_truth
    assert result.scores["miou_in_either"] == matrix.scores().miou_in_either
    assert result.scores["miou_in_either"] < result.scores["miou_in_truth"]  # bird is predicted


def test_the_result_file_holds_the_result(folder: Path, tmp_path: Path) -> None:
    result = run(folder, tmp_path / "out")
    assert EvalResult.read(tmp_path / "out" / "pets.json") == result
    assert result.scores.keys() == set(SCORES)
    assert result.data.num_pictures == NUM_PICTURES
    assert result.data.root == "data"
    assert result.pictures[3].miou is None  # it has no label
    assert [part.name for part in result.per_class] == ["cat", "dog", "sofa", "bird"]
    assert result.per_class[3].iou is None
    assert sum(part.pixels for part in result.per_class) == result.matrix().sum()
    assert result.deviations == []


@pytest.mark.parametrize("ending", [".json", ".md", ".html"])
def test_a_file_that_escnet_did_not_write_stays(folder: Path, tmp_path: Path, ending: str) -> None:
    path = tmp_path / "out" / f"pets{ending}"
    path.parent.mkdir()
    path.write_text("mine")
    with pytest.raises(OutputError, match=f"{path.name} is no result of escnet"):
        run(folder, path.parent)
    assert {one.name: one.read_text() for one in path.parent.iterdir()} == {path.name: "mine"}


def test_a_killed_run_goes_on_where_it_was(folder: Path, tmp_path: Path) -> None:
    plain = run(folder, tmp_path / "plain")
    out, asked = tmp_path / "out", []
    with pytest.raises(Killed):
        run(folder, out, predict=killed_at(4))
    with (out / "pets.pictures.jsonl").open("ab") as file:
        file.write(b'{"stem":"pets__4","confusion":[[0')  # a torn line

    def remember(item: LabelledPicture, names: Vocabulary) -> np.ndarray:
        asked.append(item.stem)
        return guess(item, names)

    assert lasting(run(folder, out, resume=True, predict=remember)) == lasting(plain)
    assert asked == ["pets__4", "pets__5"]


def test_a_finished_run_is_not_run_again(folder: Path, tmp_path: Path) -> None:
    plain = run(folder, tmp_path)
    assert lasting(run(folder, tmp_path, resume=True, predict=killed_at(0))) == lasting(plain)
    with pytest.raises(ConfigError, match="add --resume"):
        run(folder, tmp_path)


def test_records_of_other_settings_are_refused(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path)
    oracle = WHOLE_VIEW.with_changes(vocabulary="present")
    with pytest.raises(ConfigError, match=r'protocol\.vocabulary is "all", not "present"'):
        run(folder, tmp_path, resume=True, protocol=oracle)
    model = ModelUsed(name="guess", method="none", weights_hash="1" * 64, settings={"a": 1})
    with pytest.raises(ConfigError, match=r"model\.weights_hash"):
        run(folder, tmp_path, resume=True, model=model)


def relabel(path: Path) -> None:
    """Exchange cats and dogs in a label map."""
    labels = np.asarray(Image.open(path))
    Image.fromarray(np.where(labels < 2, 1 - labels, labels)).save(path)


@pytest.mark.parametrize("changed", ["masks", "images"])
def test_a_picture_that_has_changed_is_counted_again(
    changed: str, folder: Path, tmp_path: Path
) -> None:
    out, asked = tmp_path / "out", []
    run(folder, out)
    path = folder / changed / "pets__2.png"
    if changed == "masks":
        relabel(path)
    else:
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)

    def remember(item: LabelledPicture, names: Vocabulary) -> np.ndarray:
        asked.append(item.stem)
        return guess(item, names)

    plain = run(folder, tmp_path / "plain")
    assert lasting(run(folder, out, resume=True, predict=remember)) == lasting(plain)
    assert asked == ["pets__2"]
    assert lasting(run(folder, out, resume=True, predict=killed_at(2))) == lasting(plain)


def test_a_label_map_that_was_spoilt_after_it_was_counted_is_no_longer_counted(
    folder: Path, tmp_path: Path
) -> None:
    run(folder, tmp_path)
    path = folder / "masks" / "pets__2.png"
    good = path.read_bytes()
    path.write_bytes(good[:60])
    with pytest.raises(DatasetError, match=r"pets__2\.png"):
        run(folder, tmp_path, resume=True)
    result = run(folder, tmp_path, resume=True, skip_bad=True)
    assert [skipped.stem for skipped in result.skipped] == ["pets__2"]
    path.write_bytes(good)
    assert run(folder, tmp_path, resume=True).data.num_pictures == NUM_PICTURES


def test_another_background_index_is_counted_again_and_another_ignore_index_refused(
    folder: Path, tmp_path: Path
) -> None:
    path = folder / "masks" / "pets__0.png"
    labels = np.array(Image.open(path))
    labels[0], labels[1] = 254, 3
    Image.fromarray(labels).save(path)
    table = json.loads((folder / "classes.json").read_text())
    table["datasets"]["pets"]["has_background"] = True

    def with_indices(**indices: int) -> None:
        (folder / "classes.json").write_text(json.dumps({**table, **indices}))

    with_indices()
    run(folder, tmp_path)
    with_indices(background_index=253)
    with pytest.raises(DatasetError, match=r"pets__0\.png holds label 254"):
        run(folder, tmp_path, resume=True)
    with_indices(ignore_index=250)
    with pytest.raises(ConfigError, match="ignore_label is 255, not 250"):
        run(folder, tmp_path, resume=True)


def test_a_run_killed_before_its_first_line_was_whole_starts_anew(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "pets.pictures.jsonl").write_bytes(b'{"format":1,"bench')
    assert run(folder, tmp_path, resume=True).data.num_pictures == NUM_PICTURES


def test_a_damaged_record_is_named_with_its_line(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path)
    path = tmp_path / "pets.pictures.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"nonsense\n", *lines[3:]]))
    with pytest.raises(ConfigError, match=r"line 3 of .*pets\.pictures\.jsonl"):
        run(folder, tmp_path, resume=True)


@pytest.mark.parametrize(
    ("part", "other"),
    [
        (b'"pixels":', b'"pixels":"many","x":'),
        (b'"pixels":', b'"pixels":0,"x":'),
        (b'"pixels":', b'"pixels":3,"x":'),  # fewer than were counted
        (b'"confusion":[[', b'"confusion":[[7,'),  # columns of unequal length
        (b'"confusion":[[0', b'"confusion":[[4'),  # one past the last class
        (b'"confusion":[[0', b'"confusion":[[-1'),
        (b'"confusion":[[0', b'"confusion":[[0.5'),
        (b'"boundary":[[0', b'"boundary":[[4'),
        (b'"seconds":', b'"seconds":[],"x":'),
        (b'"stem"', b'"name"'),
    ],
)
def test_a_record_that_cannot_be_counted_is_named_with_its_line(
    part: bytes, other: bytes, folder: Path, tmp_path: Path
) -> None:
    run(folder, tmp_path)
    path = tmp_path / "pets.pictures.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    assert part in lines[2]
    path.write_bytes(b"".join([*lines[:2], lines[2].replace(part, other, 1), *lines[3:]]))
    with pytest.raises(ConfigError, match=r"line 3 of .*pets\.pictures\.jsonl"):
        run(folder, tmp_path, resume=True)


def test_processes_share_the_pictures_and_their_matrix_is_that_of_one(
    folder: Path, tmp_path: Path
) -> None:
    plain = run(folder, tmp_path / "plain")

    class Unhurried(Processes):
        def wait(self) -> None:
            """One after the other, so that nobody needs to be waited for."""

    out = tmp_path / "out"
    for rank in (2, 1):
        part = Unhurried(rank=rank, count=3)
        out.mkdir(exist_ok=True)
        assert evaluation(folder, out, processes=part).run() is None
    result = run(folder, out, processes=Unhurried(rank=0, count=3), resume=True)
    assert lasting(result) == lasting(plain)
    assert [path.name for path in out.iterdir() if "pictures" in path.name] == [
        "pets.pictures.jsonl"
    ]


def test_what_a_later_run_has_counted_stands_above_the_records_of_killed_processes(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "old").mkdir()
    out = tmp_path / "out"
    run(folder, tmp_path / "old")
    out.mkdir()
    old = (tmp_path / "old" / "pets.pictures.jsonl").read_bytes()
    (out / "pets.pictures.1.jsonl").write_bytes(old)  # of a run that was killed
    relabel(folder / "masks" / "pets__2.png")
    plain = run(folder, tmp_path / "plain")
    assert lasting(run(folder, out, resume=True)) == lasting(plain)
    assert [path.name for path in out.glob("*.jsonl")] == ["pets.pictures.jsonl"]


def test_more_pictures_can_be_added_to_a_limited_run(folder: Path, tmp_path: Path) -> None:
    few = run(folder, tmp_path, limit=2)
    assert few.data.num_pictures == 2
    assert few.deviations == ["pictures: 6 -> 2"]
    plain = run(folder, tmp_path / "plain")
    assert lasting(run(folder, tmp_path, resume=True)) == lasting(plain)
    assert lasting(run(folder, tmp_path, resume=True, limit=2)) == lasting(few)


def test_a_bad_picture_ends_the_run_and_leaves_the_records(folder: Path, tmp_path: Path) -> None:
    path = folder / "masks" / "pets__2.png"
    good = path.read_bytes()
    path.write_bytes(good[:60])
    with pytest.raises(DatasetError, match=r"pets__2\.png"):
        run(folder, tmp_path)
    records = list(read_records(tmp_path / "pets.pictures.jsonl"))
    assert [record.stem for record in records] == ["pets__0", "pets__1"]
    path.write_bytes(good)
    assert run(folder, tmp_path, resume=True).data.num_pictures == NUM_PICTURES


def test_bad_pictures_can_be_left_out_and_are_listed(folder: Path, tmp_path: Path) -> None:
    mended = (folder / "masks" / "pets__0.png").read_bytes()
    (folder / "masks" / "pets__0.png").write_bytes(b"no picture")
    (folder / "images" / "pets__1.png").write_bytes(b"no picture")
    Image.new("L", (3, 3)).save(folder / "masks" / "pets__4.png")
    Image.new("L", (16, 12), 9).save(folder / "masks" / "pets__5.png")
    result = run(folder, tmp_path, skip_bad=True)
    assert result.data.num_pictures == 2
    reasons = {skipped.stem: skipped.reason for skipped in result.skipped}
    assert list(reasons) == ["pets__0", "pets__1", "pets__4", "pets__5"]
    assert all(stem in reason for stem, reason in reasons.items())
    assert "3 x 3, but its picture is 16 x 12" in reasons["pets__4"]
    assert "label 9" in reasons["pets__5"]
    (folder / "masks" / "pets__0.png").write_bytes(mended)
    again = run(folder, tmp_path, skip_bad=True, resume=True)
    assert again.data.num_pictures == 3
    assert len(again.skipped) == 3
    with pytest.raises(ImageError, match=r"pets__1\.png"):
        run(folder, tmp_path, resume=True)


def test_without_a_labelled_pixel_there_is_no_result(folder: Path, tmp_path: Path) -> None:
    for path in (folder / "masks").iterdir():
        Image.new("L", (16, 12), 255).save(path)
    with pytest.raises(DatasetError, match="pets has no labelled pixel"):
        run(folder, tmp_path)


def test_progress_is_told_of_every_picture_with_the_miou_so_far(
    folder: Path, tmp_path: Path
) -> None:
    told: list[RunProgress] = []
    with pytest.raises(Killed):
        evaluation(folder, tmp_path, predict=killed_at(4)).run(on_picture=told.append)
    assert len(told) == 4
    told.clear()
    result = evaluation(folder, tmp_path).run(resume=True, on_picture=told.append)
    assert [progress.status for progress in told] == ["skipped"] * 4 + ["counted"] * 2
    assert result is not None
    assert told[-1].miou == result.headline


def test_other_data_has_another_checksum(folder: Path, tmp_path: Path) -> None:
    first = run(folder, tmp_path / "1").data.checksum
    path = folder / "masks" / "pets__0.png"
    Image.open(path).save(path, compress_level=0)  # the same labels in other bytes
    assert run(folder, tmp_path / "2").data.checksum == first
    Image.new("L", (16, 12)).save(path)
    assert run(folder, tmp_path / "3").data.checksum != first


def test_classes_that_the_model_was_trained_on_are_scored_apart(
    folder: Path, tmp_path: Path
) -> None:
    model = ModelUsed(
        name="m", method="none", weights_hash="", settings={}, trained_on=["Dog", "horse"]
    )
    result = run(folder, tmp_path, model=model)
    assert result.scores["miou_seen"] == pytest.approx(result.per_class[1].iou)
    assert result.scores["miou_unseen"] == pytest.approx(
        sum(result.per_class[index].iou or 0 for index in (0, 2)) / 2
    )


def test_the_background_is_neither_seen_nor_unseen(folder: Path, tmp_path: Path) -> None:
    table = {"datasets": {"pets": {"classes": ["cat", "dog"], "has_background": True}}}
    (folder / "classes.json").write_text(json.dumps(table))
    for path in (folder / "masks").iterdir():
        labels = np.asarray(Image.open(path))
        Image.fromarray(np.where(labels == 2, np.uint8(254), labels)).save(path)
    (target,) = folder_targets(FolderDataset.read(folder), with_background=True)
    model = ModelUsed(name="m", method="none", weights_hash="", settings={}, trained_on=["Dog"])
    result = Evaluation(
        target=target,
        out=tmp_path / "out",
        protocol=WHOLE_VIEW.with_changes(background="rest"),
        predict=guess,
        model=model,
    ).run()
    assert result is not None
    path = tmp_path / "out" / "pets.json"
    cat, dog, background = (one.iou for one in result.per_class)
    assert background == 0  # the model never says it
    assert (result.scores["miou_seen"], result.scores["miou_unseen"]) == (dog, cat)
    compared = {part.name: part.ours for part in compare(result, path, result, path).scores}
    assert (compared["miou_seen"], compared["miou_unseen"]) == pytest.approx((dog, cat))
