import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from escnet.data.folder import FolderDataset
from escnet.data.labelled_picture import LabelledPicture
from escnet.errors import ConfigError
from escnet.evaluation.comparison import Comparison, check_comparable, compare, records_beside
from escnet.evaluation.metrics import scores_of
from escnet.evaluation.protocol import WHOLE_VIEW
from escnet.evaluation.records import read_records
from escnet.evaluation.result import EvalResult, ModelUsed
from escnet.evaluation.run import Evaluation
from escnet.evaluation.target import EvalTarget, folder_targets
from escnet.vocabulary import Vocabulary

NUM_PICTURES = 8
SIZE_HW = (10, 12)
Predict = Callable[[LabelledPicture, Vocabulary], np.ndarray]


@pytest.fixture
def target(tmp_path: Path) -> EvalTarget:
    """Eight pictures of cats and dogs; one sofa in the first three, and no bird anywhere."""
    random = np.random.default_rng(0)
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    table = {"datasets": {"pets": {"classes": ["cat", "dog", "sofa", "bird"]}}}
    (folder / "classes.json").write_text(json.dumps(table))
    for number in range(NUM_PICTURES):
        labels = random.integers(2, size=SIZE_HW).astype(np.uint8)
        labels[0] = 255
        if number < 3:
            labels[1] = 2
        Image.fromarray(labels).save(folder / "masks" / f"pets__{number}.png")
        Image.fromarray(labels).save(folder / "images" / f"pets__{number}.png")
    return folder_targets(FolderDataset.read(folder))[0]


def mistaken(share: float, seed: int) -> Predict:
    """A model that errs in a share of the pixels."""

    def predict(item: LabelledPicture, names: Vocabulary) -> np.ndarray:
        random = np.random.default_rng([seed, int(item.stem[-1])])
        truth = np.asarray(Image.open(item.image_path))
        guess = random.integers(len(names), size=truth.shape)
        return np.where((random.random(truth.shape) < share) | (truth == 255), guess, truth)

    return predict


def run(target: EvalTarget, out: Path, predict: Predict, **changes: Any) -> tuple[EvalResult, Path]:
    model = ModelUsed(name=out.name, method="none", weights_hash=out.name, settings={"s": (1, 2)})
    fields: dict[str, Any] = {"protocol": WHOLE_VIEW, "model": model, **changes}
    result = Evaluation(target=target, out=out, predict=predict, **fields).run()
    assert result is not None
    return result, out / "pets.json"


@pytest.fixture
def pair(target: EvalTarget, tmp_path: Path) -> tuple[EvalResult, Path, EvalResult, Path]:
    """A good model, and one that is worse."""
    ours = run(target, tmp_path / "good", mistaken(0.1, 1))
    theirs = run(target, tmp_path / "bad", mistaken(0.4, 2))
    return *ours, *theirs


def test_differences_are_those_of_the_two_results(
    pair: tuple[EvalResult, Path, EvalResult, Path],
) -> None:
    ours, _, theirs, _ = pair
    found = compare(*pair)
    for part in found.scores[:-1]:
        mine, other = ours.scores[part.name], theirs.scores[part.name]
        assert part.ours == pytest.approx(mine)
        assert part.theirs == pytest.approx(other)
        assert part.difference == pytest.approx((mine or 0) - (other or 0))
    assert [part.name for part in found.per_class] == ours.classes
    for part, good, bad in zip(found.per_class, ours.per_class, theirs.per_class, strict=True):
        assert part.ours == pytest.approx(good.iou)
        assert part.theirs == pytest.approx(bad.iou)
    mean = found.scores[-1]
    assert mean.name == "mean of pictures"
    assert mean.ours == pytest.approx(np.mean([part.miou or 0 for part in ours.pictures]))
    assert mean.is_clear
    assert found.settings == ["model: bad -> good", "weights hash: bad -> good"]


def test_intervals_agree_with_draws_of_whole_pictures(
    pair: tuple[EvalResult, Path, EvalResult, Path],
) -> None:
    sums = [
        np.array([r.counts.sums(4) for r in read_records(records_beside(path)) if r.counts])
        for path in (pair[1], pair[3])
    ]  # each (P, Q, N)
    chosen = np.random.default_rng(5).integers(NUM_PICTURES, size=(5000, NUM_PICTURES))
    mine, other = (scores_of(part[chosen].sum(1))["pixel_accuracy"] for part in sums)
    draws = mine - other
    part = next(part for part in compare(*pair).scores if part.name == "pixel_accuracy")
    assert part.interval == pytest.approx(np.percentile(draws, [2.5, 97.5]), abs=0.015)
    assert part.is_clear
    unpaired = pair[0].intervals["pixel_accuracy"], pair[2].intervals["pixel_accuracy"]
    low, high = part.interval or (0, 0)
    assert high - low < sum(bounds[1] - bounds[0] for bounds in unpaired)


def test_a_class_in_a_few_pictures_has_no_interval(
    pair: tuple[EvalResult, Path, EvalResult, Path],
) -> None:
    cat, dog, sofa, bird = compare(*pair).per_class
    assert (cat.num_pictures, dog.num_pictures, sofa.num_pictures, bird.num_pictures) == (
        8,
        8,
        3,
        0,
    )
    assert cat.interval is not None
    assert sofa.interval is None
    assert not sofa.is_clear
    assert sofa.difference is not None
    assert bird.difference is None


def test_a_result_does_not_differ_from_itself(
    pair: tuple[EvalResult, Path, EvalResult, Path],
) -> None:
    found = compare(*pair[:2], *pair[:2])
    assert {part.difference for part in found.scores} == {0.0}
    assert {part.interval for part in found.scores} == {(0.0, 0.0)}
    assert not any(part.is_clear for part in [*found.scores, *found.per_class])
    assert (found.num_better, found.num_worse, found.settings) == (0, 0, [])
    assert {part.changed for part in found.pictures} == {0.0}


def test_exchanging_the_results_turns_every_sign(
    pair: tuple[EvalResult, Path, EvalResult, Path],
) -> None:
    there, back = compare(*pair), compare(*pair[2:], *pair[:2])
    assert (there.num_better, there.num_worse) == (back.num_worse, back.num_better)
    for mine, other in zip(there.scores, back.scores, strict=True):
        assert mine.difference == -(other.difference or 0)
        assert mine.interval == pytest.approx(
            tuple(-bound for bound in (other.interval or ())[::-1])
        )


def test_how_much_of_a_picture_surely_changed(target: EvalTarget, tmp_path: Path) -> None:
    """Of 110 labelled pixels, ours calls all cats, theirs calls 22 of them dogs."""

    def cats(item: LabelledPicture, names: Vocabulary) -> np.ndarray:
        assert len(names) == 4
        return np.zeros(SIZE_HW, np.uint8) + int(item.stem == "none")

    def some_dogs(item: LabelledPicture, names: Vocabulary) -> np.ndarray:
        found = cats(item, names)
        if item.stem == "pets__5":
            found[5:7, :11] = 1
        return found

    found = compare(*run(target, tmp_path / "a", cats), *run(target, tmp_path / "b", some_dogs))
    first, *rest = found.pictures
    assert first.stem == "pets__5"
    assert first.changed == pytest.approx(22 / (9 * 12))
    assert {part.changed for part in rest} == {0.0}
    assert found.num_better + found.num_worse == 1


def test_other_data_or_other_names_are_refused(target: EvalTarget, tmp_path: Path) -> None:
    ours = run(target, tmp_path / "all", mistaken(0.1, 1))
    few = run(target, tmp_path / "few", mistaken(0.1, 1), limit=5)
    with pytest.raises(ConfigError, match=r"other pictures or labels \(5 with .* not 8 with"):
        compare(*ours, *few)
    path = target.items[7].image_path
    labels = target.items[7].read_truth().astype(np.uint8)
    Image.fromarray(1 - np.minimum(labels, 1)).save(path.parents[1] / "masks" / "pets__7.png")
    with pytest.raises(ConfigError, match="other pictures or labels"):
        compare(*ours, *run(target, tmp_path / "relabelled", mistaken(0.1, 1)))
    other = ours[0].model_copy(update={"classes": ["cat", "hound", "sofa", "bird"]})
    with pytest.raises(ConfigError, match=r"x\.json scores 4 classes.* differs is 'hound'"):
        check_comparable(target, other, Path("x.json"))
    check_comparable(target, ours[0], Path("x.json"))


def test_records_must_be_those_of_the_result(
    pair: tuple[EvalResult, Path, EvalResult, Path],
) -> None:
    _, ours_path, _, theirs_path = pair
    records = records_beside(ours_path)
    content = records.read_bytes()
    lines = content.splitlines(keepends=True)
    for wrong in (b"".join(lines[:-1]), content + lines[-1]):
        records.write_bytes(wrong)
        with pytest.raises(ConfigError, match=r"pets\.pictures\.jsonl are not those of"):
            compare(*pair)
    records.write_bytes(records_beside(theirs_path).read_bytes())
    with pytest.raises(ConfigError, match=r'model\.name is "bad", not "good"'):
        compare(*pair)
    records.unlink()
    with pytest.raises(ConfigError, match="does not exist"):
        compare(*pair)


def test_records_of_more_pictures_than_the_result_are_no_matter(
    target: EvalTarget, tmp_path: Path
) -> None:
    plain = run(target, tmp_path / "few", mistaken(0.1, 1), limit=5)
    ours = run(target, tmp_path / "ours", mistaken(0.2, 2), limit=5)
    expected = compare(*ours, *plain)
    everything = run(target, tmp_path / "more", mistaken(0.1, 1))[1]
    header = records_beside(plain[1]).read_bytes().splitlines(keepends=True)[0]
    more = records_beside(everything).read_bytes().splitlines(keepends=True)[1:]
    records_beside(plain[1]).write_bytes(b"".join([header, *more]))
    assert compare(*ours, *plain) == expected
    assert len(expected.pictures) == 5


def test_a_comparison_survives_its_file(pair: tuple[EvalResult, Path, EvalResult, Path]) -> None:
    found = compare(*pair)
    assert Comparison.model_validate_json(found.model_dump_json()) == found


def test_names_that_both_models_have_seen_are_compared_apart(
    target: EvalTarget, tmp_path: Path
) -> None:
    def trained_on(name: str, names: list[str] | None, seed: int) -> tuple[EvalResult, Path]:
        model = ModelUsed(name=name, method="none", weights_hash="", settings={}, trained_on=names)
        return run(target, tmp_path / name, mistaken(0.1 * seed, seed), model=model)

    ours = trained_on("ours", ["Dog", "horse"], 1)
    same = trained_on("same", ["dog"], 2)
    found = {part.name: part for part in compare(*ours, *same).scores}
    for name, classes in (("miou_seen", [1]), ("miou_unseen", [0, 2])):
        mean = [
            np.mean([side.per_class[i].iou or 0 for i in classes]) for side in (ours[0], same[0])
        ]
        assert (found[name].ours, found[name].theirs) == pytest.approx(mean)
        assert found[name].difference == pytest.approx(mean[0] - mean[1])
        assert found[name].interval is not None
    for name, names in (("more", ["dog", "cat"]), ("unknown", None)):
        found = {part.name: part for part in compare(*ours, *trained_on(name, names, 3)).scores}
        assert "miou_in_truth" in found
        assert found.keys().isdisjoint({"miou_seen", "miou_unseen"})
