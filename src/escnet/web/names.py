"""A request's names, in any form, as a vocabulary within the limits; runs in a worker process."""

from escnet.class_lists.grammar import split
from escnet.class_lists.read import recognise
from escnet.errors import VocabularyError
from escnet.vocabulary import Vocabulary
from escnet.web.limits import Limits
from escnet.web.messages import Names
from escnet.web.refusal import Refusal, shortened

_LIST_BEGINNINGS = ("[", "{", "<", "(")


def client_vocabulary(names: Names | bytes, limits: Limits, *, background: bool) -> Vocabulary:
    """The vocabulary that a client asks for.

    Args:
        names: Text in the grammar of `Vocabulary.parse` or that of a class list; literal names; or
            the content of a file with a class list.
        limits: Of their number and length.
        background: Add the background class.

    Raises:
        VocabularyError: If the names have a fault.
        Refusal: If they are beyond a limit.
    """
    if isinstance(names, bytes):
        names = _decoded(names)
        vocabulary = Vocabulary.of(recognise(names, "names file"))
    elif isinstance(names, str) and _is_list(names):
        vocabulary = Vocabulary.of(recognise(names, "names"))
    else:
        if isinstance(names, str):
            _check_number(sum(1 for _ in split(names, ",")), limits)
        vocabulary = Vocabulary.of(names)
    _check_number(len(vocabulary.queries), limits)
    for name in (*vocabulary.labels, *vocabulary.queries):
        if len(name) > limits.max_name_length:
            raise Refusal(
                422,
                f"class name {shortened(name)!r} has {len(name)} characters, above the limit of "
                f"{limits.max_name_length}: shorten it",
            )
    return vocabulary.with_background() if background else vocabulary


def _is_list(text: str) -> bool:
    text = text.strip()
    return "\n" in text or text.startswith(_LIST_BEGINNINGS)


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise VocabularyError(
            f"names file is not UTF-8 text (byte 0x{content[error.start]:02x} at {error.start}): "
            "save it as UTF-8"
        ) from None


def _check_number(number: int, limits: Limits) -> None:
    if number > limits.max_names:
        raise Refusal(
            422, f"{number} names are above the limit of {limits.max_names}: give fewer at a time"
        )
