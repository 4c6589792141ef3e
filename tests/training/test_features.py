import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from escnet.data.folder import FolderDataset
from escnet.data.labelled_picture import LabelledPicture
from escnet.errors import DatasetError, ImageError
from escnet.mini.vision import PairedMaps, PairedVision
from escnet.training.features import compute_features, whole_view


@pytest.fixture(scope="module")
def vision() -> PairedVision:
    torch.manual_seed(0)
    config = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
              "image_size": 28, "patch_size": 14}  # fmt: skip
    tower = PairedVision(config, layers=(1, 2), joint_dim=12, head_dim=8, patch_size=16)
    return tower.eval()


@pytest.fixture
def items(data_folder: Path) -> list[LabelledPicture]:
    return list(FolderDataset.read(data_folder))[:3]


def assert_close(found: PairedMaps, expected: PairedMaps) -> None:
    for name, one, other in zip(PairedMaps._fields, found, expected, strict=True):
        largest = other.abs().max().item()
        assert (one - other).abs().max() < 0.05 * largest + 1e-3, name  # both halves of precision


def test_stored_maps_are_those_of_the_tower_and_of_its_mirrored_view(
    vision: PairedVision, items: list[LabelledPicture], tmp_path: Path
) -> None:
    store = compute_features(vision, items, tmp_path, image_size=64, mirror=True)
    image = torch.stack([whole_view(items[index].image_path, 64) for index in (2, 0)])
    stems = [items[2].stem, items[0].stem]
    with torch.no_grad():
        assert_close(store.maps(stems), vision.read(image))
        assert_close(store.maps(stems, mirrored=True), vision.read(image.flip(3)))


def test_maps_are_computed_once(
    vision: PairedVision, items: list[LabelledPicture], tmp_path: Path
) -> None:
    compute_features(vision, items, tmp_path, image_size=64, mirror=False)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*.npy")}
    assert len(times) == len(PairedMaps._fields)
    compute_features(vision, items, tmp_path, image_size=64, mirror=False)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*.npy")} == times


@pytest.mark.parametrize("change", ["pictures", "size", "mirror"])
def test_other_pictures_or_another_size_are_computed_anew(
    vision: PairedVision, items: list[LabelledPicture], tmp_path: Path, change: str
) -> None:
    compute_features(vision, items, tmp_path, image_size=64, mirror=False)
    store = compute_features(
        vision,
        items[1:] if change == "pictures" else items,
        tmp_path,
        image_size=32 if change == "size" else 64,
        mirror=change == "mirror",
    )
    maps = store.maps([items[1].stem], mirrored=change == "mirror")
    assert maps.vit.shape[-1] == (2 if change == "size" else 4)
    counts = sorted(len(np.load(path)) for path in tmp_path.glob("*/plain.vit.npy"))
    assert counts == ([2, 3] if change == "pictures" else [3, 3])  # the first ones are still there


def test_another_towers_maps_are_not_taken_for_this_ones(
    vision: PairedVision, items: list[LabelledPicture], tmp_path: Path
) -> None:
    own = compute_features(vision, items, tmp_path, image_size=64, mirror=False)
    other = copy.deepcopy(vision)
    with torch.no_grad():
        for weight in other.vit.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    found = compute_features(other, items, tmp_path, image_size=64, mirror=False)
    stem = items[0].stem
    assert not torch.equal(found.maps([stem]).vit, own.maps([stem]).vit)


def test_maps_that_were_not_finished_are_not_believed(
    vision: PairedVision, items: list[LabelledPicture], tmp_path: Path
) -> None:
    compute_features(vision, items, tmp_path / "maps", image_size=64, mirror=False)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    item = LabelledPicture(stem="x", image_path=broken, label_path=broken, source="voc")
    with pytest.raises(ImageError):
        compute_features(vision, [*items, item], tmp_path / "maps", image_size=64, mirror=False)
    assert len(list((tmp_path / "maps").glob("*/done.json"))) == 1
    assert not list((tmp_path / "maps").glob(".*"))


def test_the_whole_view_squeezes_the_picture_into_a_square(tmp_path: Path) -> None:
    Image.new("RGB", (50, 10), (255, 0, 51)).save(tmp_path / "flat.png")
    view = whole_view(tmp_path / "flat.png", 16)
    assert view.shape == (3, 16, 16)
    torch.testing.assert_close(view[:, 3, 5], torch.tensor([1.0, 0.0, 0.2]))


NUM_PLAIN = 100


@pytest.fixture
def plain_items(tmp_path: Path) -> list[LabelledPicture]:
    """Many pictures of one colour each, the second of them broken."""
    items = []
    for index in range(NUM_PLAIN):
        path = tmp_path / f"p{index}.png"
        Image.new("RGB", (8, 8), (2 * index, 0, 0)).save(path)
        items.append(LabelledPicture(stem=path.stem, image_path=path, label_path=path, source="a"))
    items[1].image_path.write_bytes(b"no picture")
    return items


def test_a_broken_picture_is_skipped_and_known_also_to_later_runs(
    vision: PairedVision, plain_items: list[LabelledPicture], tmp_path: Path
) -> None:
    folder = tmp_path / "maps"
    for _ in range(2):  # the second one finds the maps
        store = compute_features(
            vision, plain_items, folder, image_size=32, mirror=False, skip_broken=True
        )
        assert len(store.broken) == 1
        assert "p1.png" in (store.broken.reason_of((0, 1)) or "")
        with pytest.raises(ImageError, match=r"p1\.png"):
            store.maps(["p0", "p1"])
    with torch.no_grad():
        seen = vision.read(whole_view(plain_items[2].image_path, 32)[None])
    assert_close(store.maps(["p2"]), seen)
    with pytest.raises(ImageError, match=r"p1\.png"):  # whoever needs them all has not got them
        compute_features(vision, plain_items, folder, image_size=32, mirror=False)


def test_more_than_one_broken_picture_in_a_hundred_leaves_no_maps(
    vision: PairedVision, plain_items: list[LabelledPicture], tmp_path: Path
) -> None:
    plain_items[99].image_path.unlink()
    with pytest.raises(DatasetError, match="2 of 100 pictures are broken"):
        compute_features(
            vision, plain_items, tmp_path / "maps", image_size=32, mirror=False, skip_broken=True
        )
    assert not list((tmp_path / "maps").iterdir())
