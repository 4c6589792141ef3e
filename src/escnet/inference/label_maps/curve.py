"""A curve from a model's probabilities to confidences that mean what they say.

A trained network's probability of 0.8 may be right in 60 of 100 cases, or in 95. The curve is a
logistic one in the logit (Platt, "Probabilistic outputs for support vector machines", 1999): a
temperature and a shift. It never falls, so it never changes which label wins.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32

from escnet.errors import ConfigError
from escnet.inference.label_maps.probability import logits_of, sigmoid
from escnet.towers.checks import is_within

LARGEST_LOGIT = 8.0  # a probability of 0.9997; half precision tells no higher ones apart
LEAST_SLOPE = 1e-3

_LARGEST = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The confidence is the sigmoid of slope times logit plus shift.

    Logits beyond 8 count as 8, and below -8 as -8, as they do where a curve is fitted.

    Attributes:
        slope: One over the temperature.
        shift: What the logit is moved by.

    Raises:
        ConfigError: If the slope is no number from 0.001 to 100, or the shift none within 100 of 0.
    """

    slope: float
    shift: float

    def __post_init__(self) -> None:
        for name, least in (("slope", LEAST_SLOPE), ("shift", -_LARGEST)):
            if not is_within(value := getattr(self, name), least, _LARGEST):
                raise ConfigError(
                    f"{name} {value!r:.40} of a calibration is no number from {least:g} to "
                    f"{_LARGEST:g}"
                )

    @classmethod
    def of_settings(cls, settings: Mapping[str, Any]) -> "Curve":
        """The curve of a file's numbers.

        Raises:
            ConfigError: If one is missing, unknown, or out of range.
        """
        if settings.keys() != set(cls.__dataclass_fields__):
            raise ConfigError(f"{list(settings)!r:.80} is not slope and shift")
        for name, value in settings.items():
            if not is_within(value, -_LARGEST, _LARGEST):
                raise ConfigError(
                    f"{name} {value!r:.40} of a calibration is no number within {_LARGEST:g} of 0"
                )
        return cls(slope=float(settings["slope"]), shift=float(settings["shift"]))

    def of(self, probability: Float32[np.ndarray, "*size"]) -> Float32[np.ndarray, "*size"]:
        """The confidence of each probability."""
        if self == AS_IT_IS:
            return probability
        logit = logits_of(probability).clip(-LARGEST_LOGIT, LARGEST_LOGIT)
        return sigmoid(logit * np.float32(self.slope) + np.float32(self.shift))

    def probability_of(
        self, confidence: Float32[np.ndarray, "*size"]
    ) -> Float32[np.ndarray, "*size"]:
        """The probability that has each confidence, if any has."""
        if self == AS_IT_IS:
            return confidence
        return sigmoid((logits_of(confidence) - np.float32(self.shift)) / np.float32(self.slope))


AS_IT_IS = Curve(slope=1.0, shift=0.0)
