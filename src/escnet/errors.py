"""Errors that are the caller's to fix; everything else is a bug of ours.

Every message says what was wrong, with the value, and what to do about it. The command line prints
the message and exits with 2, without a traceback.
"""


class EscnetError(Exception):
    """Base of all errors that a caller can cause and fix."""


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


def first_line(error: BaseException) -> str:
    """The first sentence of a library's error, shortened to be quoted in one of ours."""
    lines = str(error).strip().splitlines()
    return lines[0].partition(". ")[0][:120].rstrip(" .:") if lines else type(error).__name__
