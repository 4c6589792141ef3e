"""The records of an evaluation, made by the workers of a Ray cluster."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from escnet.bulk.cluster import Answer, Workforce, answers_of, ray_cluster
from escnet.data.labelled_picture import LabelledPicture
from escnet.errors import EscnetError
from escnet.evaluation.evaluate import Predict, record_item
from escnet.evaluation.model_answers import predict_with, under_protocol
from escnet.evaluation.protocol import EvalProtocol
from escnet.evaluation.records import PictureRecord
from escnet.evaluation.target import EvalTarget, Question
from escnet.inference.segmenter import Reference

_LARGEST_PART = 32  # pictures
_PARTS_EACH = 8  # at least, for each worker, so that all end at about the same time


class _Counted(NamedTuple):
    """What a worker says of a part: records, and what it could not go on for."""

    records: list[PictureRecord]
    error: EscnetError | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationTask:
    """What each worker of an evaluation does; a part is a list of places among the items.

    Attributes:
        target: What is evaluated on.
        protocol: How the model is asked.
        reference: What it is loaded by.
        skip_bad: Whether a picture that cannot be used is left out instead of ending the run.
    """

    target: EvalTarget
    protocol: EvalProtocol
    reference: Reference
    skip_bad: bool

    def start(self, threads: int) -> Answer:
        """As `PartTask` has it."""
        segmenter = under_protocol(self.reference.load(threads=threads), self.protocol)
        question = Question(self.target, self.protocol)
        predict = predict_with(segmenter, self.protocol)

        def answer(part: Sequence[int], _: bool) -> _Counted:
            return self._count(part, question, predict)

        return answer

    def _count(self, part: Sequence[int], question: Question, predict: Predict) -> _Counted:
        records: list[PictureRecord] = []
        for place in part:
            item = self.target.items[place]
            try:
                record = record_item(self.target, question, item, predict, skip_bad=self.skip_bad)
            except EscnetError as error:
                return _Counted(records, error)
            records.append(record)
        return _Counted(records, None)


def records_by_workers(
    items: Sequence[LabelledPicture], task: EvaluationTask, workforce: Workforce
) -> Iterator[PictureRecord]:
    """The records of pictures, in the order in which workers finish them.

    Args:
        items: Some of the target's.
        task: What workers do.
        workforce: The workers.

    Raises:
        ConfigError: If there is no cluster.
        EscnetError: If a picture cannot be used and none is to be skipped, or its worker is killed
            time after time.
    """
    if not items:
        return
    place_of = {item.stem: place for place, item in enumerate(task.target.items)}
    places = [place_of[item.stem] for item in items]
    with ray_cluster(workforce) as crew:
        size = min(_LARGEST_PART, max(1, len(places) // (crew.workers * _PARTS_EACH)))
        parts = [places[start : start + size] for start in range(0, len(places), size)]
        for number, counted in answers_of(parts, task, crew):
            if counted is None:
                first = task.target.items[parts[number][0]].stem
                raise EscnetError(
                    f"workers were killed several times over {first} and "
                    f"{len(parts[number]) - 1} more, for want of memory as a rule: give fewer "
                    "--workers, and --resume"
                )
            yield from counted.records
            if counted.error is not None:
                raise counted.error
