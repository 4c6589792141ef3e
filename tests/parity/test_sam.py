"""Our parts of SAM against those of transformers' `SamModel`."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import SamConfig, SamModel
from transformers.models.sam.configuration_sam import SamMaskDecoderConfig, SamVisionConfig

from escnet.model.mask_head import MaskHead
from escnet.model.prompt_encoder import PromptEncoder
from escnet.model.two_way import SharedPatches, TwoWayTransformer
from escnet.weights.sam import read_sam_parts, read_sam_tensors

B, N, S, h, w = 2, 3, 256, 6, 5
IMAGE_SIZE = 1024  # SAM's; only the fraction of it matters to a point
LARGEST_DIFFERENCE = 1e-5  # of the largest value

REAL_DECODER = (
    Path(__file__).parents[3] / "shared/weights/sam-prompt-encoder-mask-decoder.safetensors"
)


def assert_equal(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    difference = (found - expected).abs().max() / expected.abs().max()
    assert difference <= LARGEST_DIFFERENCE


def sam_model(seed: int) -> SamModel:
    """transformers' SAM of the published sizes, but for the image encoder, which no test runs."""
    torch.manual_seed(seed)
    vision = SamVisionConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    # transformers norms with 1e-6 here, the authors with PyTorch's 1e-5: 2e-4 in the patches.
    decoder = SamMaskDecoderConfig(layer_norm_eps=1e-5)
    config = SamConfig(vision_config=vision.to_dict(), mask_decoder_config=decoder.to_dict())
    model = SamModel(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or "bias" in name:  # a fresh norm of 1 and 0 would hide a mistake
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def with_real_decoder(model: SamModel) -> SamModel:
    """Put the published weights in, renaming towards transformers for once."""
    real = read_sam_tensors(REAL_DECODER)
    state = model.state_dict()
    by_shape_order: list[tuple[str, str]] = [
        ("pe_layer.positional_encoding_gaussian_matrix", "shared_embedding.positional_embedding"),
        ("point_embeddings", "point_embed"),
        ("mask_downscaling.0", "mask_embed.conv1"),
        ("mask_downscaling.1", "mask_embed.layer_norm1"),
        ("mask_downscaling.3", "mask_embed.conv2"),
        ("mask_downscaling.4", "mask_embed.layer_norm2"),
        ("mask_downscaling.6", "mask_embed.conv3"),
        ("norm_final_attn", "layer_norm_final_attn"),
        *((f".norm{index}.", f".layer_norm{index}.") for index in range(1, 5)),
        ("output_upscaling.0", "upscale_conv1"),
        ("output_upscaling.1", "upscale_layer_norm"),
        ("output_upscaling.3", "upscale_conv2"),
    ]
    for name, tensor in real.items():
        for ours, theirs in by_shape_order:
            name = name.replace(ours, theirs)  # noqa: PLW2901
        if "_mlps." in name or "_head." in name:
            name = (  # noqa: PLW2901
                name.replace("layers.0", "proj_in")
                .replace("layers.1", "layers.0")
                .replace("layers.2", "proj_out")
            )
        assert name in state
        state[name] = tensor
    shared = "prompt_encoder.shared_embedding.positional_embedding"
    state["shared_image_embedding.positional_embedding"] = state[shared]
    model.load_state_dict(state)
    return model


@pytest.fixture(scope="module", params=["random", "real"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """transformers' SAM and our two modules, ours read from the folder that theirs saved."""
    model = sam_model(seed=0)
    if request.param == "real":
        if not REAL_DECODER.is_file():
            pytest.skip("the published decoder is not on this machine")
        model = with_real_decoder(model)
    folder = tmp_path_factory.mktemp("sam")
    model.save_pretrained(folder)
    parts = read_sam_parts(folder)
    prompt_encoder = PromptEncoder(S)
    prompt_encoder.load_state_dict(dict(parts.prompt_encoder))
    two_way = TwoWayTransformer(width=S, num_heads=8, mlp_width=2048)
    two_way.load_state_dict(dict(parts.two_way))
    mask_head = MaskHead(width=S, num_heads=8)
    mask_head.load_state_dict(dict(parts.mask_head))
    return SimpleNamespace(
        theirs=model,
        prompt_encoder=prompt_encoder.eval(),
        two_way=two_way.eval(),
        mask_head=mask_head.eval(),
        output_tokens=parts.output_tokens,
    )


@pytest.fixture
def random() -> Callable[..., Tensor]:
    generator = torch.Generator().manual_seed(1)
    return lambda *shape: torch.rand(*shape, generator=generator)


@torch.no_grad()
def test_points_and_the_padding_token_are_those_of_sam(
    pair: Any, random: Callable[..., Tensor]
) -> None:
    pixel_xy = (random(B, N, 4, 2) * (IMAGE_SIZE - 1)).round()
    label = torch.ones(B, N, 4)
    label[0, 1, 2] = -1  # a point that is none
    expected, _ = pair.theirs.prompt_encoder(pixel_xy, label, None, None)
    encoder = pair.prompt_encoder
    found = encoder.encode_points((pixel_xy + 0.5) / IMAGE_SIZE, label == 1)
    padding = encoder.padding_token().expand(B, N, -1, -1)
    assert_equal(torch.cat([found, padding], dim=2), expected)


@torch.no_grad()
def test_boxes_are_those_of_sam(pair: Any, random: Callable[..., Tensor]) -> None:
    corner_xy = random(1, N, 2, 2).sort(dim=2).values * (IMAGE_SIZE - 1)
    expected, _ = pair.theirs.prompt_encoder(None, None, corner_xy.flatten(2), None)
    box_xyxy = ((corner_xy + 0.5) / IMAGE_SIZE).flatten(2)[0][:, None]  # (N, 1, 4)
    found = pair.prompt_encoder.encode_boxes(box_xyxy, torch.ones(N, 1, dtype=torch.bool))
    assert_equal(found[None], expected)


@torch.no_grad()
def test_masks_of_any_grid_are_those_of_sam(pair: Any, random: Callable[..., Tensor]) -> None:
    mask = 8 * random(N, 4 * h, 4 * w) - 4
    _, expected = pair.theirs.prompt_encoder(None, None, None, mask[:, None])
    found = pair.prompt_encoder.encode_masks(mask)
    dense = found.code @ found.basis.T + found.offset  # (N, P, S)
    assert_equal(dense, expected.flatten(2).transpose(1, 2))


@torch.no_grad()
def test_each_half_of_the_mask_path_is_that_of_sam(
    pair: Any, random: Callable[..., Tensor]
) -> None:
    # What follows hides most of a half: another kind of GELU in the first is lost in the second.
    ours, theirs = pair.prompt_encoder.mask_downscaling, pair.theirs.prompt_encoder.mask_embed
    mask = 8 * random(N, 1, 4 * h, 4 * w) - 4
    first = theirs.activation(theirs.layer_norm1(theirs.conv1(mask)))
    assert_equal(ours[:3](mask), first)
    assert_equal(ours[3:6](first), theirs.activation(theirs.layer_norm2(theirs.conv2(first))))


@torch.no_grad()
def test_the_last_norm_of_tokens_that_are_nearly_flat_is_that_of_sam(
    pair: Any, random: Callable[..., Tensor]
) -> None:
    token = 1e-3 * random(B, N, 5, S)  # of a variance that shows the norm's epsilon
    expected = pair.theirs.mask_decoder.transformer.layer_norm_final_attn(token)
    assert_equal(pair.mask_head.norm_final_attn(token), expected)


@torch.no_grad()
def test_no_mask_is_that_of_sam(pair: Any, random: Callable[..., Tensor]) -> None:
    _, expected = pair.theirs.prompt_encoder(random(1, 1, 1, 2), torch.ones(1, 1, 1), None, None)
    assert_equal(pair.prompt_encoder.no_mask(), expected[0, :, 0, 0])


@torch.no_grad()
def test_the_image_positional_encoding_is_that_of_sam(pair: Any) -> None:
    expected = pair.theirs.get_image_wide_positional_embeddings()  # (1, S, 64, 64)
    found = pair.prompt_encoder.image_position(*expected.shape[2:])
    assert_equal(found, expected[0].flatten(1).T)


@pytest.mark.parametrize("has_mask", [True, False])
@torch.no_grad()
def test_the_two_way_transformer_updates_the_patches_as_sam_does(
    pair: Any, random: Callable[..., Tensor], has_mask: bool
) -> None:
    base = random(B, h * w, S) - 0.5
    code = random(B, N, h * w, 16) - 0.5 if has_mask else None
    basis = pair.prompt_encoder.mask_downscaling[-1].weight[:, :, 0, 0] if has_mask else None
    position = pair.prompt_encoder.image_position(h, w)
    point = pair.prompt_encoder.encode_points(random(B, N, 3, 2), torch.ones(B, N, 3).bool())
    token = torch.cat([pair.output_tokens.expand(B, N, -1, -1), point], dim=2)

    found = pair.two_way(
        SharedPatches(base, code, basis), pair.two_way.share(base, position), token
    )

    dense = base[:, None].expand(B, N, -1, -1)
    if code is not None and basis is not None:
        dense = dense + code @ basis.T
    _, expected = pair.theirs.mask_decoder.transformer(
        point_embeddings=token.flatten(0, 1)[:, None],
        image_embeddings=dense.flatten(0, 1).transpose(1, 2).unflatten(2, (h, w)),
        image_positional_embeddings=position.T.unflatten(1, (h, w))[None],
        attention_similarity=None,
    )
    assert_equal(found.image, expected[:, 0].unflatten(0, (B, N)))


@torch.no_grad()
def test_a_single_layer_is_that_layer_of_sam(pair: Any, random: Callable[..., Tensor]) -> None:
    base, position = random(B, h * w, S), pair.prompt_encoder.image_position(h, w)
    token = pair.output_tokens.expand(B, N, -1, -1)
    for index in (0, 1):
        single = TwoWayTransformer(width=S, num_heads=8, mlp_width=2048, layers=(index,))
        prefix = f"layers.{index}."
        state = {k: v for k, v in pair.two_way.state_dict().items() if k.startswith(prefix)}
        single.load_state_dict(state)
        shared = single.share(base, position)
        found = single(SharedPatches(base, None, None), shared, token).image
        keys = base[:, None].expand(B, N, -1, -1).flatten(0, 1)[:, None]
        _, expected, _ = pair.theirs.mask_decoder.transformer.layers[index](
            queries=token.flatten(0, 1)[:, None],
            keys=keys,
            query_point_embedding=token.flatten(0, 1)[:, None],
            key_point_embedding=position[None, None],
            attention_similarity=None,
        )
        assert_equal(found, expected[:, 0].unflatten(0, (B, N)))


@torch.no_grad()
def test_the_four_masks_are_those_of_sam(pair: Any, random: Callable[..., Tensor]) -> None:
    base, mask = random(1, h * w, S) - 0.5, 8 * random(N, 4 * h, 4 * w) - 4
    position = pair.prompt_encoder.image_position(h, w)
    point = pair.prompt_encoder.encode_points(random(1, N, 3, 2), torch.ones(1, N, 3).bool())
    token = torch.cat([pair.output_tokens.expand(1, N, -1, -1), point], dim=2)
    prompt = pair.prompt_encoder.encode_masks(mask)
    patches = SharedPatches(base + prompt.offset, prompt.code[None], prompt.basis)
    shared = pair.two_way.share(patches.base, position)
    found = pair.mask_head(pair.two_way(patches, shared, token), token, position, (h, w))

    _, dense = pair.theirs.prompt_encoder(None, None, None, mask[:, None])
    image, place = base[0].T.unflatten(1, (h, w)), position.T.unflatten(1, (h, w))
    for index in range(N):
        arguments = {
            "image_embeddings": image[None],
            "image_positional_embeddings": place[None],
            "sparse_prompt_embeddings": point[:, index][:, None],
            "dense_prompt_embeddings": dense[index : index + 1],
        }
        single, _ = pair.theirs.mask_decoder(**arguments, multimask_output=False)[:2]
        three, _ = pair.theirs.mask_decoder(**arguments, multimask_output=True)[:2]
        assert_equal(found[0, index], torch.cat([single, three], dim=2)[0, 0])
