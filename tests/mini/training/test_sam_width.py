import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from escnet.data.folder import FolderDataset
from escnet.data.image import read_image
from escnet.data.labelled_picture import LabelledPicture
from escnet.errors import DatasetError
from escnet.inference.label_maps.published_resize import square_image
from escnet.mini.config import MiniConfig
from escnet.mini.network import Mini
from escnet.mini.training.sam_width import fit_sam_width, on_grid, read_embedding
from escnet.model.config import preset
from escnet.model.escnet import EscNet
from escnet.model.sam_block import IMAGE_DEVIATION
from tests.mini.conftest import MINI


@pytest.fixture
def network() -> EscNet:
    torch.manual_seed(0)
    return EscNet(preset("tiny")).eval()


@pytest.fixture
def items(data_folder: Path) -> list[LabelledPicture]:
    return list(FolderDataset.read(data_folder))


def paired_config(**settings: str) -> MiniConfig:
    return MiniConfig(**{**MINI, "sam_dim": 32, **settings})


@torch.inference_mode()
def appearance(network: EscNet, item: LabelledPicture) -> torch.Tensor:
    image = torch.from_numpy(square_image(read_image(item.image_path), 32))[None]
    joint = network.vision(image).joint
    return network.sam_norm(network.to_sam_width(joint))[0]


def write_linear(network: EscNet, items: list[LabelledPicture], folder: Path) -> torch.Tensor:
    """Embeddings that are a linear map of what SAM sees, normed over channels, of deviation 0.3.

    The pictures are 24 x 32, so they fill the upper 3 rows of a square of 4 x 4.
    """
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(32, network.to_sam_width.in_channels, generator=generator)
    for item in items:
        with torch.inference_mode():
            view = square_image(read_image(item.image_path), network.config.image_size)
            seen = network.vision(torch.from_numpy(view)[None]).sam_input[0]
        map_ = torch.einsum("sv,vhw->shw", weight, seen)
        map_ = map_ - map_.mean(dim=0)
        map_ = 0.3 * map_ / map_.std(dim=0)
        square = np.full((1, 32, 16, 16), 9.0, np.float16)  # padding must not be looked at
        fine = map_.repeat_interleave(3, dim=1).repeat_interleave(4, dim=2)
        square[0, :, :12] = fine.numpy()
        np.save(folder / f"{item.stem}.npy", square)
    return weight


def test_a_fitted_map_gives_what_sams_encoder_gives(
    network: EscNet, items: list[LabelledPicture], tmp_path: Path
) -> None:
    write_linear(network, items, tmp_path)
    explained = fit_sam_width(network, items, tmp_path)
    assert explained > 0.5
    for item in items:
        wanted = on_grid(read_embedding(tmp_path / f"{item.stem}.npy", 32), (24, 32), (4, 4))
        given = appearance(network, item)
        assert given.std(dim=0).mean() == pytest.approx(0.3, rel=0.05)
        cosine = torch.nn.functional.cosine_similarity(given, wanted, dim=0)
        assert cosine.mean() > 0.9


def test_what_the_joint_space_lost_is_found_in_the_towers_own_maps(
    items: list[LabelledPicture], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    tower, joint = (Mini(paired_config(sam_input=one)).eval() for one in ("tower", "joint"))
    joint.vision.load_state_dict(tower.vision.state_dict())
    write_linear(tower, items, tmp_path)
    left_of_tower, left_of_joint = (
        1 - fit_sam_width(one, items, tmp_path) for one in (tower, joint)
    )
    assert left_of_tower < 0.1 * left_of_joint


def test_an_untrained_network_has_sams_scale(network: EscNet, items: list[LabelledPicture]) -> None:
    assert appearance(network, items[0]).std(dim=0).mean() == pytest.approx(
        IMAGE_DEVIATION, rel=0.05
    )


def test_pictures_without_an_embedding_are_left_out(
    network: EscNet, items: list[LabelledPicture], tmp_path: Path
) -> None:
    write_linear(network, items[:3], tmp_path)
    other = dataclasses.replace(items[0], stem="voc__none", image_path=Path("not-there.png"))
    with_other, without = EscNet(network.config), EscNet(network.config)
    for one in (with_other, without):
        one.load_state_dict(network.state_dict())
    fit_sam_width(with_other.eval(), [*items[:3], other], tmp_path)
    fit_sam_width(without.eval(), items[:3], tmp_path)
    assert torch.equal(with_other.to_sam_width.weight, without.to_sam_width.weight)
    assert not torch.equal(with_other.to_sam_width.weight, network.to_sam_width.weight)


def test_the_part_that_the_picture_fills_by_hand() -> None:
    square = torch.arange(16.0).reshape(1, 4, 4)
    # A picture twice as wide as high fills the upper two rows.
    assert on_grid(square, (50, 100), (2, 4)).tolist() == [[[0, 1, 2, 3], [4, 5, 6, 7]]]
    assert on_grid(square, (50, 100), (1, 2)).tolist() == [[[2.5, 4.5]]]
    assert on_grid(square, (100, 50), (4, 2)).tolist() == [[[0, 1], [4, 5], [8, 9], [12, 13]]]


def test_a_folder_without_embeddings_is_refused(
    network: EscNet, items: list[LabelledPicture], tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match=r"holds STEM\.npy of none of the pictures"):
        fit_sam_width(network, items, tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((16, 4, 4)), "has shape"),
        (np.zeros((32, 4, 5)), "has shape"),
        (np.array(["a"]), "cannot be read"),
    ],
)
def test_something_else_than_an_embedding_is_refused(
    tmp_path: Path, values: np.ndarray, message: str
) -> None:
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(DatasetError, match=message):
        read_embedding(tmp_path / "a.npy", 32)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(DatasetError, match="cannot be read"):
        read_embedding(tmp_path / "a.npy", 32)
