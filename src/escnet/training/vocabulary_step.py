"""Which class names a step is about, and their text embeddings.

Where the text tower is trained it runs inside the step, on the names of that step alone; where it
is frozen it runs once. Texts are padded to the longest of the step and not to the 77 tokens that
CLIP has room for, which leaves its output as it is (its attention looks back only) and costs a
fifth.

Sizes: M names of the vocabulary, N of the step, T tokens, D joint space.
"""

from collections.abc import Collection

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from escnet.inference.methods.tokens import Tokens
from escnet.towers.network import Network

_NAMES = 3  # a kind of chance, beside those of `mixture.py` and `pictures.py`
_ROWS = 256  # texts that a frozen tower reads at a time


class VocabularyStep(nn.Module):
    """From rows of the vocabulary to text embeddings.

    Args:
        network: Its text tower is used; whether it is trained, its parameters say.
        tokens: Of the whole vocabulary, in its template.
    """

    token: Tensor
    is_token: Tensor

    def __init__(self, network: Network, tokens: Tokens) -> None:
        super().__init__()
        self._network = [network]  # in a list: its parameters are not this module's
        self.is_trained = any(one.requires_grad for one in network.text.parameters())
        self.register_buffer("token", tokens.token, persistent=False)
        self.register_buffer("is_token", tokens.is_token, persistent=False)
        self._kept: Tensor | None = None

    def forward(self, row: Int[Tensor, " N"]) -> Float[Tensor, "N D"]:
        """The text embeddings of some names, with a gradient where the tower is trained."""
        if self.is_trained:
            length = int(self.is_token[row].sum(dim=1).max())
            token, is_token = self.token[row, :length], self.is_token[row, :length]
            return self._network[0].encode_text(token, is_token)
        if self._kept is None:
            with torch.no_grad():
                parts = zip(self.token.split(_ROWS), self.is_token.split(_ROWS), strict=True)
                self._kept = torch.cat([self._network[0].encode_text(*part) for part in parts])
        return self._kept[row]


def names_of_picture(
    shown: Collection[int],
    annotated: Collection[int],
    most_names: int,
    *,
    seed: int,
    number: int,
) -> Int[np.ndarray, " N"]:
    """The names that a picture is trained on: those it shows, and others as negatives, in order.

    Args:
        shown: Names of which it has pixels.
        annotated: Names that its source annotates.
        most_names: How many in all; some of those shown if it shows more.
        seed: Of the run.
        number: Of the picture in the run.
    """
    random = np.random.default_rng([seed, _NAMES, number])
    shown_row = np.array(sorted(shown), np.int64)
    if len(shown_row) > most_names:
        shown_row = random.choice(shown_row, most_names, replace=False)
    others = np.setdiff1d(np.array(sorted(annotated), np.int64), shown_row)
    num_others = min(len(others), most_names - len(shown_row))
    return np.sort(np.concatenate([shown_row, random.choice(others, num_others, replace=False)]))
