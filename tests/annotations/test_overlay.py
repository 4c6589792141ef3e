import io

import numpy as np
import pytest
from PIL import Image

from escnet.annotations import overlay
from escnet.annotations.overlay import draw_overlay, encode_overlay
from escnet.annotations.palette import class_colours, name_colours
from escnet.vocabulary import MAX_LABELS


def grey(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 100, dtype=np.uint8)


def halves(height: int, width: int) -> np.ndarray:
    labels = np.zeros((height, width), dtype=np.uint8)
    labels[:, width // 2 :] = 1
    return labels


def test_the_wash_is_the_weighted_mean_of_picture_and_colour() -> None:
    drawn = draw_overlay(grey(20, 40), halves(20, 40), ["a", "b"], opacity=0.25, legend=False)
    colours = class_colours(2)
    np.testing.assert_allclose(drawn[10, 5], 0.75 * 100 + 0.25 * colours[0], atol=1)
    np.testing.assert_allclose(drawn[10, 35], 0.75 * 100 + 0.25 * colours[1], atol=1)


def test_16_bit_label_maps_get_the_same_colours() -> None:
    drawn = [
        draw_overlay(grey(20, 40), halves(20, 40).astype(kind), ["a", "b"])
        for kind in (np.uint8, np.uint16)
    ]
    np.testing.assert_array_equal(drawn[0], drawn[1])


def test_only_the_rim_between_regions_is_outlined() -> None:
    labels = halves(20, 40)
    drawn = draw_overlay(grey(20, 40), labels, ["a", "b"], opacity=0.0, legend=False)
    changed = (drawn != 100).any(axis=-1)
    assert changed[:, 20].all()
    assert changed.sum() == 20
    labels = np.ascontiguousarray(labels.T)
    turned = draw_overlay(grey(40, 20), labels, ["a", "b"], opacity=0.0, legend=False)
    np.testing.assert_array_equal(turned, drawn.swapaxes(0, 1))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_void_shows_the_picture_in_grey(kind: type[np.unsignedinteger]) -> None:
    picture = np.zeros((8, 8, 3), dtype=np.uint8)
    picture[..., 0] = 255
    for void in (1, np.iinfo(kind).max):  # whatever is no index of a name
        drawn = draw_overlay(picture, np.full((8, 8), void, dtype=kind), ["a"], legend=False)
        assert (drawn == drawn[..., :1]).all()
        assert 0 < drawn[0, 0, 0] < 255


def test_the_background_behind_all_names_that_there_can_be_is_drawn_beside_void() -> None:
    names = [*(f"n{i}" for i in range(MAX_LABELS)), "background"]
    labels = halves(20, 40).astype(np.uint16) + MAX_LABELS  # the last index, and void
    drawn = draw_overlay(grey(20, 40), labels, names, opacity=1.0, legend=False)
    np.testing.assert_array_equal(drawn[10, 5], class_colours(len(names))[-1])
    np.testing.assert_array_equal(drawn[10, 35], [100, 100, 100])
    entries = overlay._entries(labels, names, class_colours(len(names)))
    assert [entry.text for entry in entries] == ["background", "unlabelled"]


@pytest.mark.parametrize(("height", "width"), [(90, 160), (160, 90), (100, 100), (1, 1), (3, 900)])
def test_the_legend_never_covers_the_picture(height: int, width: int) -> None:
    picture, labels = grey(height, width), halves(height, width)
    bare = draw_overlay(picture, labels, ["a", "b"], legend=False)
    assert bare.shape == picture.shape
    full = draw_overlay(picture, labels, ["a", "b"])
    assert full.size > bare.size
    np.testing.assert_array_equal(full[:height, :width], bare)


def test_the_legend_lists_names_present_by_share_then_void() -> None:
    labels = np.repeat(np.array([[2, 0, 0, 0, 255, 255]], dtype=np.uint8), 10, axis=0)
    entries = overlay._entries(labels, ["a", "absent", "c"], class_colours(3))
    assert [(entry.text, entry.percent) for entry in entries] == [
        ("a", "50.0%"),
        ("c", "16.7%"),
        ("unlabelled", "33.3%"),
    ]


def test_a_long_legend_ends_with_how_many_more_there_are() -> None:
    labels = np.arange(30, dtype=np.uint8)[None]
    entries = overlay._entries(labels, [f"n{i}" for i in range(30)], class_colours(30))
    assert len(entries) == 25
    assert (entries[-1].text, entries[-1].percent) == ("+ 6 more", "20.0%")


def test_a_tiny_share_is_not_called_zero() -> None:
    labels = np.zeros((100, 100), dtype=np.uint8)
    labels[0, 0] = 1
    assert overlay._entries(labels, ["a", "b"], class_colours(2))[1].percent == "<0.1%"


@pytest.mark.parametrize(
    "name",
    ["道路", "شارع", "🚲", "naïve café", "\udc80", "x" * 1000, "a\u0301", " ", "[red]", "{}"],
)
def test_any_name_can_be_written_into_the_legend(name: str) -> None:
    assert draw_overlay(grey(60, 90), halves(60, 90), [name, "b"]).any()


def test_a_name_that_no_font_has_letters_for_tells_its_index() -> None:
    entry = overlay._Entry("\U0010fffe\U0010ffff", "1%", (0, 0, 0), 7)
    assert overlay._Line.of(entry, 20).text.endswith("(class 7)")


def test_a_larger_picture_gets_a_larger_legend() -> None:
    small, large = (draw_overlay(grey(h, 2 * h), halves(h, 2 * h), ["a", "b"]) for h in (400, 1600))
    assert large.shape[0] - 1600 > 2 * (small.shape[0] - 400)


@pytest.mark.parametrize("legend", [False, True])
def test_bands_leave_no_trace(legend: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (1500, 60, 3), np.uint8)
    labels = random.integers(0, 3, (1500, 60)).astype(np.uint8)
    labels[labels == 2] = 255
    monkeypatch.setattr(overlay, "_rim_thickness", lambda _: 3)
    whole = draw_overlay(picture, labels, ["a", "b"], legend=legend)
    for pixels in (1, 60 * 2, 60 * 37):  # bands of one row, of fewer than a rim, of many
        monkeypatch.setattr(overlay, "_BAND_PIXELS", pixels)
        banded = draw_overlay(picture, labels, ["a", "b"], legend=legend)
        np.testing.assert_array_equal(banded, whole)


def test_the_jpeg_looks_like_what_was_drawn() -> None:
    drawn = draw_overlay(grey(60, 90), halves(60, 90), ["a", "b"])
    with Image.open(io.BytesIO(encode_overlay(drawn))) as image:
        assert image.format == "JPEG"
        assert np.abs(np.asarray(image).astype(int) - drawn).mean() < 4


def test_a_side_beyond_what_jpeg_can_hold_is_scaled_down() -> None:
    with Image.open(io.BytesIO(encode_overlay(grey(2, 70_000)))) as image:
        assert image.size == (65_000, 2)


def test_outlines_alone_leave_the_inside_as_it_is_and_have_the_colours() -> None:
    labels = halves(20, 40)
    colours = name_colours(["a", "b"])
    drawn = draw_overlay(grey(20, 40), labels, ["a", "b"], legend=False, outlines=True)
    changed = (drawn != 100).any(axis=-1)
    assert changed[:, 20:22].all()
    assert changed.sum() == 40
    np.testing.assert_array_equal(drawn[10, 20], colours[1])
    labels[labels == 1] = 255
    drawn = draw_overlay(grey(20, 40), labels, ["a", "b"], legend=False, outlines=True)
    assert (drawn[:, 20:] == 100).all()  # void has no outline of its own


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_names_that_are_not_asked_for_leave_the_picture_alone(
    kind: type[np.unsignedinteger],
) -> None:
    labels = halves(20, 40).astype(kind)
    labels[:5] = np.iinfo(kind).max
    picture = np.zeros((20, 40, 3), np.uint8) + np.array([100, 0, 0], np.uint8)
    drawn = draw_overlay(picture, labels, ["a", "b"], opacity=1.0, legend=False, only=["b"])
    np.testing.assert_array_equal(drawn[10, 5], picture[10, 5])
    np.testing.assert_array_equal(drawn[2, 5], picture[2, 5])
    np.testing.assert_array_equal(drawn[10, 35], name_colours(["a", "b"])[1])


def test_the_legend_lists_the_names_asked_for_alone() -> None:
    labels = np.repeat(np.array([[2, 0, 0, 0, 255, 255]], dtype=np.uint8), 10, axis=0)
    names = ["a", "absent", "c"]
    shown = overlay._Selection.of(labels.dtype, names, ["c"])
    entries = overlay._entries(labels, names, class_colours(3), shown)
    assert [(entry.text, entry.percent) for entry in entries] == [("c", "16.7%")]


def test_nothing_asked_for_in_sight_still_has_a_drawing() -> None:
    drawn = draw_overlay(grey(20, 40), halves(20, 40), ["a", "b", "c"], only=["c"])
    np.testing.assert_array_equal(drawn[:20, :40], 100)


@pytest.mark.parametrize("options", [{"outlines": True}, {"only": ["b"]}])
def test_bands_leave_no_trace_of_options_either(
    options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (1500, 60, 3), np.uint8)
    labels = random.integers(0, 3, (1500, 60)).astype(np.uint8)
    whole = draw_overlay(picture, labels, ["a", "b", "c"], legend=False, **options)
    monkeypatch.setattr(overlay, "_BAND_PIXELS", 60 * 7)
    banded = draw_overlay(picture, labels, ["a", "b", "c"], legend=False, **options)
    np.testing.assert_array_equal(banded, whole)
