import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from published import H, W, colours_of, index_file, index_names, png, rows

from escnet.data.ade20k import (
    ADE_150,
    ADE_847,
    codes_of_full,
    labels_of_full,
    read_object_names,
    reduced_labels,
    reduced_picture,
    size_of_full,
)
from escnet.errors import DatasetError


def test_raw_labels_of_150_are_one_more_and_0_is_ignored(tmp_path: Path) -> None:
    raw = ADE_150.layouts[0]
    (tmp_path / "a.png").write_bytes(png(rows([0, 1, 2, 150, 0, 75, 149, 3])))
    labels = raw.read_labels(tmp_path / "a.png")
    assert labels[0].tolist() == [255, 0, 1, 149, 255, 74, 148, 2]
    (tmp_path / "b.png").write_bytes(png(rows([151] * W)))
    with pytest.raises(DatasetError, match=r"b\.png holds raw label 151"):
        raw.read_labels(tmp_path / "b.png")


def test_a_colour_of_the_full_set_is_a_place_in_the_index() -> None:
    # floor(R / 10) * 256 + G: 119 and 162 give 11 * 256 + 162 = 2978, the wall
    colours = np.array([[[119, 162, 0], [110, 162, 9], [120, 162, 0], [0, 0, 0]]], np.uint8)
    labels = labels_of_full(colours, {2_978: 0, 12 * 256 + 162: 5})
    assert labels.dtype == np.uint16
    assert labels.tolist() == [[0, 0, 5, 65_535]]


def test_every_one_of_the_847_names_survives_its_colour() -> None:
    codes = codes_of_full(index_names(), "index")
    assert sorted(codes.values()) == list(range(847))
    for label in range(0, 847, 7):
        colours = colours_of([ADE_847.classes[label]])
        assert (labels_of_full(colours, codes) == np.full((H, 1), label)).all()
    largest = np.full((1, 1, 3), 255, np.uint8)
    assert labels_of_full(largest, codes).tolist() == [[65_535]]


def test_of_a_name_that_the_index_has_twice_the_first_counts() -> None:
    names = index_names()
    names[3_600] = "wall"
    names[3_601] = " sky "
    assert codes_of_full(names, "index") == codes_of_full(index_names(), "index")


def test_the_index_of_another_edition_is_refused() -> None:
    names = index_names()
    del names[0]
    with pytest.raises(DatasetError, match=r"index x has 'wall' in place 2977, not 2978: fetch"):
        codes_of_full(names, "x")
    names = [name for name in index_names() if name not in {"sky", "tree"}]
    with pytest.raises(DatasetError, match=r"index x lacks 2 of the 847 names \(first: 'sky'\)"):
        codes_of_full(names, "x")


def test_names_are_read_from_indexes_of_old_and_new_numpy() -> None:
    names = ["wall", "sky"]
    assert b"numpy.core" in index_file(names)
    assert read_object_names(index_file(names), "x") == names
    new = pickle.dumps({"objectnames": np.array(names), "other": np.float64(3)})
    assert read_object_names(new, "x") == names


class Evil:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (exec, ("raise SystemExit",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"objectnames": Evil()}), r"it would run builtins\.exec"),
        (pickle.dumps(Path("a")), "it would run pathlib"),
        (pickle.dumps({"names": []}), "objectnames"),
        (pickle.dumps([1]), "cannot be read"),
        (index_file(["wall"])[:40], "cannot be read"),
        (b"", "Ran out of input"),
        (b"MATLAB 5.0", "cannot be read"),
    ],
)
def test_what_is_no_index_is_refused_and_nothing_in_it_is_run(content: bytes, message: str) -> None:
    with pytest.raises(DatasetError, match=rf"^index x .*{message}.*: fetch it again$"):
        read_object_names(content, "x")


@pytest.mark.parametrize(
    ("size_hw", "reduced_hw"),
    [
        ((400, 9_000), (400, 9_000)),
        ((512, 600), (512, 600)),
        ((1_024, 2_048), (512, 1_024)),
        ((1_200, 600), (1_024, 512)),
        ((513, 513), (512, 512)),
        ((683, 1_024), (512, 768)),  # 767.63
        ((768, 515), (764, 512)),  # 763.53
    ],
)
def test_short_sides_become_512_and_others_are_rounded(
    size_hw: tuple[int, int], reduced_hw: tuple[int, int]
) -> None:
    assert size_of_full(*size_hw) == reduced_hw


def test_a_reduced_pixel_lies_between_the_four_around_its_centre() -> None:
    # at a quarter of the size, new pixel n has its centre between old pixels 4n + 1 and 4n + 2
    column = np.tile(np.array([200, 40, 80, 200], np.uint8), 512)
    rgb = np.broadcast_to(column[None, :, None], (2_048, 2_048, 3)).copy()
    reduced = reduced_picture(rgb)
    assert reduced.shape == (512, 512, 3)
    assert np.unique(reduced).tolist() == [60]
    turned = reduced_picture(rgb.transpose(1, 0, 2).copy())
    assert np.unique(turned).tolist() == [60]


def test_reduced_labels_are_those_of_upper_left_corners_and_none_is_new() -> None:
    labels = np.arange(1_024 * 1_536, dtype=np.int64).reshape(1_024, 1_536)
    reduced = reduced_labels(labels)
    assert reduced.shape == (512, 768)
    assert (reduced == labels[::2, ::2]).all()
    odd = reduced_labels(labels[:768, :1_025])
    assert odd.shape == (512, 683)
    assert (odd[3, :4] == labels[4, [0, 1, 3, 4]]).all()  # row 4.5, columns 1.5 apart


def test_small_pictures_stay_as_they_are() -> None:
    rgb = np.random.default_rng(0).integers(256, size=(5, 7, 3)).astype(np.uint8)
    assert (reduced_picture(rgb) == rgb).all()
    assert (reduced_labels(rgb[..., 0]) == rgb[..., 0]).all()
