from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from escnet.mini.assemble import assemble_paired
from escnet.mini.config import MiniConfig
from escnet.mini.network import Mini
from escnet.weights.sam import sam_shapes
from tests.mini.conftest import MINI


@pytest.mark.parametrize(("is_given", "said"), [(True, "pretrained"), (False, "random")])
def test_the_settings_say_whether_sam_is_in_it(tmp_path: Path, is_given: bool, said: str) -> None:
    config = MiniConfig(**{**MINI, "sam": "pretrained", "sam_dim": 256, "sam_mlp_dim": 2048})
    torch.manual_seed(2)
    save_file({name: torch.randn(shape) for name, shape in sam_shapes().items()}, tmp_path / "sam")
    donor = Mini(config)
    save_file(donor.vision.vit.state_dict(), tmp_path / "vit")
    torch.save(donor.vision.net.state_dict(), tmp_path / "net")
    donor.text.tower.save_pretrained(tmp_path / "sentence")
    network = assemble_paired(
        config,
        vit=tmp_path / "vit",
        efficientnet=tmp_path / "net",
        sentence=tmp_path / "sentence",
        sam=tmp_path / "sam" if is_given else None,
    )
    assert network.config.sam == said
    assert config.sam == "pretrained"  # the caller's own
    assert torch.equal(network.vision.vit.layernorm.weight, donor.vision.vit.layernorm.weight)
