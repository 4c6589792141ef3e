import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from escnet.errors import WeightsError
from escnet.mini.training.text_space import fit_map, read_clip_text_vectors

COCO = [f"name {index}" for index in range(80)]


def test_names_come_in_the_order_of_their_vectors(parts_folder: Path) -> None:
    found = read_clip_text_vectors(parts_folder / "vectors", COCO)
    # LVIS by its numbers, whatever the order in the file.
    assert found.names == ["apple", "tv set", "dining", "table", "wild bird", *COCO]
    first = torch.from_numpy(np.load(parts_folder / "vectors" / "lvis_v1_clip_a+cname.npy"))[0]
    torch.testing.assert_close(found.vectors[0], (first / first.norm()).float())
    torch.testing.assert_close(found.vectors.norm(dim=1), torch.ones(85))


def test_names_without_a_vector_are_refused(parts_folder: Path) -> None:
    with pytest.raises(WeightsError, match="has 85 vectors for 10 names"):
        read_clip_text_vectors(parts_folder / "vectors", COCO[:5])


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("lvis_v1_train_cat_info.json", b"{"),
        ("lvis_v1_train_cat_info.json", b'[{"id": 1}]'),
        ("Objects365_names_fix.csv", b"1\n"),
        ("o365_clip_a+cnamefix.npy", b"\x00"),
        ("coco_clip_a+cname.npy", None),
    ],
)
def test_a_damaged_file_is_an_error_of_ours(
    parts_folder: Path, tmp_path: Path, file: str, content: bytes | None
) -> None:
    folder = Path(shutil.copytree(parts_folder / "vectors", tmp_path / "vectors"))
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_bytes(content)
    with pytest.raises(WeightsError, match=r"(cannot be read|is not JSON) .*copy the folder again"):
        read_clip_text_vectors(folder, COCO)


def test_a_linear_map_is_found_again() -> None:
    generator = torch.Generator().manual_seed(0)
    sentence = torch.randn(60, 5, generator=generator) + 3.0
    weight = torch.randn(4, 5, generator=generator)
    vector = sentence @ weight.T + torch.randn(4, generator=generator)
    found, bias = fit_map(sentence, vector, ridge=1e-6)
    torch.testing.assert_close(found, weight, atol=1e-4, rtol=1e-4)
    centred = vector - vector.mean(dim=0)  # the common part is left out
    torch.testing.assert_close(sentence @ found.T + bias, centred, atol=1e-3, rtol=1e-3)


def test_the_fit_of_one_hand_computed_direction() -> None:
    # Centred: -1 and 1 to -2 and 2. With ridge r the slope is 4 / (2 + r).
    weight, bias = fit_map(torch.tensor([[1.0], [3.0]]), torch.tensor([[5.0], [9.0]]), ridge=2.0)
    assert weight.item() == pytest.approx(1.0)
    assert bias.item() == pytest.approx(-2.0)
