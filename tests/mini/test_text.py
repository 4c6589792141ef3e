from typing import Any

import pytest
import torch
from torch import Tensor

from escnet.mini.text import SentenceText

D = 6
TOWER: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 50,
    "max_position_embeddings": 12,
}


@pytest.fixture
def sentence() -> SentenceText:
    torch.manual_seed(0)
    return SentenceText(TOWER, joint_dim=D).eval()


@pytest.fixture
def token() -> Tensor:
    return torch.tensor([[1, 7, 9, 2, 0, 0], [1, 8, 2, 0, 0, 0], [1, 5, 6, 3, 4, 2]])


@torch.no_grad()
def test_a_sentence_is_the_mean_of_its_tokens_of_length_one(
    sentence: SentenceText, token: Tensor
) -> None:
    found = sentence.sentence(token, token.ne(0).long())
    for row in range(3):
        own = token[row][token[row] != 0][None]
        mean = sentence.tower(input_ids=own).last_hidden_state[0].mean(dim=0)
        torch.testing.assert_close(found[row], mean / mean.norm(), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_embedding_is_a_linear_map_of_the_sentence(
    sentence: SentenceText, token: Tensor
) -> None:
    is_token = token.ne(0).long()
    state = sentence.to_joint.state_dict()
    expected = sentence.sentence(token, is_token) @ state["weight"].T + state["bias"]
    torch.testing.assert_close(sentence(token, is_token), expected)


@torch.no_grad()
def test_more_padding_changes_no_sentence(sentence: SentenceText, token: Tensor) -> None:
    longer = torch.cat([token, torch.zeros(3, 4, dtype=torch.long)], dim=1)
    torch.testing.assert_close(
        sentence(longer, longer.ne(0).long()),
        sentence(token, token.ne(0).long()),
        atol=1e-5,
        rtol=1e-5,
    )
