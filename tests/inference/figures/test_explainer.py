from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from escnet.errors import ConfigError
from escnet.inference.figures.explainer import explain
from escnet.inference.label_maps.published_resize import square_image
from escnet.inference.methods.esc_method import EscMethod
from escnet.inference.methods.method import ViewLogits
from escnet.inference.methods.tokens import byte_tokenizer
from escnet.inference.segmenter import Segmenter
from escnet.model.config import EscNetConfig, preset
from escnet.model.escnet import EscNet
from escnet.vocabulary import Vocabulary

NAMES = Vocabulary.parse("cat, dog=dog|puppy|a hound, grass, sky")


def stirred(*, share_prior: float = 0.0, **settings: Any) -> Segmenter:
    """A tiny network whose every parameter matters: a fresh one's blocks change no map."""
    torch.manual_seed(0)
    network = EscNet(EscNetConfig.from_dict({**preset("tiny").to_dict(), **settings}))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    method = EscMethod(network, byte_tokenizer(298, 299, 77), device="cpu")
    return Segmenter(method, model="stirred", weights_hash="abc", share_prior=share_prior)


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return stirred()


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    slope = (np.indices((40, 60)).sum(axis=0) * 2).astype(np.uint8)
    picture = np.stack([slope, 255 - slope, slope // 2], axis=2)
    picture[10:25, 20:45] = (250, 10, 10)
    return picture


def assert_near(found: np.ndarray, expected: Tensor) -> None:
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5, rtol=1e-5)


def network_of(segmenter: Segmenter) -> EscNet:
    assert isinstance(segmenter.method, EscMethod)
    return segmenter.method.network


@pytest.mark.parametrize("name", NAMES.labels)
def test_the_answer_is_what_the_segmenter_says(
    segmenter: Segmenter, pixels: np.ndarray, name: str
) -> None:
    result = segmenter.segment(pixels, NAMES)
    found = explain(segmenter, pixels, NAMES, name)
    np.testing.assert_array_equal(found.answer.mask, result.mask(name))
    share = found.summary()["answer"]["with_sam"]["share"]
    assert share == pytest.approx(result.share(name), abs=1e-6)


def test_the_share_prior_is_the_segmenters(segmenter: Segmenter, pixels: np.ndarray) -> None:
    with_prior = stirred(share_prior=20.0)
    result = with_prior.segment(pixels, NAMES)
    assert (result.label_map != segmenter.segment(pixels, NAMES).label_map).any()
    for name in NAMES.labels:
        found = explain(with_prior, pixels, NAMES, name)
        np.testing.assert_array_equal(found.answer.mask, result.mask(name))


def test_some_class_wins_somewhere_but_not_everywhere(
    segmenter: Segmenter, pixels: np.ndarray
) -> None:
    """Without which the test above could not fail."""
    shares = [explain(segmenter, pixels, NAMES, name).answer.mask.mean() for name in NAMES.labels]
    assert any(0 < share < 1 for share in shares)


def test_the_background_rule_is_the_segmenters(segmenter: Segmenter, pixels: np.ndarray) -> None:
    names = NAMES.with_background()
    result = segmenter.segment(pixels, names)
    for name in NAMES.labels:
        found = explain(segmenter, pixels, names, name)
        np.testing.assert_array_equal(found.answer.mask, result.mask(name))
    assert found.names[-1] == "background"


def test_the_maps_are_the_networks_with_sam_and_without(
    segmenter: Segmenter, pixels: np.ndarray
) -> None:
    network = network_of(segmenter)
    with torch.no_grad():
        image = torch.from_numpy(square_image(pixels, network.config.image_size))[None]
        patches = network.vision(image)
        text = torch.from_numpy(segmenter.text_embedding(NAMES))
        full = network.segment(patches, text)
        without = network.segment(patches, text, with_sam=False)
    found = explain(segmenter, pixels, NAMES, "grass")
    row = 4  # after cat and three words for dog
    assert_near(found.correlation, full.evidence[0][0, row])
    assert len(found.blocks) == len(network.blocks) == 2
    for index, block in enumerate(found.blocks):
        assert block.activation_without is not None
        assert_near(block.evidence, full.evidence[index][0, row])
        assert_near(block.activation, full.evidence[index + 1][0, row])
        assert_near(block.activation_without, without.evidence[index + 1][0, row])
        assert np.abs(block.activation - block.activation_without).max() > 1e-3
    assert found.answer_without is not None
    assert_near(found.answer_without.confidence, without.logits[0, row].sigmoid())


def test_prompts_are_read_off_the_maps_in_picture_pixels(
    segmenter: Segmenter, pixels: np.ndarray
) -> None:
    found = explain(segmenter, pixels, NAMES, "cat")
    side = found.correlation.shape[0]
    assert found.generator is not None
    threshold = found.generator["threshold"]
    for block in found.blocks:
        assert block.regions
        np.testing.assert_array_equal(block.region >= 0, block.probability >= threshold)
        assert sum(region.num_patches for region in block.regions) == (block.region >= 0).sum()
        for region in block.regions:
            column = region.point_xy[0] / 60 * side - 0.5  # the picture is 60 wide and 40 high
            row = region.point_xy[1] / 40 * side - 0.5
            assert column == pytest.approx(round(column), abs=1e-4)
            assert row == pytest.approx(round(row), abs=1e-4)
            place = round(row), round(column)
            assert block.probability[place] == pytest.approx(region.probability)
            member = block.region == block.region[place]
            assert member.sum() == region.num_patches
            assert block.probability[member].max() == pytest.approx(region.probability)
            rows, columns = np.nonzero(member)
            assert region.box_xyxy == pytest.approx(
                (
                    columns.min() * 60 / side,
                    rows.min() * 40 / side,
                    (columns.max() + 1) * 60 / side,
                    (rows.max() + 1) * 40 / side,
                )
            )


def test_of_synonyms_the_best_correlated_is_followed(
    segmenter: Segmenter, pixels: np.ndarray
) -> None:
    alone = {
        query: explain(segmenter, pixels, Vocabulary.of([query]), query).correlation
        for query in ("dog", "puppy", "a hound")
    }
    best = max(alone, key=lambda query: alone[query].max())
    for order in ("dog=dog|puppy|a hound, cat", "cat, dog=a hound|puppy|dog"):
        found = explain(segmenter, pixels, Vocabulary.parse(order), "dog")
        assert (found.name, found.query) == ("dog", best)
        np.testing.assert_allclose(found.correlation, alone[best], atol=1e-5)


def test_a_class_that_the_network_drops_is_told(pixels: np.ndarray) -> None:
    segmenter = stirred(max_classes=1)
    errors = []
    for name in NAMES.labels:
        try:
            explain(segmenter, pixels, NAMES, name)
        except ConfigError as error:
            errors.append(str(error))
    assert len(errors) == 3
    assert all("not among the 1 of 6 names" in error for error in errors)


def test_a_network_without_sam_blocks_has_no_other_pass(pixels: np.ndarray) -> None:
    found = explain(stirred(sam="none"), pixels, NAMES, "cat")
    assert found.answer_without is None
    assert all(block.activation_without is None for block in found.blocks)
    summary = found.summary()
    assert summary["without_sam_means"] is None
    assert summary["generator"]["prompts_used"] == []
    assert [block["activation"]["without_sam"] for block in summary["blocks"]] == [None, None]


def test_training_free_has_its_correlation_alone(pixels: np.ndarray) -> None:
    segmenter = Segmenter.load("training-free:tiny", device="cpu")
    found = explain(segmenter, pixels, NAMES, "sky")
    assert (found.method, found.blocks, found.generator) == ("training-free", (), None)
    np.testing.assert_array_equal(found.answer.mask, segmenter.segment(pixels, NAMES).mask("sky"))
    sigmoid = 1 / (1 + np.exp(-found.correlation))
    np.testing.assert_allclose(found.answer.confidence, sigmoid, rtol=1e-5)


class _Proposals:
    """A method without maps to explain."""

    name, template, view_size, num_tokens = "mask-proposals", "{}", 32, 0
    settings: Mapping[str, object] = {}
    rejection = ()

    def text_keys(self, texts: Sequence[str]) -> list[bytes]:
        return [text.encode() for text in texts]

    def encode_text(self, texts: Sequence[str]) -> Float32[np.ndarray, "N D"]:
        return np.eye(len(texts), dtype=np.float32)

    def encode_views(self, views: Sequence[np.ndarray]) -> list[Any]:
        return list(views)

    def logits(
        self,
        views: Sequence[UInt8[np.ndarray, "_ _ 3"]],
        text_embedding: Float32[np.ndarray, "N D"],
        owner: Sequence[int] | None = None,
    ) -> list[ViewLogits]:
        raise AssertionError(len(views), text_embedding, owner)


def test_another_method_is_told_what_is_supported(pixels: np.ndarray) -> None:
    segmenter = Segmenter(_Proposals(), model="proposals:x", weights_hash="")
    with pytest.raises(ConfigError, match=r"mask-proposals.*give an ESC-Net, or training-free"):
        explain(segmenter, pixels, NAMES, "cat")


def test_the_numbers_say_who_made_them_and_what_without_means(
    segmenter: Segmenter, pixels: np.ndarray
) -> None:
    summary = explain(segmenter, pixels, NAMES, "cat").summary()
    assert summary["model"] == "stirred"
    assert summary["method"] == "esc-net"
    assert summary["names"] == ["cat", "dog", "grass", "sky"]
    assert (summary["width"], summary["height"]) == (60, 40)
    assert [block["block"] for block in summary["blocks"]] == [1, 2]
    assert "residual alone" in summary["without_sam_means"]
    for block in summary["blocks"]:
        assert set(block["activation"]) == {"with_sam", "without_sam", "mean_difference"}
