"""Errors that are the caller's to fix; everything else is a bug of ours.

Every message says what was wrong, with the value, and what to do about it. The command line prints
the message and exits with 2, without a traceback. Where Python and the command line have different
words for the way out, a message holds both, and each reader sees their own.
"""

import re

_EITHER = re.compile("\ue000(.*?)\ue001(.*?)\ue002", re.DOTALL)  # no text of a user has these


def either(python: str, command_line: str) -> str:
    """Words of a message that differ between Python and the command line."""
    return f"\ue000{python}\ue001{command_line}\ue002"


def setting(name: str) -> str:
    """A setting's name for a message: max_pixels in Python, --max-pixels on the command line."""
    return either(name, "--" + name.replace("_", "-"))


ANOTHER_FOLDER = f"choose another folder{either(' for the results', ' with --out')}"


class EscnetError(Exception):
    """Base of all errors that a caller can cause and fix.

    Args:
        message: What is wrong and the way out, with `either` where words differ.

    Attributes:
        message: The same, to be quoted in the message of another error.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return _EITHER.sub(r"\1", self.message)

    def for_command_line(self) -> str:
        """The message in the words of the command line."""
        return _EITHER.sub(r"\2", self.message)


class ConfigError(EscnetError):
    """A setting is out of range, unknown, or contradicts another."""


class VocabularyError(EscnetError):
    """The class names are empty, repeated, or too long for CLIP's text encoder."""


class ImageError(EscnetError):
    """A picture is unreadable, of an unknown kind, or beyond a limit."""


class WeightsError(EscnetError):
    """A checkpoint is missing, damaged, or made for another model."""


class DatasetError(EscnetError):
    """A dataset folder lacks a file, or a label map holds an unknown label."""


class OutputError(EscnetError):
    """A result cannot be written: no such folder, no right, no space."""


class NamesWarning(UserWarning):
    """Class names that a model cannot tell apart or cannot read; the result is still made."""


class CalibrationWarning(UserWarning):
    """A calibration beside the weights cannot be used; confidences are as the model has them."""


class CacheWarning(UserWarning):
    """What could be kept for the next start cannot be; the result is still made."""


def first_line(error: BaseException) -> str:
    """The first sentence of a library's error, shortened to be quoted in one of ours."""
    lines = str(error).strip().splitlines()
    return lines[0].partition(". ")[0][:120].rstrip(" .:") if lines else type(error).__name__
