"""Which names a step is about, and when their texts are encoded."""

import pytest
import torch
from torch import Tensor

from escnet.inference.methods.tokens import Tokens, byte_tokenizer
from escnet.model.config import preset
from escnet.model.escnet import EscNet
from escnet.training.vocabulary_step import VocabularyStep, names_of_picture

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
    expected = network.encode_text(tokens.token, tokens.is_token)
    step = VocabularyStep(network, tokens)
    for row in ([0, 1, 2], [2, 0], [0]):
        found = step(torch.tensor(row))
        torch.testing.assert_close(found, expected[row])


def test_a_trained_tower_runs_in_every_step_and_gets_a_gradient(
    network: EscNet, tokens: Tokens
) -> None:
    freeze(network, but="q_proj.weight")
    step = VocabularyStep(network, tokens)
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
    step = VocabularyStep(network, tokens)
    found = [step(torch.tensor([1, 2])) for _ in range(3)]
    assert len(calls) == 1
    assert torch.equal(found[0], found[2])
    assert not found[0].requires_grad


def test_a_picture_is_asked_for_what_it_shows_and_for_others_of_its_source() -> None:
    for number in range(20):
        row = names_of_picture([3, 8], range(2, 12), 5, seed=0, number=number).tolist()
        assert len(set(row)) == 5
        assert {3, 8} <= set(row) <= set(range(2, 12))
        assert row == sorted(row)


def test_others_differ_from_picture_to_picture_but_not_from_run_to_run() -> None:
    rows = [names_of_picture([1], range(50), 6, seed=0, number=n).tolist() for n in range(9)]
    assert len({tuple(row) for row in rows}) == 9
    assert rows == [
        names_of_picture([1], range(50), 6, seed=0, number=n).tolist() for n in range(9)
    ]


def test_of_too_many_shown_names_some_are_asked() -> None:
    row = names_of_picture(range(10), range(10), 4, seed=0, number=0).tolist()
    assert len(set(row)) == 4


def test_a_source_with_few_names_has_few() -> None:
    assert names_of_picture([1], [1, 2], 24, seed=0, number=0).tolist() == [1, 2]
