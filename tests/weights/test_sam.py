from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.overrides import TorchFunctionMode
from transformers import Sam2Config, Sam2Model, SamConfig, SamModel
from transformers.models.sam.configuration_sam import SamVisionConfig

from escnet.errors import WeightsError
from escnet.weights.sam import read_sam_parts, read_sam_tensors, sam_shapes

ENDING = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) for name, shape in sam_shapes().items()}


@pytest.fixture(scope="module")
def transformers_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sam")
    vision = SamVisionConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    SamModel(SamConfig(vision_config=vision.to_dict())).save_pretrained(folder)
    return folder


def test_there_are_as_many_tensors_and_values_as_sam_has() -> None:
    shapes = sam_shapes()
    num_values = {
        part: sum(torch.Size(s).numel() for n, s in shapes.items() if n.startswith(part))
        for part in ("prompt_encoder.", "mask_decoder.", "mask_decoder.transformer.layers.0.")
    }
    assert len(shapes) == 137
    assert num_values == {
        "prompt_encoder.": 6_220 + 256,
        "mask_decoder.": 4_058_340,
        "mask_decoder.transformer.layers.0.": 1_579_520,
    }


def test_the_authors_file_is_read_without_its_image_encoder(
    tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    path = tmp_path / "sam.pth"
    torch.save({"image_encoder.neck.0.weight": torch.ones(2), **tensors}, path)
    found = read_sam_tensors(path)
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_half_precision_becomes_single(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    path = tmp_path / "sam.safetensors"
    save_file({name: tensor.half() for name, tensor in tensors.items()}, path)
    found = read_sam_tensors(path)
    assert all(torch.equal(found[name], t.half().float()) for name, t in tensors.items())


def test_the_parts_are_named_as_our_modules_name_them(
    tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    path = tmp_path / "sam.safetensors"
    save_file(tensors, path)
    parts = read_sam_parts(path)
    assert parts.prompt_encoder.keys() == {
        name.removeprefix("prompt_encoder.") for name in tensors if name.startswith("prompt_")
    }
    assert len(parts.two_way) == 2 * 36
    assert torch.equal(
        parts.two_way["layers.1.norm4.bias"],
        tensors["mask_decoder.transformer.layers.1.norm4.bias"],
    )
    assert {name.split(".")[0] for name in parts.mask_head} == {
        "final_attn_token_to_image", "norm_final_attn", "output_upscaling",
        "output_hypernetworks_mlps",
    }  # fmt: skip
    assert torch.equal(
        parts.mask_head["norm_final_attn.bias"],
        tensors["mask_decoder.transformer.norm_final_attn.bias"],
    )
    # Kept are all parts of the decoder but the IoU head.
    assert 72 + len(parts.mask_head) + 2 + 6 == sum(name.startswith("mask_") for name in tensors)
    assert torch.equal(parts.output_tokens[:1], tensors["mask_decoder.iou_token.weight"])
    assert torch.equal(parts.output_tokens[1:], tensors["mask_decoder.mask_tokens.weight"])
    assert parts.origin.part == "SAM"
    assert parts.origin.name == "sam.safetensors"
    assert parts.origin.licence == "unknown"


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_the_folder_of_transformers_is_read_under_the_authors_names(
    transformers_folder: Path, tmp_path: Path, kind: str
) -> None:
    model = SamModel.from_pretrained(transformers_folder)
    folder = transformers_folder
    if kind == "bin":  # as older versions wrote it, with the shared matrix stored twice
        folder = tmp_path
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    found, theirs = read_sam_tensors(folder), model.state_dict()
    for ours, name in {
        ENDING: "shared_image_embedding.positional_embedding",
        "prompt_encoder.point_embeddings.3.weight": "prompt_encoder.point_embed.3.weight",
        "prompt_encoder.mask_downscaling.3.weight": "prompt_encoder.mask_embed.conv2.weight",
        "mask_decoder.output_upscaling.3.weight": "mask_decoder.upscale_conv2.weight",
        "mask_decoder.iou_prediction_head.layers.0.weight": (
            "mask_decoder.iou_prediction_head.proj_in.weight"
        ),
        "mask_decoder.output_hypernetworks_mlps.2.layers.1.bias": (
            "mask_decoder.output_hypernetworks_mlps.2.layers.0.bias"
        ),
        "mask_decoder.output_hypernetworks_mlps.2.layers.2.weight": (
            "mask_decoder.output_hypernetworks_mlps.2.proj_out.weight"
        ),
    }.items():
        assert torch.equal(found[ours], theirs[name])


def test_one_of_the_two_copies_of_the_shared_matrix_is_enough(
    transformers_folder: Path, tmp_path: Path
) -> None:
    state = SamModel.from_pretrained(transformers_folder).state_dict()
    for dropped in (
        "shared_image_embedding.positional_embedding",
        "prompt_encoder.shared_embedding.positional_embedding",
    ):
        path = tmp_path / "sam.pth"
        torch.save({name: tensor for name, tensor in state.items() if name != dropped}, path)
        assert ENDING in read_sam_tensors(path)


def test_two_copies_that_differ_are_refused(transformers_folder: Path, tmp_path: Path) -> None:
    state = SamModel.from_pretrained(transformers_folder).state_dict()
    shared = "shared_image_embedding.positional_embedding"
    torch.save({**state, shared: state[shared] + 1}, tmp_path / "sam.pth")
    with pytest.raises(WeightsError, match="holds two different tensors"):
        read_sam_tensors(tmp_path / "sam.pth")


def without_norms(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if ".norm1." not in name}


def with_a_stranger(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**tensors, "mask_decoder.stranger": torch.ones(1)}


def with_a_wider_token(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**tensors, "mask_decoder.mask_tokens.weight": torch.ones(3, 256)}


def with_all_three(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return with_a_wider_token(with_a_stranger(without_norms(tensors)))


LACKS = r"lacks 4 of 137 tensors \(mask_decoder\.transformer\.layers\.0\.norm1\.bias, "
HOLDS = r"holds 1 that do not belong \(mask_decoder\.stranger\)"
SHAPE = r"has 1 of another shape \(mask_decoder\.mask_tokens\.weight is \[3, 256\], not \[4, 256\]"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without_norms, LACKS),
        (with_a_stranger, HOLDS),
        (with_a_wider_token, SHAPE),
        (with_all_three, f"{LACKS}.*{HOLDS}.*{SHAPE}.*is it a SAM checkpoint"),
    ],
)
def test_what_does_not_fit_is_one_error(
    tmp_path: Path,
    tensors: dict[str, Tensor],
    spoil: Callable[[dict[str, Tensor]], dict[str, Tensor]],
    message: str,
) -> None:
    save_file(spoil(tensors), tmp_path / "sam.safetensors")
    with pytest.raises(WeightsError, match=message):
        read_sam_parts(tmp_path / "sam.safetensors")


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("sam_mask_decoder.iou_token.weight", "SAM 2"),
        ("mask_decoder.obj_score_token.weight", "SAM 2"),
        ("detector.backbone.vision.weight", "SAM 3"),
        ("mask_decoder.hf_token.weight", "HQ-SAM"),
        ("vision_model.post_layernorm.weight", "CLIP"),
    ],
)
def test_another_family_is_named_with_what_to_give_instead(
    tmp_path: Path, tensors: dict[str, Tensor], name: str, family: str
) -> None:
    torch.save({"model": {**tensors, name: torch.ones(1)}}, tmp_path / "x.pt")
    with pytest.raises(WeightsError, match=f"is a file of {family} .*sam_vit_b, _l or _h"):
        read_sam_parts(tmp_path / "x.pt")


class NoCasts(TorchFunctionMode):
    """Within it nothing is converted to float32."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func not in {Tensor.float, Tensor.to}, "a tensor was converted"
        return func(*args, **(kwargs or {}))


def test_shapes_are_checked_before_anything_is_made_larger(
    tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    strangers = {f"mask_decoder.{index}": torch.zeros(9, dtype=torch.uint8) for index in range(3)}
    torch.save({**tensors, **strangers}, tmp_path / "x.pt")
    with NoCasts(), pytest.raises(WeightsError, match="holds 3 that do not belong"):
        read_sam_tensors(tmp_path / "x.pt")


def test_the_folder_of_another_model_says_which_it_is(tmp_path: Path) -> None:
    config = Sam2Config()
    config.save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match=r"holds a model of type 'sam2'"):
        read_sam_parts(tmp_path)


def test_transformers_sam2_is_known_by_its_tensors_alone(tmp_path: Path) -> None:
    with torch.device("meta"):
        names = Sam2Model(Sam2Config()).state_dict()
    save_file({name: torch.ones(1) for name in names}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="is a file of SAM 2"):
        read_sam_parts(tmp_path)


def test_tensors_that_are_none_of_sam_are_named(tmp_path: Path) -> None:
    save_file({"layer.weight": torch.ones(1)}, tmp_path / "x.safetensors")
    with pytest.raises(WeightsError, match=r"no prompt encoder .* first tensor is layer\.weight"):
        read_sam_parts(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, r"has no model\.safetensors or pytorch_model\.bin"),
        ("{}", r"has no model\.safetensors"),
        ("[1]", "holds a JSON list, not an object"),
        ("[" * 200_000, r"config\.json is nested more than 64"),
        ('{"model_type": []}', r"has model_type \[\], no text"),
        ("{", r"config\.json is not JSON"),
        ('{"model_type": "clip"}', "holds a model of type 'clip'"),
    ],
)
def test_a_folder_without_weights_says_what_is_wrong(
    tmp_path: Path, config: str | None, message: str
) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(WeightsError, match=message):
        read_sam_parts(tmp_path)
