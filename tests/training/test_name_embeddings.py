"""When the texts of a step's names are encoded."""

import pytest
import torch
from torch import Tensor

from escnet.inference.methods.tokens import Tokens, byte_tokenizer
from escnet.model.config import preset
from escnet.model.escnet import EscNet
from escnet.training.name_embeddings import NameEmbeddings

NAMES = ["sky", "a very long name of a class", "cat"]


@pytest.fixture
def network() -> EscNet:
    torch.manual_seed(0)
    return EscNet(preset("tiny")).eval()


@pytest.fixture
def tokens() -> Tokens:
    return byte_tokenizer(298, 299, 77)([f"A photo of a {name}" for name in NAMES])


def freeze(network: EscNet, *, but: str = "nothing") -> None:
    for name, parameter in network.text.named_parameters():
        parameter.requires_grad_(but in name)


@pytest.mark.parametrize("but", ["nothing", "q_proj.weight"])
def test_the_embeddings_are_those_of_all_77_tokens(
    network: EscNet, tokens: Tokens, but: str
) -> None:
    freeze(network, but=but)
    expected = network.encode_text(*map(torch.from_numpy, tokens))
    step = NameEmbeddings(network, tokens)
    for row in ([0, 1, 2], [2, 0], [0]):
        found = step(torch.tensor(row))
        torch.testing.assert_close(found, expected[row])


def test_a_trained_tower_runs_in_every_step_and_gets_a_gradient(
    network: EscNet, tokens: Tokens
) -> None:
    freeze(network, but="q_proj.weight")
    step = NameEmbeddings(network, tokens)
    before = step(torch.tensor([0]))
    before.square().sum().backward()
    trained = [p for p in network.text.parameters() if p.requires_grad]
    assert trained
    with torch.no_grad():
        for parameter in trained:
            assert parameter.grad is not None
            parameter.add_(torch.randn_like(parameter))
    assert not torch.allclose(step(torch.tensor([0])), before)


def test_a_frozen_tower_runs_once(
    network: EscNet, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    freeze(network)
    calls = []
    encode = network.encode_text

    def counted(token: Tensor, is_token: Tensor) -> Tensor:
        calls.append(1)
        return encode(token, is_token)

    monkeypatch.setattr(network, "encode_text", counted)
    step = NameEmbeddings(network, tokens)
    found = [step(torch.tensor([1, 2])) for _ in range(3)]
    assert len(calls) == 1
    assert torch.equal(found[0], found[2])
    assert not found[0].requires_grad
