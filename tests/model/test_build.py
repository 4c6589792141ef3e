from collections.abc import Callable

import pytest
import torch
from torch import nn

from escnet.model.build import (
    build_blocks,
    build_prompt_encoder,
    build_towers,
)
from escnet.model.config import EscNetConfig, preset
from escnet.model.escnet import EscNet
from escnet.towers.clip import ClipText, ClipVision
from escnet.towers.siglip import SiglipText, SiglipVision


def num_parameters(module: nn.Module | None) -> int:
    assert module is not None
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("towers", "expected"),
    [("clip", (ClipVision, ClipText)), ("siglip", (SiglipVision, SiglipText))],
)
def test_the_settings_name_the_towers(towers: str, expected: tuple[type[nn.Module], ...]) -> None:
    config = EscNetConfig.from_dict({**preset("tiny").to_dict(), "towers": towers})
    assert tuple(type(tower) for tower in build_towers(config)) == expected


def test_without_sam_there_is_neither_prompt_encoder_nor_sam_block() -> None:
    config = EscNetConfig.from_dict({**preset("tiny").to_dict(), "sam": "none"})
    assert build_prompt_encoder(config) is None
    assert all(block.sam is None for block in build_blocks(config))


def test_no_block_shares_weights_with_another() -> None:
    blocks = build_blocks(preset("tiny"))
    addresses = [parameter.data_ptr() for parameter in blocks.parameters()]
    assert len(blocks) == 2
    assert len(addresses) == len(set(addresses))


def test_one_layer_a_block_halves_sams_transformers(
    tiny_network: Callable[..., EscNet],
) -> None:
    both, alternate = tiny_network(), tiny_network(sam_layers="alternate")
    for index, block in enumerate(alternate.blocks):
        whole = both.blocks[index].get_submodule("sam.two_way")
        assert num_parameters(whole) == 2 * num_parameters(block.get_submodule("sam.two_way"))
        assert list(block.get_submodule("sam.two_way.layers")._modules) == [str(index % 2)]


def test_vit_l_14_has_the_parameters_that_the_notes_count() -> None:
    # docs/paper-notes.md, "Parameters of vit-l-14", explains each row beside the paper's 451.3 M.
    with torch.device("meta"):
        network = EscNet(preset("vit-l-14"))
    block = network.blocks[0]
    found = {
        "CLIP": num_parameters(network.vision) + num_parameters(network.text),
        "two-way transformer": num_parameters(block.get_submodule("sam.two_way")),
        "SAM block": num_parameters(block.get_submodule("sam")),
        "fusion": num_parameters(block.get_submodule("fusion")),
        "prompt encoder": num_parameters(network.prompt_encoder),
        "decoder": num_parameters(network.decoder),
        "all": num_parameters(network),
    }
    assert found == {
        "CLIP": 427_944_192,
        "two-way transformer": 3_159_040,
        "SAM block": 3_291_392,
        "fusion": 824_960,
        "prompt encoder": 6_220,
        "decoder": 604_369,
        "all": 445_224_483,
    }


def test_masks_add_sams_mask_head_and_an_embedding_to_every_block() -> None:
    config = preset("vit-l-14")
    config.sam_masks = True
    with torch.device("meta"):
        network = EscNet(config)
    block = network.blocks[0]
    assert num_parameters(block.get_submodule("sam.mask_head")) == 4_058_340 - 3_160_320 - 132_612
    assert num_parameters(block.get_submodule("embed_mask")) == 6_400
    assert num_parameters(network) == 445_224_483 + 4 * (765_408 + 6_400)
