"""What a model is called: the grammar of `--model`, read here and nowhere else.

mini | tiny | FOLDER | HUB-ID                       a checkpoint; "tiny" is random, for tests
training-free:WEIGHTS[?CHOICE=VALUE&...]            a CLIP's, SigLIP's or ESC-Net's correlation
training-free:WEIGHTS[?...]+sam:SAM                 the same, sharpened by SAM
proposals:WEIGHTS[?...]+sam:SAM                     SAM's masks, named by it
proposals-crop:WEIGHTS[?...]+sam:SAM                the same, each mask as a picture of its own
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast
from urllib.parse import parse_qsl

from escnet.errors import ConfigError, setting
from escnet.weights.catalog import BUILT_IN_NAME

Kind = Literal["checkpoint", "training-free", "proposals", "proposals-crop"]

TINY = "tiny"  # a small random network, for tests

_KINDS = ("training-free", "proposals", "proposals-crop")
_SAM = "+sam:"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelName:
    """A model's name, taken apart.

    Attributes:
        text: The whole name.
        kind: What is made of the weights.
        weights: The checkpoint, CLIP or SigLIP: "mini", "tiny", a folder, or a hub identifier.
        choices: What follows a question mark, in order.
        sam: SAM's file, folder or hub identifier; None where it takes no part.
    """

    text: str
    kind: Kind
    weights: str
    choices: tuple[tuple[str, str], ...] = ()
    sam: str | None = None

    @classmethod
    def parse(cls, model: object) -> "ModelName":
        """A name taken apart; what it names need not be there.

        Raises:
            ConfigError: If it is empty, or lacks a part.
        """
        if isinstance(model, ModelName):
            return model
        text = str(model) if isinstance(model, str | Path) else ""
        if not text.strip():
            raise ConfigError(
                f"{setting('model')} {model!r} names nothing: give {BUILT_IN_NAME}, a folder, or a "
                "hub identifier"
            )
        kind, colon, rest = text.partition(":")
        if not colon or kind not in _KINDS:
            return cls(text=text, kind="checkpoint", weights=text)
        named, has_sam, sam = rest.partition(_SAM)
        weights, _, query = named.partition("?")
        if not weights or (has_sam and not sam) or (kind != "training-free" and not has_sam):
            needs_sam = has_sam or kind != "training-free"
            form = f"{kind}:CLIP{_SAM}SAM" if needs_sam else f"{kind}:CLIP"
            raise ConfigError(f"model {text!r} lacks a part: write {form}")
        return cls(
            text=text,
            kind=cast("Kind", kind),
            weights=weights,
            choices=tuple(parse_qsl(query, keep_blank_values=True)),
            sam=sam if has_sam else None,
        )

    @property
    def parts(self) -> tuple[str, ...]:
        """The weights that must be on this machine, by their names."""
        parts = (self.weights,) if self.sam is None else (self.weights, self.sam)
        return tuple(part for part in parts if part != TINY)

    @property
    def is_at_hand(self) -> bool:
        """Whether nothing has to be looked for on the model hub."""
        return all(part == BUILT_IN_NAME or Path(part).exists() for part in self.parts)
