import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from escnet.data.folder import FolderDataset
from escnet.data.image import read_image
from escnet.errors import DatasetError, ImageError
from escnet.inference.label_maps.published_resize import square_image
from escnet.mini.config import MiniConfig
from escnet.mini.network import Mini
from escnet.mini.training.features import compute_features, compute_summaries
from escnet.mini.vision import PairedMaps, PairedVision
from tests.mini.conftest import MINI


@pytest.fixture(scope="module")
def vision() -> PairedVision:
    torch.manual_seed(0)
    config = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
              "image_size": 28, "patch_size": 14}  # fmt: skip
    tower = PairedVision(config, layers=(1, 2), joint_dim=12, head_dim=8, patch_size=16)
    return tower.eval()


@pytest.fixture
def paths(data_folder: Path) -> list[Path]:
    return [item.image_path for item in FolderDataset.read(data_folder)][:3]


def image_of(path: Path, side: int) -> torch.Tensor:
    return torch.from_numpy(square_image(read_image(path), side))[None]


def assert_close(found: PairedMaps, expected: PairedMaps) -> None:
    for name, one, other in zip(PairedMaps._fields, found, expected, strict=True):
        largest = other.abs().max().item()
        assert (one - other).abs().max() < 0.05 * largest + 1e-3, name  # both halves of precision


def test_stored_maps_are_those_of_the_tower_and_of_its_mirrored_view(
    vision: PairedVision, paths: list[Path], tmp_path: Path
) -> None:
    store = compute_features(vision, paths, tmp_path, image_size=64, mirror=True)
    for path in (paths[2], paths[0]):
        image = image_of(path, 64)
        with torch.no_grad():
            assert_close(store.maps(path), vision.read(image))
            assert_close(store.maps(path, mirrored=True), vision.read(image.flip(3)))


def test_maps_are_computed_once(vision: PairedVision, paths: list[Path], tmp_path: Path) -> None:
    compute_features(vision, paths, tmp_path, image_size=64, mirror=False)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*.npz")}
    assert len(times) == len(paths)
    compute_features(vision, paths, tmp_path, image_size=64, mirror=False)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*.npz")} == times


@pytest.mark.parametrize(("change", "num_more"), [("picture", 1), ("size", 3), ("mirror", 3)])
def test_only_what_is_not_there_yet_is_computed(
    vision: PairedVision, paths: list[Path], tmp_path: Path, change: str, num_more: int
) -> None:
    is_more = change == "picture"
    compute_features(vision, paths[is_more:], tmp_path, image_size=64, mirror=False)
    earlier = set(tmp_path.glob("*/*.npz"))
    store = compute_features(
        vision,
        paths,
        tmp_path,
        image_size=32 if change == "size" else 64,
        mirror=change == "mirror",
    )
    maps = store.maps(paths[1], mirrored=change == "mirror")
    assert maps.vit.shape[-1] == (2 if change == "size" else 4)
    assert earlier < set(tmp_path.glob("*/*.npz"))
    assert len(set(tmp_path.glob("*/*.npz")) - earlier) == num_more


def test_another_towers_maps_are_not_taken_for_this_ones(
    vision: PairedVision, paths: list[Path], tmp_path: Path
) -> None:
    own = compute_features(vision, paths, tmp_path, image_size=64, mirror=False)
    other = copy.deepcopy(vision)
    with torch.no_grad():
        for weight in other.vit.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    found = compute_features(other, paths, tmp_path, image_size=64, mirror=False)
    assert not torch.equal(found.maps(paths[0]).vit, own.maps(paths[0]).vit)


def test_a_picture_with_another_content_is_another_picture(
    vision: PairedVision, paths: list[Path], tmp_path: Path
) -> None:
    own = tmp_path / "own.png"
    found = []
    for path in paths[:2]:
        own.write_bytes(path.read_bytes())
        store = compute_features(vision, [own], tmp_path / "maps", image_size=64, mirror=False)
        found.append(store.maps(own).vit)
    assert not torch.equal(*found)


NUM_PLAIN = 100


@pytest.fixture
def plain_paths(tmp_path: Path) -> list[Path]:
    """Many pictures of one colour each, the second of them broken."""
    paths = [tmp_path / f"p{index}.png" for index in range(NUM_PLAIN)]
    for index, path in enumerate(paths):
        Image.new("RGB", (8, 8), (2 * index, 0, 0)).save(path)
    paths[1].write_bytes(b"no picture")
    return paths


def test_a_broken_picture_is_skipped_and_known_also_to_later_runs(
    vision: PairedVision, plain_paths: list[Path], tmp_path: Path
) -> None:
    for _ in range(2):  # the second one finds the maps
        store = compute_features(
            vision, plain_paths, tmp_path / "maps", image_size=32, mirror=False
        )
        assert len(store.broken) == 1
        with pytest.raises(ImageError, match=r"p1\.png"):
            store.maps(plain_paths[1])
    with torch.no_grad():
        assert_close(store.maps(plain_paths[2]), vision.read(image_of(plain_paths[2], 32)))


def test_more_than_one_broken_picture_in_a_hundred_is_refused(
    vision: PairedVision, plain_paths: list[Path], tmp_path: Path
) -> None:
    plain_paths[99].unlink()
    with pytest.raises(DatasetError, match="2 of 100 pictures are broken"):
        compute_features(vision, plain_paths, tmp_path / "maps", image_size=32, mirror=False)


def test_summaries_are_those_of_whole_pictures_in_their_order_and_computed_once(
    paths: list[Path], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = Mini(MiniConfig(**MINI)).eval()
    found = compute_summaries(network, paths, tmp_path)
    assert found.shape == (3, network.vision.summary_channels)
    assert not torch.allclose(found[0], found[1], atol=1e-3)
    torch.testing.assert_close(compute_summaries(network, paths[::-1], tmp_path), found.flip(0))
    for file in tmp_path.glob("*/*.npz"):
        np.savez(file, summary=np.zeros_like(found[0]))
    torch.nn.init.zeros_(network.vision.head.linear.weight)  # which has no part in them
    assert not compute_summaries(network, paths, tmp_path).any()  # read from there
