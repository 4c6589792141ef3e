"""An evaluation from its first picture to its result file: resumed, shared, skipped over.

OUT/NAME.pictures.jsonl holds the records of finished pictures, OUT/NAME.json the result. Several
processes each take every n-th picture and keep records of their own, which the first process
joins at the end: counts are integers, so the result is that of one process, bit for bit. A record
is gone on with if the picture and its label map are still those that were counted.
"""

import glob
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from escnet.data.check import pair_checksum
from escnet.data.labelled_picture import LabelledPicture
from escnet.errors import ConfigError, DatasetError, ImageError
from escnet.evaluation.evaluate import Predict, record_item
from escnet.evaluation.metrics import QUANTITIES, scores_of
from escnet.evaluation.processes import Processes
from escnet.evaluation.protocol import EvalProtocol
from escnet.evaluation.records import (
    PictureRecord,
    RecordWriter,
    first_difference,
    read_header,
    read_records,
    write_records,
)
from escnet.evaluation.result import (
    FORMAT,
    DataUsed,
    EvalResult,
    ModelUsed,
    software_versions,
    to_confusion,
)
from escnet.evaluation.scoring import score_records
from escnet.evaluation.target import EvalTarget, Question
from escnet.files import check_replaceable, display_path, make_folder
from escnet.inference.machine.process_memory import peak_memory


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProgress:
    """How a run stands after one more picture.

    Attributes:
        status: Whether the picture was counted, or skipped as bad or as finished before.
        miou: Of the pictures that this process has counted or found counted.
    """

    status: Literal["counted", "skipped"]
    miou: float


OnPicture = Callable[[RunProgress], None]
RecordItems = Callable[[Sequence[LabelledPicture]], Iterator[PictureRecord]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One target, one model, one protocol.

    Attributes:
        target: What is evaluated on.
        model: What is told of the model.
        predict: Asks the model.
        protocol: How it is asked and scored.
        out: The folder of the records and the result.
        limit: How many of the target's pictures are taken, from the first on.
        skip_bad: Whether a picture that cannot be used is left out instead of ending the run.
        processes: Which of how many processes this is.
        suffix: What the names of the files have besides the target's.
        record_items: Makes the records of pictures elsewhere, in any order; in this process if
            None.
    """

    target: EvalTarget
    model: ModelUsed
    predict: Predict
    protocol: EvalProtocol
    out: Path
    limit: int | None = None
    skip_bad: bool = False
    processes: Processes = Processes()  # noqa: RUF009 -- frozen
    suffix: str = ""
    record_items: RecordItems | None = None

    @property
    def items(self) -> tuple[LabelledPicture, ...]:
        """The pictures that are taken."""
        return self.target.items[: self.limit]

    @property
    def result_path(self) -> Path:
        """Where the result goes."""
        return self.out / f"{self._name}.json"

    @property
    def records_path(self) -> Path:
        """Where the records of all pictures are in the end."""
        return self.out / f"{self._name}.pictures.jsonl"

    @property
    def _name(self) -> str:
        return f"{self.target.name}{self.suffix}"

    @property
    def header(self) -> dict[str, Any]:
        """What the records of this run have in common."""
        return {
            "format": FORMAT,
            "benchmark": self.target.name,
            "classes": list(self.target.classes),
            "ignore_label": self.target.ignore_label,
            "model": self.model.model_dump(mode="json", exclude={"trained_on"}),
            "protocol": self.protocol.model_dump(mode="json"),
        }

    def run(
        self, *, resume: bool = False, on_picture: OnPicture | None = None
    ) -> EvalResult | None:
        """Evaluate; the result of the first process, None in the others.

        Args:
            resume: Go on with the records of an earlier run.
            on_picture: Called for each picture of this process.

        Raises:
            ConfigError: If there are records already and `resume` is not set, or they are of
                another model, protocol, ignore label or set of classes.
            DatasetError: If a label map cannot be used, or no pixel is labelled.
            ImageError: If a picture cannot be read.
            OutputError: If something cannot be written.
        """
        if self.processes.is_first:
            check_replaceable(self.result_path.with_suffix(s) for s in (".json", ".md", ".html"))
            make_folder(self.out)
            self._check_records(resume)
        self.processes.wait()
        sums_before, finished = self._finished()
        self.processes.wait()  # before anybody adds to what another still reads
        self._count(finished, sums_before, on_picture)
        self.processes.wait()
        if not self.processes.is_first:
            return None
        self._join_records()
        result = self._result()
        result.write(self.result_path)
        return result

    def _check_records(self, resume: bool) -> None:
        parts = self._parts()
        if parts and not resume:
            raise ConfigError(
                f"{display_path(parts[0])} holds records of an earlier run: "
                "add --resume to go on with it, or choose another --out"
            )
        ours = self.header
        for path in parts:
            theirs = read_header(path)
            if theirs is None:
                path.unlink()  # killed before its first line was whole
            elif (difference := first_difference(ours, theirs)) is not None:
                raise ConfigError(
                    f"the records {display_path(path)} are of another run ({difference}): "
                    "choose another --out"
                )
        if self._parts():
            self._join_records()  # of a killed run; whatever is added now is newer

    def _parts(self) -> list[Path]:
        """The files with records, those of earlier runs before those of this one."""
        paths = self.out.glob(f"{glob.escape(self._name)}.pictures.*.jsonl")
        joined = [self.records_path] if self.records_path.exists() else []
        return joined + sorted(path for path in paths if path.suffixes[-2][1:].isdigit())

    def _finished(self) -> tuple[Float[np.ndarray, "Q N"], set[str]]:
        """The sums over this process's pictures that an earlier run has counted, and their names.

        Skipped pictures are not among them: they may have been mended. Nor are those that have
        another picture or label map by now.
        """
        sums = np.zeros((len(QUANTITIES), len(self.target.classes)))
        mine = {item.stem: item for item in self._share()}
        finished: set[str] = set()
        for path in self._parts():
            for record in read_records(path):
                if record.counts is None or record.stem not in mine:
                    continue
                if record.checksum == _checksum_now(mine[record.stem]):
                    finished.add(record.stem)
                    sums += record.counts.sums(len(self.target.classes))
        return sums, finished

    def _share(self) -> tuple[LabelledPicture, ...]:
        return self.items[self.processes.rank :: self.processes.count]

    def _count(
        self, finished: set[str], sums: Float[np.ndarray, "Q N"], on_picture: OnPicture | None
    ) -> None:
        def tell(status: Literal["counted", "skipped"]) -> None:
            if on_picture is not None:
                miou = float(scores_of(sums)[self.protocol.headline])
                on_picture(RunProgress(status=status, miou=miou))

        items = [item for item in self._share() if item.stem not in finished]
        for _ in finished:
            tell("skipped")
        with RecordWriter(self._own_path, self.header) as writer:
            for record in (self.record_items or self._record_items)(items):
                writer.add(record)
                if record.counts is not None:
                    sums += record.counts.sums(len(self.target.classes))
                tell("skipped" if record.counts is None else "counted")

    def _record_items(self, items: Sequence[LabelledPicture]) -> Iterator[PictureRecord]:
        question = Question(self.target, self.protocol)
        for item in items:
            yield record_item(self.target, question, item, self.predict, skip_bad=self.skip_bad)

    @property
    def _own_path(self) -> Path:
        """Where this process adds its records."""
        if self.processes.count == 1:
            return self.records_path
        return self.out / f"{self._name}.pictures.{self.processes.rank}.jsonl"

    def _join_records(self) -> None:
        """One file with the newest record of each picture that has any, in the target's order."""
        parts = self._parts()
        kept: dict[str, PictureRecord] = {}
        for path in parts:
            kept.update((record.stem, record) for record in read_records(path))
        in_order = [kept[item.stem] for item in self.target.items if item.stem in kept]
        write_records(self.records_path, self.header, in_order)
        for path in parts:
            if path != self.records_path:
                path.unlink()

    def _result(self) -> EvalResult:
        taken = {item.stem for item in self.items}
        records = (r for r in read_records(self.records_path) if r.stem in taken)
        scored = score_records(
            records,
            self.target.classes,
            self.model.trained_on,
            has_background=self.protocol.has_background,
        )
        if not scored.matrix.any() and not scored.unanswered.any():
            reason = f": {scored.skipped[0].reason}" if scored.skipped else ""
            raise DatasetError(f"{self.target.name} has no labelled pixel to score{reason}")
        return EvalResult(
            benchmark=self.target.name,
            data=DataUsed(
                root=self.target.root,
                num_pictures=len(scored.pictures),
                checksum=scored.checksum,
            ),
            model=self.model,
            protocol=self.protocol,
            deviations=self._deviations(),
            versions=software_versions(),
            seconds=sum(picture.seconds for picture in scored.pictures),
            peak_memory=peak_memory(),
            classes=list(self.target.classes),
            confusion=to_confusion(scored.matrix),
            unanswered=int(scored.unanswered.sum()),
            scores=scored.scores,
            intervals=scored.intervals,
            per_class=scored.per_class,
            pictures=scored.pictures,
            skipped=scored.skipped,
            reliability=None if scored.reliability is None else scored.reliability.as_lists(),
        )

    def _deviations(self) -> list[str]:
        deviations = self.protocol.deviations(self.target.paper, self.target.classes)
        if len(self.items) < len(self.target.items):
            deviations.append(f"pictures: {len(self.target.items)} -> {len(self.items)}")
        return deviations


def _checksum_now(item: LabelledPicture) -> str | None:
    """What a record of the picture would hold today; None if it cannot be counted.

    Nothing is refused here: the picture is counted again, and whoever does that says what is wrong.
    """
    try:
        return pair_checksum(item.image_path, item.read_truth())
    except (DatasetError, ImageError):
        return None
