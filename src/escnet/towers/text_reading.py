"""How text towers want their texts; said without PyTorch, for whoever only makes tokens of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


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
