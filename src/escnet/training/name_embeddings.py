"""The text embeddings of a step's class names.

Where the text tower is trained it runs inside the step, on the names of that step alone; where it
is frozen it runs once. Texts are padded to the longest of the step and not to the 77 tokens that
CLIP has room for, which leaves its output as it is (its attention looks back only) and costs a
fifth.

Sizes: N names of a step, D joint space.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from escnet.inference.methods.tokens import Tokens
from escnet.towers.network import Network

_ROWS = 256  # texts that a frozen tower reads at a time


class NameEmbeddings(nn.Module):
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
        self.register_buffer("token", torch.from_numpy(tokens.token), persistent=False)
        self.register_buffer("is_token", torch.from_numpy(tokens.is_token), persistent=False)
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
