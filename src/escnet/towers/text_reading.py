"""How text towers want their texts; said without PyTorch, for whoever only makes tokens of them."""

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import unescape
from types import MappingProxyType

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextReading:
    """How a text tower wants its texts.

    Attributes:
        prepare: From a text to what the tokenizer gets.
        padded_to: Every text has this many tokens; None pads to the longest of a call.
        padding: Tokens of which the first that there is pads, where a folder names none.
    """

    prepare: Callable[[str], str] = str
    padded_to: int | None = None
    padding: Sequence[str] = ("<|endoftext|>", "[PAD]", "<pad>")  # CLIP's, BERT's, Gemma's


PLAIN_READING = TextReading()


def cleaned(text: str) -> str:
    """A text as OpenAI's tokenizer reads it, before it lower-cases.

    Ligatures, curly quotes and wrongly decoded letters are put right, `&amp;` is `&`, and white
    space is one blank. transformers' tokenizer leaves the first two out.
    """
    import ftfy  # noqa: PLC0415 -- slow to import

    return " ".join(unescape(unescape(ftfy.fix_text(text))).split())


def canonical(text: str) -> str:
    """The text as both SigLIPs were trained to read it: lower case, no punctuation, single spaces.

    SigLIP's own tokenizer does the same once more; that of SigLIP 2 leaves it to the caller.
    """
    return " ".join(text.translate(_NO_PUNCTUATION).lower().split())


# By the names that an exported model's manifest has for them.
READINGS: Mapping[str, TextReading] = MappingProxyType(
    {
        "plain": PLAIN_READING,
        "clip": TextReading(prepare=cleaned),
        "metaclip2": TextReading(padding=("<pad>",)),
        "siglip": TextReading(
            prepare=canonical,
            padded_to=64,
            # SigLIP's, which has a <pad> and does not use it; SigLIP 2's
            padding=("</s>", "<pad>"),
        ),
    }
)
