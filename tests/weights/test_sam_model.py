"""SAM whole, from a folder and from the authors' names."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import SamConfig, SamModel
from transformers.models.sam.configuration_sam import SamVisionConfig

from escnet.errors import WeightsError
from escnet.weights.sam import read_sam_tensors
from escnet.weights.sam_model import load_sam_decoder, load_sam_model


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
