"""A calibration: what makes a model's confidences mean what they say, in a file beside the weights.

`escnet calibrate` fits it to labelled pictures. It holds for the weights that it was fitted with,
asked in the same way: another template or windows give other probabilities.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from escnet.annotations.json_text import to_compact_json, to_marked_json
from escnet.errors import ConfigError, WeightsError
from escnet.files import MARK_KEY, display_path, write_file
from escnet.inference.label_maps.curve import Curve
from escnet.inference.methods.model_name import TINY, ModelName
from escnet.small_file import SmallFile
from escnet.weights.catalog import require_local

CALIBRATION_FILE = "calibration.json"  # in a model's folder

_FORMAT = 1
_CURE = "fit it again with escnet calibrate"
_KINDS: Mapping[str, Any] = {
    "weights_hash": str,
    "asked": dict,
    "confidence": dict,
    "presence": dict,
    "fitted_to": dict,
}
_FILE = SmallFile(noun="calibration", error=WeightsError, cure=_CURE, most_bytes=2**20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What a model's probabilities stand for.

    Attributes:
        weights_hash: SHA-256 of the weights that it was fitted with.
        asked: What else probabilities depend on: template, share prior, windows.
        confidence: From the probability of a pixel's own name to how often it is right.
        presence: From the probability of a name where it is surest to how often the picture shows
            it.
        fitted_to: How many pictures of each source.
    """

    weights_hash: str
    asked: Mapping[str, object]
    confidence: Curve
    presence: Curve
    fitted_to: Mapping[str, int]

    @property
    def digest(self) -> str:
        """What results are told by that were made with it."""
        return sha256(to_compact_json(asdict(self))).hexdigest()[:16]

    @classmethod
    def of(cls, asked: "Calibrated | str | Path") -> "Calibrated":
        """A calibration that is asked for: itself, its file, "none", or None for the model's own.

        Raises:
            WeightsError: If the file cannot be read, or holds what no calibration holds.
        """
        if asked is None or asked == "none" or isinstance(asked, Calibration):
            return asked  # type: ignore[return-value]
        return cls.read(asked)

    @classmethod
    def read(cls, path: str | Path) -> "Calibration":
        """The calibration in a file.

        Raises:
            WeightsError: If it cannot be read, or holds what no calibration holds.
        """
        document = _FILE.object_of(path)
        shown = f"calibration {display_path(path)}"
        number = document.pop("format", None)
        document.pop(MARK_KEY, None)
        if number is None:
            raise WeightsError(
                f"{display_path(path)} is no calibration that escnet calibrate wrote: {_CURE}"
            )
        if number != _FORMAT:
            raise WeightsError(
                f"{shown} has the format {number!r:.40}, and this version reads {_FORMAT}: {_CURE}"
            )
        if wrong := {field.name for field in fields(cls)} ^ document.keys():
            has = "an unknown" if min(wrong) in document else "no"
            raise WeightsError(f"{shown} has {has} {min(wrong)!r:.40}: {_CURE}")
        for name, kind in _KINDS.items():
            if type(value := document[name]) is not kind:
                raise WeightsError(f"{shown} has {name} {value!r:.40}: {_CURE}")
        try:
            for name in ("confidence", "presence"):
                document[name] = Curve.of_settings(document[name])
            return cls(**document)
        except ConfigError as error:
            raise WeightsError(f"{shown} is damaged ({error.message}): {_CURE}") from None

    def write(self, path: str | Path) -> None:
        """Write the file; an earlier calibration there is replaced.

        Raises:
            OutputError: If it cannot be written, or another file would be replaced.
        """
        write_file(path, to_marked_json({"format": _FORMAT, **asdict(self)}))

    def check(self, weights_hash: str) -> None:
        """Refuse other weights.

        Raises:
            WeightsError: If it was fitted with others.
        """
        if weights_hash != self.weights_hash:
            raise WeightsError(
                f"the calibration was fitted with other weights ({self.weights_hash[:12]}..., not "
                f"{weights_hash[:12]}...): {_CURE} --model of these"
            )

    def difference(self, asked: Mapping[str, object]) -> str | None:
        """In what the model is asked otherwise than when it was fitted; None for nothing."""
        if (asked.get("windows") is None) != (self.asked.get("windows") is None):
            ways = ("pictures seen as a whole", "windows")
            fitted, now = ways if self.asked.get("windows") is None else ways[::-1]
            return f"{fitted}, not for {now}"  # which have another share prior, too
        for name in sorted({*asked, *self.asked}):
            if asked.get(name) != self.asked.get(name):
                return f"{name} {self.asked.get(name)!r:.80}, not {asked.get(name)!r:.80}"
        return None


def calibration_path(out: Path, model: str) -> Path:
    """Where the calibration of a model is to be written.

    Args:
        out: A file, or the model's own folder.
        model: Its name.

    Raises:
        ConfigError: If it is neither.
    """
    if not out.is_dir():
        if out.suffix != ".json":
            raise ConfigError(
                f"{display_path(out)} is no name of a calibration: write FILE.json, or the model's "
                "own folder"
            )
        if not out.parent.is_dir():
            raise ConfigError(f"folder {display_path(out.parent)} does not exist: create it first")
        return out
    name = ModelName.parse(model)
    is_checkpoint = name.kind == "checkpoint" and name.weights != TINY
    if not is_checkpoint or require_local(name.weights).resolve() != out.resolve():
        raise ConfigError(
            f"{display_path(out)} is not the folder of model {name.text!r}: write FILE.json, and "
            "pass it by --calibration"
        )
    return out / CALIBRATION_FILE


# What a caller asks confidences to be by: "none" leaves probabilities as the model has them.
Calibrated = Calibration | Literal["none"] | None
