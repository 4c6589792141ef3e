"""SAM whole, from a folder and from the authors' names."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import SamConfig, SamModel
from transformers.models.sam.configuration_sam import SamVisionConfig

from escnet.cli.main import run
from escnet.errors import WeightsError
from escnet.weights.sam import read_sam_parts, read_sam_tensors, sam_files
from escnet.weights.sam_model import load_sam_decoder, load_sam_model
from escnet.weights.tensor_file import tensors_sha256


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[SamModel, Path]:
    torch.manual_seed(0)
    vision = SamVisionConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    model = SamModel(SamConfig(vision_config=vision.to_dict())).eval()
    folder = tmp_path_factory.mktemp("sam")
    model.save_pretrained(folder)
    return model, folder


def test_a_folder_gives_the_model_that_was_saved(saved: tuple[SamModel, Path]) -> None:
    model, folder = saved
    found = load_sam_model(folder).state_dict()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(found[name], tensor)


# What the published config.json of SAM ViT-B, L and H says of each part besides its sizes.
LEFT_BY_EARLIER_VERSIONS = {
    "_name_or_path": "",
    "add_cross_attention": False,
    "bad_words_ids": None,
    "chunk_size_feed_forward": 0,
    "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
    "is_decoder": False,
    "length_penalty": 1.0,
    "num_beams": 1,
    "output_attentions": False,
    "pruned_heads": {},
    "tie_word_embeddings": True,
    "torch_dtype": None,
    "torchscript": False,
    "transformers_version": "4.29.0.dev0",
    "use_bfloat16": False,
}


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_a_folder_as_published_gives_the_same_model(
    saved: tuple[SamModel, Path], tmp_path: Path, file: str
) -> None:
    model, folder = saved
    tensors = model.state_dict()
    tensors["prompt_encoder.shared_embedding.positional_embedding"] = tensors[
        "shared_image_embedding.positional_embedding"
    ].clone()
    if file.endswith(".bin"):
        torch.save(tensors, tmp_path / file)
    else:
        save_file(tensors, tmp_path / file)
    config = json.loads((folder / "config.json").read_text())
    for part in ("vision_config", "prompt_encoder_config", "mask_decoder_config"):
        config[part] |= LEFT_BY_EARLIER_VERSIONS
    config |= {"torch_dtype": "float32", "transformers_version": None, "_commit_hash": None}
    config["vision_config"] |= {"dropout": 0.0, "projection_dim": 512, "num_pos_feats": 128}
    del config["dtype"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = load_sam_model(tmp_path)
    pixels = torch.rand(1, 3, 1024, 1024)
    points = torch.tensor([[[[512.0, 300.0]]]])
    with torch.no_grad():
        answers = [
            one(pixel_values=pixels, input_points=points).pred_masks for one in (found, model)
        ]
    torch.testing.assert_close(*answers)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_folder_in_pieces_gives_the_same_model_parts_and_hash_of_all_pieces(
    saved: tuple[SamModel, Path], tmp_path: Path, name: str
) -> None:
    model, folder = saved
    tensors = load_file(folder / "model.safetensors")
    shutil.copy(folder / "config.json", tmp_path)
    stem, suffix = name.split(".")
    where = {one: f"{stem}-0000{1 + i % 3}-of-00003.{suffix}" for i, one in enumerate(tensors)}
    for file in set(where.values()):
        piece = {one: tensors[one] for one in tensors if where[one] == file}
        (save_file if suffix == "safetensors" else torch.save)(piece, tmp_path / file)
    (tmp_path / f"{name}.index.json").write_text(json.dumps({"weight_map": where}))
    found = load_sam_model(tmp_path).state_dict()
    assert all(torch.equal(found[one], tensor) for one, tensor in model.state_dict().items())
    parts, expected = read_sam_parts(tmp_path), read_sam_parts(folder)
    assert torch.equal(parts.output_tokens, expected.output_tokens)
    assert parts.origin.sha256 == tensors_sha256(sam_files(tmp_path)) != expected.origin.sha256
    assert len(sam_files(tmp_path)) == 3
    assert run(["weights", "check", str(tmp_path)]) == 0


def test_the_decoder_alone_is_read_from_the_authors_names(
    saved: tuple[SamModel, Path], tmp_path: Path
) -> None:
    model, folder = saved
    save_file(read_sam_tensors(folder), tmp_path / "decoder.safetensors")
    found = load_sam_decoder(tmp_path / "decoder.safetensors").state_dict()
    for name, tensor in model.state_dict().items():
        if not name.startswith("vision_encoder."):
            torch.testing.assert_close(found[name], tensor)
    with pytest.raises(WeightsError, match="holds no image encoder of SAM"):
        load_sam_model(tmp_path / "decoder.safetensors")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vision_config": "x"}, r"config\.json does not describe a network"),
        ({"vision_config": {"hidden_size": "big"}}, "hidden_size 'big', which is no whole number"),
        ({"model_type": {}}, r"config\.json has model_type \{\}, no text"),
        (
            {"mask_decoder_config": {"num_hidden_layers": 3}},
            r"lacks \d+ of .*transformer\.layers\.2",
        ),
    ],
)
def test_a_folder_whose_settings_fit_no_sam_is_one_error(
    saved: tuple[SamModel, Path], tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    folder = shutil.copytree(saved[1], tmp_path / "sam")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(WeightsError, match=message) as error:
        load_sam_model(folder)
    assert "\n" not in str(error.value)


def test_a_file_whose_image_encoder_cannot_be_measured_is_one_error(
    saved: tuple[SamModel, Path], tmp_path: Path
) -> None:
    patch = {"image_encoder.patch_embed.proj.weight": torch.zeros(768, 3, 16, 16)}
    save_file({**read_sam_tensors(saved[1]), **patch}, tmp_path / "x.safetensors")
    with pytest.raises(WeightsError, match=r"x\.safetensors does not describe a network"):
        load_sam_model(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    "name", ["vision_encoder.neck.conv1.weight", "mask_decoder.iou_token.weight"]
)
def test_values_that_are_no_numbers_are_named(
    saved: tuple[SamModel, Path], tmp_path: Path, name: str
) -> None:
    folder = shutil.copytree(saved[1], tmp_path / "sam")
    tensors = load_file(folder / "model.safetensors")
    tensors[name].view(-1)[1] = torch.nan
    save_file(tensors, folder / "model.safetensors")
    message = rf"infinite or no number in 1 of \d+ tensors \({name}\)"
    with pytest.raises(WeightsError, match=message):
        load_sam_model(folder)
    if name.startswith("mask_decoder"):
        with pytest.raises(WeightsError, match=message):
            load_sam_decoder(folder)
