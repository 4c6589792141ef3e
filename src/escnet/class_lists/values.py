"""Numbers and colours beside class names, as the lists of tools write them."""

import re
from collections.abc import Sequence

from escnet.class_lists.details import Color

_HEX = re.compile(r"#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6}|[0-9a-fA-F]{8})")
_TRIPLE = re.compile(
    r"(?:rgba?)?\s?[(\[]?\s?(\d{1,3})[,\s]\s?(\d{1,3})[,\s]\s?(\d{1,3})(?:[,\s]\s?[\d.]{1,5})?\s?[)\]]?"
)
_INTEGER = re.compile(r"([+-]?[0-9]{1,9})(?:\.0{1,9})?")


def number_of(value: object) -> int | None:
    """The integer that a value is or spells; None if it is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    match = _INTEGER.fullmatch(value.strip()) if isinstance(value, str) else None
    return int(match[1]) if match else None


def is_numeric(text: str) -> bool:
    """Whether a cell of a table holds a number, whole or not, or nothing."""
    return re.fullmatch(r"[+-]?[\d.]{0,20}(?:e[+-]?\d{1,3})?%?", text.strip()) is not None


def color_of(value: object) -> Color | None:
    """The colour of "#ff0000", "255,0,0", "rgb(255, 0, 0)" or [255, 0, 0]; else None."""
    if isinstance(value, str):
        value = value.strip()
        if _HEX.fullmatch(value):
            digits = value[1:] if len(value) > 4 else "".join(2 * digit for digit in value[1:])
            return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:6], 16)
        match = _TRIPLE.fullmatch(value)
        return _bytes([int(part) for part in match.groups()]) if match else None
    if isinstance(value, Sequence) and len(value) in {3, 4}:
        parts = [number_of(part) for part in value]
        return _bytes([part for part in parts[:3] if part is not None])
    return None


def _bytes(parts: list[int]) -> Color | None:
    if len(parts) != 3 or not all(0 <= part <= 255 for part in parts):
        return None
    return parts[0], parts[1], parts[2]
