"""Early rejection in the whole network: what must hold whatever the settings."""

from typing import Any

import pytest
import torch
from torch import Tensor

from escnet.model.pruning import Rejection, of_names
from escnet.towers.patches import Patches
from tests.model.test_escnet import (
    MakeNetwork,
    MakePatches,
    name_of,
    unchecked,  # noqa: F401 -- a fixture
)

SETTINGS: list[dict[str, Any]] = [
    {},
    {"language_attention": "classes", "text_token": True},
    {"state": "scalar", "merge": "evidence"},
    {"sam_masks": True, "correlation_residual": True, "num_blocks": 3},
    {"sam": "none", "softmax": "class"},
]
all_settings = pytest.mark.parametrize("settings", SETTINGS, ids=name_of)

N = 11


@pytest.fixture
def texts() -> Tensor:
    return torch.randn(N, 16, generator=torch.Generator().manual_seed(6))


@torch.no_grad()
@all_settings
def test_enough_room_is_exact_bit_for_bit(
    tiny_network: MakeNetwork, make_patches: MakePatches, texts: Tensor, settings: dict[str, Any]
) -> None:
    network, patches = tiny_network(**settings), make_patches()
    exact = network.segment(patches, texts, 3)
    for counts in ([N], [99, 50, 20]):
        found = network.segment(patches, texts, 3, rejection=Rejection(counts))
        assert torch.equal(found.logits, exact.logits)
        assert torch.equal(found.place, exact.place)


@torch.no_grad()
@all_settings
def test_fixed_numbers_go_on_and_the_best_of_every_patch_are_among_them(
    tiny_network: MakeNetwork, make_patches: MakePatches, texts: Tensor, settings: dict[str, Any]
) -> None:
    network, patches = tiny_network(**settings), make_patches(h=2, w=2)
    found = network.segment(patches, texts, rejection=Rejection([6, 5, 4]))
    assert [maps.shape[1] for maps in found.evidence] == [6, 5, 4, 4][: len(found.evidence)]
    assert found.logits.shape[:2] == found.place.shape == (2, 4)
    correlation = network.correlate(patches, texts)
    for own, left in zip(correlation, found.evidence[0], strict=True):
        assert torch.equal(left.amax(dim=0), own.amax(dim=0))


@torch.no_grad()
@all_settings
def test_a_batch_equals_its_single_pictures(
    tiny_network: MakeNetwork, make_patches: MakePatches, texts: Tensor, settings: dict[str, Any]
) -> None:
    network, patches = tiny_network(**settings), make_patches(num_pictures=3)
    rejection = Rejection([6, 4, 3])
    together = network.segment(patches, texts, rejection=rejection)
    assert not torch.equal(together.place[0], together.place[1])
    for picture in range(3):
        alone = network.segment(patches.of_picture(picture), texts, rejection=rejection)
        assert torch.equal(alone.place[0], together.place[picture])
        torch.testing.assert_close(alone.logits[0], together.logits[picture], atol=1e-5, rtol=1e-5)


@torch.no_grad()
@all_settings
def test_permuting_the_names_permutes_the_answer(
    tiny_network: MakeNetwork, make_patches: MakePatches, texts: Tensor, settings: dict[str, Any]
) -> None:
    network, patches = tiny_network(**settings), make_patches()
    order = torch.randperm(N, generator=torch.Generator().manual_seed(7))
    rejection = Rejection([6, 4, 3])
    plain = network.segment(patches, texts, rejection=rejection)
    found = network.segment(patches, texts[order], rejection=rejection)
    again = order[found.place].argsort(dim=1)  # the plain order
    assert torch.equal(order[found.place].sort(dim=1).values, plain.place)
    torch.testing.assert_close(of_names(found.logits, again), plain.logits, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_answer_is_that_of_the_names_that_are_left(
    tiny_network: MakeNetwork, make_patches: MakePatches, texts: Tensor
) -> None:
    # over text it would ask the whole list
    network = tiny_network(language_attention="classes")
    patches = make_patches(num_pictures=1)
    found = network.segment(patches, texts, rejection=Rejection([4]))
    alone = network.segment(patches, texts[found.place[0]])
    torch.testing.assert_close(found.logits, alone.logits, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_what_was_rejected_is_still_asked_as_text(
    tiny_network: MakeNetwork, make_patches: MakePatches, texts: Tensor
) -> None:
    # Without SAM nothing else ties names to each other, so the answer is that of exact work.
    network, patches = tiny_network(sam="none"), make_patches()
    found = network.segment(patches, texts, rejection=Rejection([4]))
    expected = of_names(network.segment(patches, texts).logits, found.place)
    torch.testing.assert_close(found.logits, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_label_goes_on_with_all_its_names(
    tiny_network: MakeNetwork, make_patches: MakePatches, texts: Tensor
) -> None:
    network, patches = tiny_network(), make_patches()
    owner = [0, 0, 0, 1, 1, 2, 3, 4, 4, 4, 4]
    rejection = Rejection([2, 1], owner)
    found = network.segment(patches, texts, rejection=rejection)
    for index in found.place.tolist():
        rows = rejection.whole(index)
        assert rows
        labels = {owner[index[row]] for row in rows}
        assert [index[row] for row in rows] == [n for n in range(N) if owner[n] in labels]


class AfterTowers(torch.nn.Module):
    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, joint: Tensor, coarse: Tensor, fine: Tensor, text: Tensor
    ) -> tuple[Tensor, Tensor]:
        patches = Patches(joint, (coarse, fine))
        found = self.network.segment(patches, text, rejection=Rejection([4, 3]))
        return found.logits, found.place


@torch.no_grad()
@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_an_exported_network_rejects_among_any_larger_number_of_names(
    tiny_network: MakeNetwork, make_patches: MakePatches
) -> None:
    network = AfterTowers(tiny_network(num_blocks=1)).eval()

    def example(num_pictures: int, num_names: int) -> tuple[Tensor, ...]:
        patches = make_patches(num_pictures=num_pictures, seed=num_names)
        text = torch.randn(num_names, 16, generator=torch.Generator().manual_seed(num_names))
        return patches.joint, *patches.skips, text

    pictures, names = torch.export.Dim("B"), torch.export.Dim("N", min=5)
    axes = ({0: pictures}, {0: pictures}, {0: pictures}, {0: names})
    program = torch.export.export(network, example(2, 6), dynamic_shapes=axes, strict=False)
    for sizes in ((2, 6), (3, 11), (1, 150)):
        ours, theirs = program.module()(*example(*sizes)), network(*example(*sizes))
        assert torch.equal(ours[1], theirs[1])
        torch.testing.assert_close(ours[0], theirs[0], atol=1e-5, rtol=1e-5)
