"""The protocol of an evaluation: everything besides weights and data that moves the number.

The paper does not print its protocol; it follows CAT-Seg's evaluation (see docs/paper-notes.md), in
which a picture is squeezed to 640 x 640, seen through four windows of 384 that overlap by a third
and once as a whole, and the two kinds of views are averaged. Of a name that lists synonyms CAT-Seg
asks the first, for every class: a word that is the first of several classes is asked several times.
"""

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from escnet.data.conventions import Conventions
from escnet.data.layout import synonyms_in
from escnet.errors import ConfigError

OF_WINDOWS = ("size", "window", "overlap", "seams", "global_view")  # nothing without windows


class EvalProtocol(BaseModel):
    """How a model is asked and how its answers are scored; stored in every result.

    Attributes:
        view: Whether a picture is seen as a whole or through windows.
        size: Side of the square that a picture is resized to before windows are cut; None keeps
            its own size and aspect.
        window: Side of a window, in pixels of the resized picture.
        overlap: Share of a window that it has in common with the next.
        seams: Whether windows count alike where they overlap, or each fades out.
        global_view: Whether the whole picture is one more view, averaged with the windows.
        template: Sentence that a class name is put into; None is the model's own.
        exact: Whether every name takes part in all work; else a model may reject early those that
            seem to be nowhere in the picture. Results state the numbers that are left.
        names: What of "door, double door" is asked: the string as a whole, its first name, or each
            name by itself, of which the best counts. The first of the classes that share a first
            name has it; "first" asks it once for each of them, "first-once" only once. Where names
            attend to each other, or the likeliest alone are kept, the two answer differently.
        vocabulary: Whether every picture is asked about all class names, or only about those that
            its truth holds (an oracle, which flatters).
        background: Where the last class is the background, whether predictions of the other names
            that are asked count as background, the word itself is asked like a name, or the model's
            rest class has it, for what no name explains; "none" where there is no such class.
        headline: The mean of IoUs that is called the result; both are always reported.
        labels: What was declared of the values in the truth's label maps; None where nothing was.
        names_file: SHA-256 of what a names file says that classes are asked by; None without one.
        level: Of its groups that were scored, 1 for the outermost; None for the labels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    view: Literal["whole", "windows"] = "whole"
    size: int | None = Field(default=None, ge=16, le=16_384)
    window: int = Field(default=384, ge=16, le=16_384)
    overlap: float = Field(default=1 / 3, ge=0, le=0.9)
    seams: Literal["equal", "smooth"] = "equal"
    global_view: bool = True
    template: str | None = None
    exact: bool = True
    names: Literal["whole", "first", "first-once", "synonyms"] = "whole"
    vocabulary: Literal["all", "present"] = "all"
    background: Literal["none", "others", "name", "rest"] = "none"
    headline: Literal["miou_in_truth", "miou_in_either"] = "miou_in_truth"
    labels: Conventions | None = None
    names_file: str | None = None
    level: int | None = Field(default=None, ge=1, le=16)

    @field_validator("template")
    @classmethod
    def _holds_one_name(cls, template: str | None) -> str | None:
        if template is not None and template.count("{}") != 1:
            raise ValueError("write {} once, where the class name goes")
        return template

    @property
    def has_background(self) -> bool:
        """Whether the last class that is scored is the background."""
        return self.background != "none"

    def with_changes(self, **changes: Any) -> "EvalProtocol":
        """The protocol with some fields set; those that are None stay as they are.

        Raises:
            ConfigError: If a value is out of range.
        """
        changes = {name: value for name, value in changes.items() if value is not None}
        try:
            return EvalProtocol.model_validate({**self.model_dump(), **changes})
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"]).replace("_", "-")
            raise ConfigError(
                f"protocol setting {name} is {first.get('input')!r}: {_lowered(first['msg'])}"
            ) from None

    def deviations(self, paper: "EvalProtocol", classes: Iterable[str]) -> list[str]:
        """Where this protocol leaves another, as "field: its value -> ours".

        Settings that move nothing are left out.

        Args:
            paper: The other.
            classes: The class names that are asked; unless one lists synonyms, it does not matter
                which of them are asked.
        """
        idle = set() if self.view == "windows" else set(OF_WINDOWS)
        if all(len(synonyms_in(name)) == 1 for name in classes):
            idle.add("names")
        mine, other = self.model_dump(), paper.model_dump()
        return [
            f"{name}: {_as_text(other[name])} -> {_as_text(mine[name])}"
            for name in mine
            if mine[name] != other[name] and name not in idle
        ]


WHOLE_VIEW = EvalProtocol(exact=False)  # of a folder
PAPER_PROTOCOL = EvalProtocol(view="windows", size=640, names="first")  # of the six benchmarks


def _lowered(message: str) -> str:
    message = message.removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def _as_text(value: object) -> str:
    return "own" if value is None else f"{value:.4g}" if type(value) is float else str(value)
