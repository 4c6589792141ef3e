import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from escnet.bulk.cluster import Workforce
from escnet.bulk.evaluation import EvaluationTask, records_by_workers
from escnet.data.folder import FolderDataset
from escnet.errors import EscnetError, ImageError
from escnet.evaluation.model_answers import predict_with
from escnet.evaluation.protocol import WHOLE_VIEW
from escnet.evaluation.result import EvalResult, ModelUsed
from escnet.evaluation.run import Evaluation
from escnet.evaluation.target import EvalTarget, folder_targets
from tests.bulk.workers import NAMES, draw_pictures, segmenter_of_colours


@pytest.fixture
def target(tmp_path: Path) -> EvalTarget:
    """Twelve pictures whose label maps are right in most places."""
    folder = tmp_path / "data"
    chance = np.random.default_rng(1)
    (folder / "masks").mkdir(parents=True)
    table = {"datasets": {"squares": {"classes": NAMES}}}
    (folder / "classes.json").write_text(json.dumps(table))
    for path in draw_pictures(folder / "images", 12):
        labels = np.asarray(Image.open(path)).argmax(-1).astype(np.uint8)
        labels[chance.random(labels.shape) < 0.2] = 0
        Image.fromarray(labels).save(folder / "masks" / f"squares__{path.name}")
        path.rename(path.with_name(f"squares__{path.name}"))
    return folder_targets(FolderDataset.read(folder))[0]


def evaluated(target: EvalTarget, out: Path, *, by_workers: bool, skip_bad: bool) -> EvalResult:
    segmenter = segmenter_of_colours()
    assert segmenter.reference is not None
    task = EvaluationTask(
        target=target, protocol=WHOLE_VIEW, reference=segmenter.reference, skip_bad=skip_bad
    )
    evaluation = Evaluation(
        target=target,
        model=ModelUsed(name="colours", method="none", weights_hash="0" * 64, settings={}),
        predict=predict_with(segmenter),
        protocol=WHOLE_VIEW,
        out=out,
        skip_bad=skip_bad,
        record_items=(lambda items: records_by_workers(items, task, Workforce()))
        if by_workers
        else None,
    )
    result = evaluation.run()
    assert result is not None
    return result


def test_scores_and_records_are_those_of_one_process(
    ray: object, target: EvalTarget, tmp_path: Path
) -> None:
    del ray
    target.items[4].image_path.write_text("no picture")
    results = [
        evaluated(target, tmp_path / str(by_workers), by_workers=by_workers, skip_bad=True)
        for by_workers in (False, True)
    ]
    assert results[0].confusion == results[1].confusion
    assert results[0].scores == results[1].scores
    assert results[0].data == results[1].data
    assert results[0].skipped == results[1].skipped
    assert 0 < results[0].headline < 1
    with pytest.raises(ImageError, match="is of another format"):
        evaluated(target, tmp_path / "strict", by_workers=True, skip_bad=False)


def test_no_pictures_need_no_cluster(target: EvalTarget) -> None:
    reference = segmenter_of_colours().reference
    assert reference is not None
    task = EvaluationTask(target=target, protocol=WHOLE_VIEW, reference=reference, skip_bad=False)
    assert list(records_by_workers([], task, Workforce(address="nowhere:1"))) == []


def test_pictures_that_kill_each_worker_end_the_evaluation(
    target: EvalTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("escnet.bulk.evaluation.answers_of", lambda *_: iter([(0, None)]))
    monkeypatch.setattr("escnet.bulk.evaluation.ray_cluster", lambda _: _OneWorker())
    reference = segmenter_of_colours().reference
    assert reference is not None
    task = EvaluationTask(target=target, protocol=WHOLE_VIEW, reference=reference, skip_bad=False)
    with pytest.raises(EscnetError, match=r"killed several times over squares__p0000 and 0 more"):
        list(records_by_workers(target.items, task, Workforce()))


class _OneWorker:
    workers, threads, gpus = 1, 1, 0

    def __enter__(self) -> "_OneWorker":
        return self

    def __exit__(self, *_: object) -> None:
        pass
