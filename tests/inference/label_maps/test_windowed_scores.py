from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from escnet.errors import ConfigError
from escnet.inference.label_maps import labelling
from escnet.inference.label_maps.probability import sigmoid
from escnet.inference.label_maps.rest import Rest
from escnet.inference.label_maps.windowed_scores import WindowedScores, label_windows
from escnet.inference.label_maps.windows import NATIVE, PAPER, Windows, window_hw, window_starts
from escnet.inference.methods.method import ViewLogits
from escnet.inference.segmenter import Segmenter

EYE = np.eye(3, dtype=np.float32)


class Colours:
    """Finds red, green and blue: the logits of a place are its colours, on the view's own grid."""

    name = "colours"
    template = "{}"
    view_size = 8
    settings: Mapping[str, object] = {}
    rejection = ()
    num_tokens = 0

    def __init__(self) -> None:
        self.views: list[tuple[int, ...]] = []

    def text_keys(self, texts: Sequence[str]) -> list[bytes]:
        return [text.encode() for text in texts]

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        return EYE[: len(texts)]

    def encode_views(self, views: Sequence[np.ndarray]) -> list[Any]:
        return list(views)

    def logits(
        self,
        views: Sequence[np.ndarray],
        text_embedding: np.ndarray,
        owner: Sequence[int] | None = None,  # noqa: ARG002
    ) -> list[ViewLogits]:
        self.views += [view.shape[:2] for view in views]
        found = []
        for view in views:
            colour = view.astype(np.float32) / 255 * 4 - 2
            maps = np.einsum("hwc,nc->nhw", colour, text_embedding)
            found.append(ViewLogits(maps, list(range(len(text_embedding)))))
        return found


ONE_VIEW = Windows(global_view=False)  # of what is no larger than a window


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (21, 30, 3), np.uint8)


def whole_band(scores: WindowedScores) -> np.ndarray:
    return np.stack([band for _, band in scores.band(slice(0, scores.canvas_hw[0]))])


def scores_of(picture: np.ndarray, windows: Windows, method: Colours | None = None) -> np.ndarray:
    scores = WindowedScores(method or Colours(), picture, EYE, [0, 1, 2], windows)
    return whole_band(scores)


def test_windows_start_where_the_papers_do() -> None:
    assert window_starts(640, 384, 1 / 3) == [0, 256]


def test_the_last_window_ends_with_the_canvas() -> None:
    assert window_starts(21, 8, 0.25) == [0, 6, 12, 13]


def test_a_canvas_smaller_than_a_window_has_one() -> None:
    assert window_starts(5, 8, 0.5) == [0]


@pytest.mark.parametrize(
    ("canvas_hw", "expected"),
    [
        ((4000, 6000), (448, 448)),
        ((28, 6000), (28, 448)),  # a sixteenth of the square, and so as it is cut
        ((14, 6000), (14, 896)),
        ((1, 3000), (1, 3000)),
        ((30_000, 1), (12_544, 1)),
        ((300, 20), (300, 20)),
    ],
)
def test_windows_of_a_strip_hold_a_sixteenth_of_their_square(
    canvas_hw: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert window_hw(canvas_hw, 448) == expected


@pytest.mark.parametrize("size_hw", [(1, 300), (300, 1)])
def test_a_strip_of_a_pixels_width_is_seen_in_few_views(size_hw: tuple[int, int]) -> None:
    method = Colours()
    method.view_size = 64
    strip = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), np.uint8)
    found = scores_of(strip, NATIVE, method)
    assert found.shape == (3, *size_hw)
    assert len(method.views) == 1 + 2  # the whole, and windows of 256 pixels


@pytest.mark.parametrize("seams", ["equal", "smooth"])
def test_windows_that_see_each_place_alike_give_what_the_whole_gives(
    picture: np.ndarray, seams: str
) -> None:
    # The logits of a place depend on that place alone, so no seam may show anywhere.
    windows = Windows(window=8, overlap=0.3, seams=seams, global_view=False)
    expected = sigmoid(picture.astype(np.float32).transpose(2, 0, 1) / 255 * 4 - 2)
    np.testing.assert_allclose(scores_of(picture, windows), expected, atol=1e-5, rtol=1e-5)


def test_the_papers_protocol_is_the_mean_of_windows_and_whole(picture: np.ndarray) -> None:
    windows = Windows(size=12, window=8, overlap=0.5, seams="equal")
    scale = 12 / min(picture.shape[:2])
    shape = [int(side * scale + 0.5) for side in picture.shape[:2]]
    shrunk = Image.fromarray(picture).resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(shrunk, np.float32)).permute(2, 0, 1)[None]
    canvas, whole = (
        torch.nn.functional.interpolate(pixels, (side, side), mode="bilinear")[0]
        .permute(1, 2, 0)
        .numpy()
        for side in (12, 8)
    )

    def probability(view: np.ndarray) -> np.ndarray:
        return sigmoid(view.astype(np.float32).transpose(2, 0, 1) / 255 * 4 - 2)

    total, count = np.zeros((3, 12, 12)), np.zeros((12, 12))
    for top in (0, 4):
        for left in (0, 4):
            total[:, top : top + 8, left : left + 8] += probability(
                canvas[top : top + 8, left : left + 8]
            )
            count[top : top + 8, left : left + 8] += 1
    enlarged = torch.nn.functional.interpolate(
        torch.from_numpy(probability(whole))[None],
        size=(12, 12),
        mode="bilinear",
        align_corners=False,
    )[0]
    expected = (total / count + enlarged.numpy()) / 2
    np.testing.assert_allclose(scores_of(picture, windows), expected, atol=1e-5, rtol=1e-5)


class Moody(Colours):
    """Each view is shifted by a number of its own, as a network that sees more or less context."""

    def logits(
        self,
        views: Sequence[np.ndarray],
        text_embedding: np.ndarray,
        owner: Sequence[int] | None = None,
    ) -> list[ViewLogits]:
        return [
            ViewLogits(view.logits + 0.5 * (index % 2), view.kept)
            for index, view in enumerate(super().logits(views, text_embedding, owner))
        ]


def largest_step(scores: np.ndarray) -> float:
    """Between neighbours, beside and above each other."""
    return float(
        max(np.abs(np.diff(scores, axis=axis)).max() for axis in (1, 2) if scores.shape[axis] > 1)
    )


def test_smooth_seams_hide_how_windows_differ() -> None:
    even = np.full((8, 40, 3), 128, np.uint8)
    settings = {"window": 8, "overlap": 0.5, "global_view": False}
    equal = scores_of(even, Windows(seams="equal", **settings), Moody())
    smooth = scores_of(even, Windows(seams="smooth", **settings), Moody())
    difference = float(sigmoid(np.float32([0.5]))[0]) - 0.5  # of the views themselves
    assert largest_step(equal) > 0.45 * difference
    assert largest_step(smooth) < 0.4 * difference


@pytest.mark.parametrize("period", [8, 16, 24])
def test_repeated_content_has_no_seam_larger_than_the_models_own_variation(period: int) -> None:
    # Each window meets the pattern at another place, so answers differ where windows overlap.
    method = Segmenter.load("tiny", device="cpu").method
    text_embedding = method.encode_text(["sky", "car", "road"])
    tile = np.random.default_rng(0).integers(0, 256, (period, period, 3), np.uint8)
    picture = np.tile(tile, (64 // period, 128 // period, 1))
    side = method.view_size

    def scores(pixels: np.ndarray, windows: Windows) -> np.ndarray:
        found = WindowedScores(method, pixels, text_embedding, [0, 1, 2], windows)
        return whole_band(found)

    tops, lefts = (window_starts(length, side, NATIVE.overlap) for length in picture.shape[:2])
    assert len(tops) > 1
    assert len(lefts) > 3
    own = max(
        largest_step(scores(picture[top : top + side, left : left + side], ONE_VIEW))
        for top in tops
        for left in lefts
    )
    assert largest_step(scores(picture, NATIVE)) <= own
    assert largest_step(scores(picture, Windows(seams="smooth", global_view=False))) <= own
    assert largest_step(scores(picture, Windows(seams="equal", global_view=False))) > own


@pytest.mark.parametrize(
    "windows",
    [
        Windows(window=8, overlap=0.4),
        Windows(size=16, window=8),
        Windows(short_side=33, window=8, seams="equal"),
        Windows(short_side=11, window=8),
    ],
)
@pytest.mark.parametrize("band", [1, 200])
def test_bands_give_the_map_of_the_whole(
    picture: np.ndarray, windows: Windows, band: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def labels() -> tuple[np.ndarray, np.ndarray]:
        scores = WindowedScores(
            Colours(), picture, EYE, [0, 1, 2], windows, find_rest=lambda *_: Rest()
        )
        return label_windows(scores, 3, (21, 30))

    expected = labels()
    monkeypatch.setattr(labelling, "_BAND", band)
    found = labels()
    assert (expected[0] == found[0]).all()
    np.testing.assert_allclose(expected[1], found[1], atol=2e-3)


def test_each_window_is_seen_once(picture: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labelling, "_BAND", 60)
    method = Colours()
    windows = Windows(window=8, overlap=0.5)
    scores = WindowedScores(method, picture, EYE, [0, 1, 2], windows)
    label_windows(scores, 3, (21, 30))
    rows, columns = len(window_starts(21, 8, 0.5)), len(window_starts(30, 8, 0.5))
    assert len(method.views) == 1 + rows * columns


def test_no_view_is_larger_than_a_window(picture: np.ndarray) -> None:
    method = Colours()
    scores_of(picture, PAPER, method)
    assert max(side for view in method.views for side in view) == 384


def test_synonyms_are_one_label_and_its_better_one_wins() -> None:
    red_and_blue = np.zeros((6, 6, 3), np.uint8)
    red_and_blue[:, :3, 0] = 255
    red_and_blue[:, 3:, 2] = 255
    windows = Windows(window=6, global_view=False)
    scores = WindowedScores(Colours(), red_and_blue, EYE, [0, 1, 0], windows)
    label_map, confidence = label_windows(scores, 2, (6, 6))
    assert (label_map == 0).all()
    assert confidence == pytest.approx(float(sigmoid(np.float32([2.0]))[0]), abs=1e-3)


def test_what_is_unsure_is_void_or_background() -> None:
    black = np.zeros((6, 6, 3), np.uint8)
    windows = Windows(window=6)
    scores = WindowedScores(Colours(), black, EYE, [0, 1, 2], windows)
    assert (label_windows(scores, 3, (6, 6), void_below=0.9)[0] == 255).all()
    scores = WindowedScores(Colours(), black, EYE, [0, 1, 2], windows, find_rest=lambda *_: Rest())
    assert (label_windows(scores, 3, (6, 6))[0] == 3).all()


def test_the_picture_as_a_whole_says_what_its_windows_call_the_rest() -> None:
    half = np.zeros((8, 16, 3), np.uint8)
    half[:, :8, 0] = 255  # red, of a probability of 0.88; green and blue have 0.12 everywhere
    half[:, 8:, 1] = 160  # green of 0.62
    asked: list[tuple[tuple[int, ...], int]] = []

    def labels(rest: Rest) -> np.ndarray:
        def find_rest(view: np.ndarray, answer: ViewLogits) -> Rest:
            asked.append((view.shape, len(answer.kept)))
            return rest

        windows = Windows(window=8, overlap=0.5)
        scores = WindowedScores(Colours(), half, EYE, [0, 1, 2], windows, find_rest=find_rest)
        return label_windows(scores, 3, (8, 16))[0]

    assert set(np.unique(labels(Rest(0.3, 0.8)))) == {0, 3}  # no view is sure of green
    assert set(np.unique(labels(Rest(0.3, 0.6)))) == {0, 1}
    assert set(np.unique(labels(Rest(0.3, 0.9)))) == {3}
    assert asked == [((8, 16, 3), 3)] * 3


class Unequal(Colours):
    """Is surer of a window than of the picture as a whole, or the other way round."""

    def __init__(self, of_whole: float, of_window: float) -> None:
        super().__init__()
        self._of_whole, self._of_window = of_whole, of_window

    def logits(
        self,
        views: Sequence[np.ndarray],
        text_embedding: np.ndarray,
        owner: Sequence[int] | None = None,
    ) -> list[ViewLogits]:
        answers = super().logits(views, text_embedding, owner)
        is_window = [view.shape[1] == 8 for view in views]
        return [
            ViewLogits(one.logits * (self._of_window if small else self._of_whole), one.kept)
            for small, one in zip(is_window, answers, strict=True)
        ]


def test_a_name_is_there_where_a_window_or_the_whole_picture_is_sure_of_it() -> None:
    red = np.zeros((8, 16, 3), np.uint8)
    red[..., 0] = 255  # 0.88, by half of the logit 0.73
    sure, unsure = sigmoid(np.array([2.0, 1.0], np.float32))
    found = []
    for method in (Unequal(1, 0.5), Unequal(0.5, 1)):
        scores = WindowedScores(
            method, red, EYE, [0, 1, 2], Windows(window=8), find_rest=lambda *_: Rest(0.3, 0.8)
        )
        label_map, confidence = label_windows(scores, 3, (8, 16))
        assert (label_map == 0).all()
        found.append(float(confidence.mean()))
    # What the whole picture shows, its windows need not be sure of; not the other way round.
    assert found[0] == pytest.approx((sure + unsure) / 2, abs=1e-3)
    assert 0.3 < found[1] < found[0]


@pytest.mark.parametrize(("field", "value"), [("overlap", 0.95), ("overlap", -0.1), ("window", 0)])
def test_windows_that_cannot_be_are_refused(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=str(value)):
        Windows(**{field: value})


def test_the_result_says_how_it_was_cut(picture: np.ndarray) -> None:
    result = Segmenter.load("tiny").segment(picture, ["a", "b"], windows=NATIVE)
    assert result.label_map.shape == (21, 30)
    assert result.settings["windows"] == NATIVE.as_settings()


def test_seams_that_are_unknown_are_refused() -> None:
    windows = Windows()
    object.__setattr__(windows, "seams", "Equal")  # past the type check that tests run under
    with pytest.raises(ConfigError, match="seams 'Equal' is unknown: choose from equal, smooth"):
        windows.__post_init__()


class Choosy(Colours):
    """Keeps only the best text of each view, as a network does that prunes names."""

    def logits(
        self,
        views: Sequence[np.ndarray],
        text_embedding: np.ndarray,
        owner: Sequence[int] | None = None,
    ) -> list[ViewLogits]:
        found = []
        for view in super().logits(views, text_embedding, owner):
            best = int(view.logits.mean(axis=(1, 2)).argmax())
            found.append(ViewLogits(view.logits[[best]], [view.kept[best]]))
        return found


def test_each_view_chooses_its_own_names_but_exactly_in_a_pictures_own_resolution() -> None:
    picture = np.zeros((12, 12, 3), np.uint8)
    picture[:, :, 0] = 200  # red as a whole, but blue in one corner
    picture[:6, :6] = (0, 0, 255)
    windows = Windows(size=12, window=6, overlap=0.0, seams="equal")
    scores = WindowedScores(Choosy(), picture, EYE, [0, 1, 2], windows)
    assert scores.labels_in(slice(0, 12)) == [0, 2]
    red, blue = whole_band(scores)
    assert (blue[:6, :6] > 0.4).all()  # of the window; the whole gives it nothing
    assert (blue[6:] < 1e-6).all()
    assert (red[6:, 6:] > 0.4).all()
    native = Windows(window=6, overlap=0.0, seams="equal")
    exact = WindowedScores(Choosy(), picture, EYE, [0, 1, 2], native)
    assert exact.labels_in(slice(0, 12)) == [0]
    own = WindowedScores(Choosy(), picture, EYE, [0, 1, 2], native, exact=False)
    assert own.labels_in(slice(0, 6)) == [0, 2]
    assert own.labels_in(slice(6, 12)) == [0]


def test_texts_of_one_label_that_views_choose_apart_are_one_label() -> None:
    picture = np.zeros((12, 12, 3), np.uint8)
    picture[:, :, 0] = 200
    picture[:6, :6] = (0, 0, 255)
    windows = Windows(size=12, window=6, overlap=0.0, seams="equal")
    scores = WindowedScores(Choosy(), picture, EYE, [4, 1, 4], windows)
    assert scores.labels_in(slice(0, 12)) == [4]
    assert (whole_band(scores)[0, :6, :6] > 0.4).all()


def test_a_window_larger_than_the_papers_canvas_is_the_canvas() -> None:
    method = Colours()
    WindowedScores(
        method, np.zeros((9, 12, 3), np.uint8), EYE, [0, 1, 2],
        Windows(size=12, window=100_000, seams="equal"),
    )  # fmt: skip
    assert set(method.views) == {(12, 12)}
