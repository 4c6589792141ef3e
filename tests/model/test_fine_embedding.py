import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from escnet.errors import ConfigError
from escnet.model.config import EscNetConfig, preset
from escnet.model.correlation import correlation_map
from escnet.model.fine_embedding import FineEmbedding
from escnet.model.vision import Patches
from tests.model.conftest import MakeNetwork, MakePatches

B, D, h, w = 2, 12, 4, 3
CHANNELS = (7, 5)


@pytest.fixture
def embed() -> FineEmbedding:
    torch.manual_seed(0)
    return FineEmbedding(joint_dim=D, skip_channels=CHANNELS)


@pytest.fixture
def joint() -> Tensor:
    return torch.randn(B, D, h, w, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def skips() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    coarse = torch.randn(B, CHANNELS[0], 2 * h, 2 * w, generator=generator)
    return coarse, torch.randn(B, CHANNELS[1], 4 * h, 4 * w, generator=generator)


@torch.no_grad()
def test_it_starts_as_the_patch_embeddings_enlarged(
    embed: FineEmbedding, joint: Tensor, skips: tuple[Tensor, Tensor]
) -> None:
    found = embed(joint, skips)
    unit = joint / joint.norm(dim=1, keepdim=True)
    assert found.shape == (B, D, 4 * h, 4 * w)
    torch.testing.assert_close(found, F.interpolate(unit, scale_factor=4, mode="bilinear"))


@torch.no_grad()
def test_the_length_of_a_patch_embedding_does_not_matter(
    embed: FineEmbedding, joint: Tensor, skips: tuple[Tensor, Tensor]
) -> None:
    torch.nn.init.normal_(embed.head.weight)
    torch.testing.assert_close(embed(20 * joint, skips), embed(joint, skips))


@torch.no_grad()
def test_each_finer_map_counts_and_may_have_any_resolution(
    embed: FineEmbedding, joint: Tensor, skips: tuple[Tensor, Tensor]
) -> None:
    torch.nn.init.normal_(embed.head.weight)
    coarse, fine = skips
    whole = embed(joint, skips)
    for other in ((coarse.flip(3), fine), (coarse, fine.flip(3))):
        assert not torch.allclose(embed(joint, other), whole, atol=1e-2)
    shrunk = embed(joint, (coarse[:, :, :3, :2], fine[:, :, :9, :7]))
    assert shrunk.shape == whole.shape


def test_it_learns_a_thing_thinner_than_a_patch(embed: FineEmbedding, joint: Tensor) -> None:
    """A line one fine place wide, which the finer map shows, and a name that no patch is like."""
    text = torch.randn(2, D, generator=torch.Generator().manual_seed(3))
    truth = torch.zeros(B, 1, 4 * h, 4 * w)
    truth[..., 6] = 1.0
    skips = (torch.zeros(B, CHANNELS[0], 2 * h, 2 * w), truth.expand(-1, CHANNELS[1], -1, -1))

    def logits() -> Tensor:
        return 10 * correlation_map(embed(joint, skips), text)[:, :1] - 3

    before = F.binary_cross_entropy_with_logits(logits(), truth)
    optimiser = torch.optim.Adam(embed.parameters(), lr=1e-2)
    for _ in range(60):
        loss = F.binary_cross_entropy_with_logits(logits(), truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert ((logits() > 0) == (truth > 0)).all()
    assert loss < 0.3 * before


@torch.no_grad()
def test_it_takes_the_place_of_the_coarse_correlation_in_the_residual(
    tiny_network: MakeNetwork, make_patches: MakePatches, text_embedding: Tensor
) -> None:
    patches = make_patches()
    with_fine = tiny_network(correlation_residual=True, fine_correlation=True)
    plain = tiny_network(correlation_residual=True)
    shared = {n: v for n, v in with_fine.state_dict().items() if not n.startswith("fine_emb")}
    plain.load_state_dict(shared)
    found, before = (one.segment(patches, text_embedding) for one in (with_fine, plain))
    coarse = F.interpolate(before.evidence[0], size=(16, 16), mode="bilinear")
    fine = with_fine.correlate_finely(patches, text_embedding)
    torch.testing.assert_close(found.evidence, before.evidence)  # the blocks see the coarse one
    torch.testing.assert_close(found.logits - before.logits, fine - coarse, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(fine, coarse, atol=0.05)


@torch.no_grad()
def test_a_name_has_the_same_fine_correlation_whatever_stands_beside_it(
    tiny_network: MakeNetwork, make_patches: MakePatches, text_embedding: Tensor
) -> None:
    network = tiny_network(correlation_residual=True, fine_correlation=True)
    patches: Patches = make_patches()
    whole = network.correlate_finely(patches, text_embedding)
    alone = network.correlate_finely(patches, text_embedding[1:2])
    torch.testing.assert_close(alone, whole[:, 1:2])


def test_without_the_residual_it_would_change_nothing_and_is_refused() -> None:
    with pytest.raises(ConfigError, match="fine_correlation is set, but only correlation_residual"):
        EscNetConfig.from_dict({**preset("tiny").to_dict(), "fine_correlation": True})
