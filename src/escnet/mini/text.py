"""The text side of the built-in model.

Sizes: N class names, T tokens, D joint space, V the encoder's width.
"""

from typing import Any

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from escnet.towers.tower import TextTower


class SentenceText(TextTower):
    """A sentence encoder (MiniLM): mean of the token vectors, then one linear map.

    The map carries a sentence space into the joint space; that of the built-in model was fitted to
    CLIP's text embeddings, of which it is an emulation.
    """

    def __init__(self, config: dict[str, Any], *, joint_dim: int) -> None:
        super().__init__()
        self.tower = BertModel(BertConfig(**config), add_pooling_layer=False)
        self.to_joint = nn.Linear(self.tower.config.hidden_size, joint_dim)

    def forward(
        self, token: Int[Tensor, "N T"], is_token: Int[Tensor, "N T"]
    ) -> Float[Tensor, "N D"]:
        return self.to_joint(self.sentence(token, is_token))

    def sentence(
        self, token: Int[Tensor, "N T"], is_token: Int[Tensor, "N T"]
    ) -> Float[Tensor, "N V"]:
        """The sentence vectors, of length 1, before the map to the joint space."""
        hidden = self.tower(input_ids=token, attention_mask=is_token).last_hidden_state
        weight = is_token[:, :, None].to(hidden)
        mean = (hidden * weight).sum(dim=1) / weight.sum(dim=1)  # (N, V)
        return F.normalize(mean, dim=1)
