from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from escnet.catseg.config import CATSEG_PRESETS, CatSegConfig
from escnet.catseg.network import CatSeg
from escnet.model.pruning import Rejection

MakeCatSeg = Callable[..., CatSeg]


@pytest.fixture
def make_catseg(stir: Callable[[nn.Module], None]) -> MakeCatSeg:
    """The tiny network with some settings of its own, on a grid of 4 x 4 patches by default."""

    def make(**settings: Any) -> CatSeg:
        torch.manual_seed(0)
        small = {"image_size": 8, "window": 2, "embed_kernel": 3}
        settings = {**CATSEG_PRESETS["tiny"]().to_dict(), **small, **settings}
        network = CatSeg(CatSegConfig.from_dict(settings))
        stir(network)
        return network.eval()

    return make


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def text_of(*shape: int) -> Tensor:
    return draw(*shape, 16, seed=2) - 0.5


@torch.inference_mode()
def logits(network: CatSeg, text: Tensor, image: Tensor | None = None, **options: Any) -> Tensor:
    found: Tensor = network(draw(2, 3, 8, 8) if image is None else image, text, **options)
    return found


def test_there_is_a_map_for_each_name_four_times_as_fine_as_the_patches(
    make_catseg: MakeCatSeg,
) -> None:
    assert logits(make_catseg(), text_of(3)).shape == (2, 3, 16, 16)


@pytest.mark.parametrize("num_names", [5, 11])
def test_chunks_of_names_change_nothing(make_catseg: MakeCatSeg, num_names: int) -> None:
    network, text = make_catseg(), text_of(num_names)
    whole = logits(network, text)
    for class_chunk in (1, 3):
        torch.testing.assert_close(logits(network, text, class_chunk=class_chunk), whole)


def test_reordering_the_names_reorders_the_maps(make_catseg: MakeCatSeg) -> None:
    network, text = make_catseg(), text_of(11)
    order = torch.randperm(11, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(logits(network, text[order]), logits(network, text)[:, order])


def test_each_picture_is_answered_as_if_alone(make_catseg: MakeCatSeg) -> None:
    network, text, image = make_catseg(), text_of(11), draw(2, 3, 8, 8)
    alone = torch.cat([logits(network, text, one[None]) for one in image])
    torch.testing.assert_close(logits(network, text, image), alone)


def test_the_length_of_a_text_embedding_does_not_matter(make_catseg: MakeCatSeg) -> None:
    network, text = make_catseg(), text_of(3)
    length = torch.tensor([1.0, 2.0, 0.5])[:, None]
    torch.testing.assert_close(logits(network, length * text), logits(network, text))


def test_another_name_changes_the_maps_of_the_rest(make_catseg: MakeCatSeg) -> None:
    network, text = make_catseg(), text_of(4)
    assert not torch.allclose(logits(network, text)[:, :3], logits(network, text[:3]), atol=1e-4)


def test_names_that_cannot_win_are_dropped_for_each_picture(make_catseg: MakeCatSeg) -> None:
    network, text, image = make_catseg(), text_of(30), draw(2, 3, 8, 8)
    with torch.inference_mode():
        patches = network.vision(image)
        found = network.segment(patches, text)
    cosine = torch.einsum(
        "bdhw,nd->bnhw", F.normalize(patches.joint, dim=1), F.normalize(text, dim=1)
    )
    for kept, peak in zip(found.kept, cosine.amax(dim=(2, 3)), strict=True):
        assert len(kept) == 8
        assert kept.tolist() == sorted(peak.argsort(descending=True)[:8].tolist())
    whole = logits(network, text, image)
    for picture, kept, maps in zip(whole, found.kept, found.logits, strict=True):
        torch.testing.assert_close(picture[kept], maps)
        assert ((picture == -100).all(dim=(1, 2))).sum() == 22
    everything = logits(make_catseg(max_classes=0), text, image)
    assert everything.min() > -100


def test_two_equal_templates_are_one_of_twice_the_weight(make_catseg: MakeCatSeg) -> None:
    network, text = make_catseg(), text_of(3)
    twice = make_catseg(num_templates=2)
    tensors = network.state_dict()
    tensors["embed.weight"] = torch.cat([0.5 * tensors["embed.weight"]] * 2, dim=1)
    twice.load_state_dict(tensors)
    both = text[:, None].expand(-1, 2, -1)
    torch.testing.assert_close(logits(twice, both), logits(network, text))


def test_text_guidance_is_the_mean_over_the_templates(make_catseg: MakeCatSeg) -> None:
    network, text = make_catseg(num_templates=2), text_of(3, 2)
    with torch.no_grad():
        network.embed.weight[:, 1] = network.embed.weight[:, 0]
    torch.testing.assert_close(logits(network, text), logits(network, text.flip(1)))


def test_a_gradient_reaches_every_parameter_that_has_a_say(make_catseg: MakeCatSeg) -> None:
    network = make_catseg().train()
    network(draw(2, 3, 8, 8), text_of(3)).square().mean().backward()
    silent = {name for name, value in network.named_parameters() if value.grad is None}
    last = "encoder.layers.2."  # its attention is replaced by the value path
    assert all(name.startswith("text.") or last in name or "position" in name for name in silent)
    assert not any(name.startswith(("layers.", "decoder.", "embed.", "to_")) for name in silent)


@torch.inference_mode()
def test_names_that_no_patch_wants_are_rejected_before_the_aggregation(
    make_catseg: MakeCatSeg,
) -> None:
    network, text = make_catseg(max_classes=0), text_of(11)
    patches = network.vision(draw(2, 3, 8, 8))
    exact = network.segment(patches, text)
    room = network.segment(patches, text, rejection=Rejection([11]))
    assert torch.equal(room.logits, exact.logits)
    found = network.segment(patches, text, rejection=Rejection([4]))
    assert found.kept.shape == (2, 4)
    for picture, kept in enumerate(found.kept):
        alone = network.segment(patches.of_picture(picture), text[kept])
        torch.testing.assert_close(found.logits[picture], alone.logits[0], atol=1e-5, rtol=1e-5)
