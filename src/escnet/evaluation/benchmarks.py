"""The benchmarks: published pictures, the names that are asked, and the paper's protocol.

PAS-20b asks the 59 names of Pascal Context; whatever wins among the 39 that are no VOC class
counts as background, which is a class of its own (see docs/how-to/benchmarks.md).
"""

from dataclasses import dataclass
from pathlib import Path

from escnet.data.layout import Split
from escnet.data.pascal import BACKGROUND_NAMES
from escnet.data.splits import SPLITS
from escnet.evaluation.protocol import PAPER_PROTOCOL, EvalProtocol
from escnet.evaluation.target import EvalTarget

_NO_BENCHMARKS = {"coco-stuff-train"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """Pictures, class names and protocol under a published name.

    Attributes:
        split: Where the pictures are and what their labels mean.
        others: Names besides the classes whose predictions count as the last class, background.
        protocol: The paper's.
    """

    split: Split
    others: tuple[str, ...] = ()
    protocol: EvalProtocol = PAPER_PROTOCOL

    @property
    def name(self) -> str:
        """Such as "a-150"."""
        return self.split.name

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that are scored, in label order."""
        return self.split.classes

    @property
    def ignore_label(self) -> int:
        """The label of pixels that count nowhere."""
        return self.split.ignore_label

    def read(self, root: str | Path) -> EvalTarget:
        """The pictures below a folder, as something to be evaluated on; none is opened.

        Raises:
            DatasetError: If the folder does not hold them.
        """
        return EvalTarget(
            name=self.name,
            root=Path(root).resolve().name,
            items=tuple(self.split.read(root)),
            classes=self.classes,
            others=self.others,
            has_background=bool(self.others),
            ignore_label=self.ignore_label,
            paper=self.protocol,
        )


def _benchmark(split: Split) -> Benchmark:
    if split.name != "pas-20b":
        return Benchmark(split=split)
    protocol = PAPER_PROTOCOL.with_changes(background="others")
    return Benchmark(split=split, others=BACKGROUND_NAMES, protocol=protocol)


BENCHMARKS = {
    name: _benchmark(split) for name, split in SPLITS.items() if name not in _NO_BENCHMARKS
}
