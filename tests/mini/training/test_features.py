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
from escnet.mini.training.features import compute_features
from escnet.mini.vision import PairedMaps, PairedVision


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
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*.npy")}
    assert len(times) == len(PairedMaps._fields)
    compute_features(vision, paths, tmp_path, image_size=64, mirror=False)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*.npy")} == times


@pytest.mark.parametrize("change", ["pictures", "size", "mirror"])
def test_other_pictures_or_another_size_are_computed_anew(
    vision: PairedVision, paths: list[Path], tmp_path: Path, change: str
) -> None:
    compute_features(vision, paths, tmp_path, image_size=64, mirror=False)
    store = compute_features(
        vision,
        paths[1:] if change == "pictures" else paths,
        tmp_path,
        image_size=32 if change == "size" else 64,
        mirror=change == "mirror",
    )
    maps = store.maps(paths[1], mirrored=change == "mirror")
    assert maps.vit.shape[-1] == (2 if change == "size" else 4)
    counts = sorted(len(np.load(path)) for path in tmp_path.glob("*/plain.vit.npy"))
    assert counts == ([2, 3] if change == "pictures" else [3, 3])  # the first ones are still there


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


def test_maps_that_were_not_finished_are_not_believed(
    vision: PairedVision, paths: list[Path], tmp_path: Path
) -> None:
    compute_features(vision, paths, tmp_path / "maps", image_size=64, mirror=False)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(DatasetError):
        compute_features(vision, [*paths, broken], tmp_path / "maps", image_size=64, mirror=False)
    assert len(list((tmp_path / "maps").glob("*/done.json"))) == 1
    assert not list((tmp_path / "maps").glob(".*"))


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
        assert "p1.png" in (store.reason_of(plain_paths[1]) or "")
        with pytest.raises(ImageError, match=r"p1\.png"):
            store.maps(plain_paths[1])
    with torch.no_grad():
        assert_close(store.maps(plain_paths[2]), vision.read(image_of(plain_paths[2], 32)))


def test_more_than_one_broken_picture_in_a_hundred_leaves_no_maps(
    vision: PairedVision, plain_paths: list[Path], tmp_path: Path
) -> None:
    plain_paths[99].unlink()
    with pytest.raises(DatasetError, match="2 of 100 pictures are broken"):
        compute_features(vision, plain_paths, tmp_path / "maps", image_size=32, mirror=False)
    assert not list((tmp_path / "maps").iterdir())
