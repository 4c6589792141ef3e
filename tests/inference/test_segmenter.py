import copy
import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel

from escnet.errors import (
    ConfigError,
    EscnetError,
    ImageError,
    NamesWarning,
    VocabularyError,
    WeightsError,
)
from escnet.inference import segmenter as segmenters
from escnet.inference.label_maps.probability import sigmoid
from escnet.inference.label_maps.rest import RestRule
from escnet.inference.label_maps.windows import NATIVE, Windows
from escnet.inference.methods.esc_method import EscMethod
from escnet.inference.methods.method import ViewLogits
from escnet.inference.methods.tokens import Tokenize, Tokens, byte_tokenizer
from escnet.inference.segmenter import Segmenter
from escnet.model.config import EscNetConfig, preset
from escnet.model.escnet import EscNet
from escnet.vocabulary import Vocabulary
from escnet.weights.checkpoint import weights_hash, write_checkpoint
from tests.answers import answers

NAMES = ["cat", "dog", "a car", "grass", "sky"]
Pixels = np.ndarray


@pytest.fixture(scope="module")
def tiny() -> Segmenter:
    return Segmenter.load("tiny", device="cpu")


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    """A slope of colours with a red bar on it, for which the random network has several names."""
    slope = (np.indices((40, 60)).sum(axis=0) * 2).astype(np.uint8)
    picture = np.stack([slope, 255 - slope, slope // 2], axis=2)
    picture[10:25, 20:45] = (250, 10, 10)
    return picture


def variant(tokenize: Tokenize | None = None, **settings: Any) -> Segmenter:
    """The tiny segmenter with other settings, and the same weights where those have the shape."""
    torch.manual_seed(0)
    network = EscNet(EscNetConfig.from_dict({**preset("tiny").to_dict(), **settings}))
    tokenize = tokenize or byte_tokenizer(298, 299, 77)
    return Segmenter(EscMethod(network, tokenize, device="cpu"), model="variant", weights_hash="")


def network_of(segmenter: Segmenter) -> EscNet:
    assert isinstance(segmenter.method, EscMethod)
    return segmenter.method.network


def test_several_names_win_somewhere(tiny: Segmenter, pixels: Pixels) -> None:
    """Without which the tests below could not fail."""
    assert len(np.unique(tiny.segment(pixels, NAMES).label_map)) > 2


def test_a_file_a_pil_image_and_an_array_give_the_same(
    tiny: Segmenter, pixels: Pixels, tmp_path: Path
) -> None:
    path = tmp_path / "a.picture.png"
    Image.fromarray(pixels).save(path)
    from_array = tiny.segment(pixels, NAMES)
    for picture in (path, str(path), Image.fromarray(pixels)):
        result = tiny.segment(picture, NAMES)
        assert (result.label_map == from_array.label_map).all()
        assert (result.confidence == from_array.confidence).all()


def test_a_result_is_called_like_its_file(tiny: Segmenter, pixels: Pixels, tmp_path: Path) -> None:
    path = tmp_path / "a.picture.png"
    Image.fromarray(pixels).save(path)
    assert tiny.segment(path, NAMES).stem == "a.picture"
    assert tiny.segment(str(path), NAMES).stem == "a.picture"
    assert tiny.segment(pixels, NAMES).stem == "picture"


def test_a_result_tells_the_file_that_it_is_of(
    tiny: Segmenter, pixels: Pixels, tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    content = path.read_bytes()
    expected = {"file": "a.png", "bytes": len(content), "sha256": sha256(content).hexdigest()}
    assert tiny.segment(path, NAMES).source == tiny.segment(str(path), NAMES).source == expected
    assert tiny.segment(pixels, NAMES).source is None


def test_a_result_says_what_made_it(tiny: Segmenter, pixels: Pixels) -> None:
    result = tiny.segment(pixels, NAMES, void_below=0.1, background=True)
    assert result.names == (*NAMES, "background")
    assert (result.model, result.weights_hash) == ("tiny", tiny.weights_hash)
    assert result.settings == {
        "method": "esc-net",
        "template": "A photo of a {} in the scene",
        "image_size": 32,
        "share_prior": 0.0,
        "rejection": [32, 16],
        "max_classes": 0,
        "dtype": "float32",
        "void_below": 0.1,
        "background": True,
        "rest": {"floor": 0.5},
        "synonyms": {},
    }
    assert result.picture is not None
    assert (result.picture == pixels).all()


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 50), (33, 1), (32, 32), (70, 41)])
def test_the_label_map_has_the_pictures_own_size(tiny: Segmenter, size_hw: tuple[int, int]) -> None:
    result = tiny.segment(np.zeros((*size_hw, 3), np.uint8), NAMES)
    assert result.label_map.shape == result.confidence.shape == size_hw


def test_a_turned_photograph_is_labelled_as_displayed(
    tiny: Segmenter, pixels: Pixels, tmp_path: Path
) -> None:
    stored = Image.fromarray(pixels).rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by a quarter to the right
    stored.save(tmp_path / "turned.png", exif=exif)
    result = tiny.segment(tmp_path / "turned.png", NAMES)
    assert result.label_map.shape == (40, 60)
    assert (result.label_map == tiny.segment(pixels, NAMES).label_map).all()


def test_a_jpeg_of_one_pixel_is_segmented(tiny: Segmenter, tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (9, 99, 9)).save(tmp_path / "dot.jpg")
    assert tiny.segment(tmp_path / "dot.jpg", NAMES).label_map.shape == (1, 1)


def test_a_batch_is_the_same_as_one_by_one(tiny: Segmenter, pixels: Pixels) -> None:
    pictures = [pixels, pixels[:20, ::-1].copy(), np.full((7, 9, 3), 200, np.uint8)]
    for batched, picture in zip(tiny.segment_batch(pictures, NAMES), pictures, strict=True):
        alone = tiny.segment(picture, NAMES)
        np.testing.assert_allclose(
            batched.confidence.astype(float), alone.confidence.astype(float), atol=1e-3
        )
        assert (batched.label_map == alone.label_map).mean() > 0.99


def test_pictures_and_names_may_come_one_by_one(tiny: Segmenter, pixels: Pixels) -> None:
    pictures = [pixels, pixels[:20]]
    found = tiny.segment_batch((p for p in pictures), (name for name in NAMES))
    assert [result.label_map.shape for result in found] == [(40, 60), (20, 60)]
    assert found[0].names == tuple(NAMES)


def test_a_batch_of_no_picture_is_empty(tiny: Segmenter) -> None:
    assert tiny.segment_batch([], NAMES) == []


def test_reordering_the_names_reorders_the_labels(tiny: Segmenter, pixels: Pixels) -> None:
    order = [3, 0, 4, 1, 2]
    plain = tiny.segment(pixels, NAMES).label_map
    found = tiny.segment(pixels, [NAMES[index] for index in order]).label_map
    assert (np.array(order)[found] == plain).mean() > 0.99  # rounding may turn a tie


def test_synonyms_get_their_label(tiny: Segmenter, pixels: Pixels) -> None:
    apart = tiny.segment(pixels, ["cat", "dog", "sky"]).label_map
    joined = tiny.segment(pixels, "pet=cat|dog, sky")
    assert joined.names == ("pet", "sky")
    # Not all: of the enlarged maps the highest is not the enlarged highest.
    assert (joined.label_map == np.array([0, 0, 1])[apart]).mean() > 0.9


def test_the_memory_budget_does_not_change_the_result(tiny: Segmenter, pixels: Pixels) -> None:
    vocabulary = Vocabulary.of([f"thing {index}" for index in range(23)])
    embedding = tiny.text_embedding(vocabulary)
    logits = []
    for budget in (1, 200_000, 2**30):
        method = EscMethod(
            network_of(tiny),
            byte_tokenizer(298, 299, 77),
            device="cpu",
            memory_budget=budget,
        )
        logits.append(answers(method, [pixels], embedding)[0].logits)
    for other in logits[1:]:
        np.testing.assert_allclose(sigmoid(other), sigmoid(logits[0]), atol=1e-5)


def test_the_background_wins_exactly_where_confidence_is_below_one_half(pixels: Pixels) -> None:
    tiny = Segmenter.load("tiny", device="cpu")
    middle = float(np.median(tiny.segment(pixels, NAMES).confidence.astype(float)))
    with torch.no_grad():  # so that a random network is sure of about half of the pixels
        tiny.method.network.decoder.head.bias -= float(np.log(middle / (1 - middle)))  # type: ignore[attr-defined]
    plain = tiny.segment(pixels, NAMES)
    result = tiny.segment(pixels, NAMES, background=True)
    is_rest = plain.confidence < 0.5
    assert 0 < is_rest.mean() < 1
    is_tie = plain.confidence == 0.5  # after rounding to half precision
    expected = np.where(is_rest, len(NAMES), plain.label_map)
    assert ((result.label_map == expected) | is_tie).all()
    np.testing.assert_allclose(
        result.confidence[is_rest].astype(float), 1 - plain.confidence[is_rest], atol=1e-3
    )


class Contrasted:
    """The tiny method, which knows what it was asked."""

    def __init__(self, method: EscMethod, certainty: float) -> None:
        self.method, self.certainty = method, certainty
        self.asked: list[tuple[int, int]] = []
        self.encoded: list[tuple[int, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.method, name)

    def encode_views(self, views: Sequence[Any]) -> list[Any]:
        self.encoded += [view.shape for view in views]
        return self.method.encode_views(views)

    def logits(
        self, views: Sequence[Any], text_embedding: np.ndarray, owner: Any = None
    ) -> list[ViewLogits]:
        self.asked.append((len(views), len(text_embedding)))
        answers = self.method.logits(views, text_embedding, owner)
        if len(text_embedding) == len(NAMES):
            return answers
        return [ViewLogits(one.logits * 0 + self.certainty, one.kept) for one in answers]


def test_a_picture_is_encoded_once_whatever_is_asked_about_it(
    tiny: Segmenter, pixels: Pixels
) -> None:
    assert isinstance(tiny.method, EscMethod)
    method = Contrasted(tiny.method, -50.0)
    rule = RestRule(
        relative_from=1.0, same_from=1.0, pixel_from=1e-6, least=1e-6, present_from=1 - 1e-6
    )
    segmenter = Segmenter(method, model="tiny", weights_hash="", rest_rule=rule)
    segmenter.segment(pixels, NAMES, background=True)
    again = segmenter.segment(pixels, ["another", "name"])
    assert method.encoded == [pixels.shape]
    other = np.ascontiguousarray(pixels[:, ::-1])
    segmenter.segment(other, NAMES)
    last = segmenter.segment(pixels, ["another", "name"])
    assert method.encoded == [pixels.shape] * 3
    assert (last.label_map == again.label_map).all()


@pytest.mark.parametrize("windows", ["whole", "native"])
@pytest.mark.parametrize("certainty", [-50.0, 50.0])
def test_contrast_names_are_asked_once_of_the_whole_picture_and_decide_what_is_the_rest(
    tiny: Segmenter, pixels: Pixels, windows: str, certainty: float
) -> None:
    assert isinstance(tiny.method, EscMethod)
    method = Contrasted(tiny.method, certainty)
    rule = RestRule(
        relative_from=1.0, same_from=1.0, pixel_from=1e-6, least=1e-6, present_from=1 - 1e-6
    )
    segmenter = Segmenter(method, model="tiny", weights_hash="", rest_rule=rule)
    plain = segmenter.segment(pixels, NAMES, windows=windows)
    assert all(names == len(NAMES) for _, names in method.asked)
    result = segmenter.segment(pixels, NAMES, windows=windows, background=True)
    (contrast,) = [one for one in method.asked if one[1] != len(NAMES)]
    assert contrast[0] == 1
    assert contrast[1] > 100
    if certainty < 0:  # the names explain everything
        assert (result.label_map == plain.label_map).all()
    else:
        assert (result.label_map == len(NAMES)).all()
    assert result.settings["rest"] == rule.as_settings()
    assert "rest" not in plain.settings


def test_a_vocabulary_keeps_its_own_background(tiny: Segmenter, pixels: Pixels) -> None:
    vocabulary = Vocabulary.of(NAMES, has_background=True)
    assert tiny.segment(pixels, vocabulary).names[-1] == "background"


def test_void_below_one_leaves_nothing(tiny: Segmenter, pixels: Pixels) -> None:
    result = tiny.segment(pixels, NAMES, void_below=1.0)
    assert (result.label_map == result.void_label).all()


@pytest.mark.parametrize("value", [-0.1, 1.01, float("nan"), 50.0])
def test_a_void_below_that_is_no_confidence_is_refused(
    tiny: Segmenter, pixels: Pixels, value: float
) -> None:
    with pytest.raises(
        ConfigError, match=r"void_below .* is not a confidence: choose one from 0 to 1"
    ):
        tiny.segment(pixels, NAMES, void_below=value)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"device": "tpu"}, ConfigError, "device 'tpu' is unknown: choose from auto, cpu"),
        ({"dtype": "int8"}, ConfigError, "dtype 'int8' is unknown: choose from float32"),
        ({"model": "no/such/model"}, WeightsError, "no folder or file 'no/such/model'"),
        ({"model": ""}, ConfigError, "names nothing"),
    ],
)
def test_what_cannot_be_loaded_is_one_line(
    options: dict[str, str], error: type[EscnetError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        Segmenter.load(**{"model": "tiny", **options})
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused_before_the_weights_are_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'cuda' is not on this machine: use auto or cpu"):
        Segmenter.load(tmp_path / "nothing here", device="cuda")


def test_what_cannot_be_segmented_is_an_error_of_ours(
    tiny: Segmenter, pixels: Pixels, tmp_path: Path
) -> None:
    with pytest.raises(ImageError):
        tiny.segment(tmp_path / "none.jpg", NAMES)
    with pytest.raises(ImageError, match="pixels"):
        tiny.segment(pixels, NAMES, max_pixels=100)
    with pytest.raises(VocabularyError):
        tiny.segment(pixels, [])
    with pytest.raises(VocabularyError):
        tiny.segment(pixels, "cat, cat")


KINDS_OF_PICTURE: dict[str, Callable[[Path], Any]] = {
    "path": lambda path: path,
    "text": str,
    "bytes": lambda path: path.read_bytes(),
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "file in memory": lambda path: BytesIO(path.read_bytes()),
    "pil": Image.open,
    "array": lambda path: np.array(Image.open(path)),
    "16 bits": lambda path: np.array(Image.open(path)).astype(np.uint16) * 257,
    "floats": lambda path: np.array(Image.open(path)) / 255,
    "tensor": lambda path: torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1),
    "tensor of floats": lambda path: (
        torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1) / 255
    ),
}


@pytest.mark.parametrize("kind", KINDS_OF_PICTURE)
def test_one_and_several_take_the_same_kinds_of_picture(
    tiny: Segmenter, pixels: Pixels, tmp_path: Path, kind: str
) -> None:
    Image.fromarray(pixels).save(path := tmp_path / "a.png")
    make, expected = KINDS_OF_PICTURE[kind], tiny.segment(pixels, NAMES).label_map
    np.testing.assert_array_equal(tiny.segment(make(path), NAMES).label_map, expected)
    for result in tiny.segment_batch([make(path), make(path)], NAMES):
        np.testing.assert_array_equal(result.label_map, expected)


def test_channels_may_be_stated(tiny: Segmenter, pixels: Pixels) -> None:
    first = np.moveaxis(pixels, -1, 0)
    expected = tiny.segment(pixels, NAMES).label_map
    found = [
        tiny.segment(first, NAMES, channels="first"),
        *tiny.segment_batch([first], NAMES, channels="first"),
    ]
    for result in found:
        np.testing.assert_array_equal(result.label_map, expected)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (None, "picture is of type NoneType: give a path, bytes, an open binary file"),
        ([[1, 2]], "picture is of type list"),
        (3, "picture is of type int"),
        (b"", r"picture is empty \(0 bytes\)"),
        (b"no picture", "picture is of another format"),
        (StringIO("text"), "picture is an open text file: open it in binary mode"),
        (np.zeros((3, 4, 5), np.uint8), "pass channels='first'"),
        (np.zeros(7), "has dtype float64 and shape"),
    ],
)
def test_everything_else_is_one_error_of_ours(tiny: Segmenter, picture: Any, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        tiny.segment(picture, NAMES)
    with pytest.raises(ImageError, match=message):
        tiny.segment_batch([picture], NAMES)


ONE_ARRAY = np.zeros((24, 32, 3), np.uint8)  # as a row of pictures it would be 24 grey ones


@pytest.mark.parametrize(
    "pictures",
    [
        *("a.jpg", b"bytes", Path("a.jpg"), BytesIO(b"bytes"), None, 3),
        *(ONE_ARRAY, ONE_ARRAY[:, :, 0], torch.from_numpy(ONE_ARRAY).permute(2, 0, 1)),
    ],
)
def test_several_pictures_are_not_one(tiny: Segmenter, pictures: Any) -> None:
    with pytest.raises(ImageError, match="segment_batch takes several pictures, not a "):
        tiny.segment_batch(pictures, NAMES)


def test_windows_may_be_given_by_name(tiny: Segmenter, pixels: Pixels) -> None:
    by_name = tiny.segment(pixels, NAMES, windows="native")
    np.testing.assert_array_equal(
        by_name.label_map, tiny.segment(pixels, NAMES, windows=NATIVE).label_map
    )
    with pytest.raises(ConfigError, match="windows 'own' are unknown"):
        tiny.segment(pixels, NAMES, windows="own")


def test_a_segmenter_that_was_loaded_arrives_in_another_process(pixels: Pixels) -> None:
    sent = Segmenter.load("tiny", device="cpu:0", share_prior=0.5)
    arrived = pickle.loads(pickle.dumps(sent))  # noqa: S301 -- our own
    assert arrived.reference == sent.reference
    assert len(pickle.dumps(sent)) < 1_000  # no weights
    np.testing.assert_array_equal(
        arrived.segment(pixels, NAMES).label_map, sent.segment(pixels, NAMES).label_map
    )


def test_a_segmenter_does_not_arrive_with_other_weights() -> None:
    sent = Segmenter.load("tiny", device="cpu")
    assert sent.reference is not None
    sent.reference = replace(sent.reference, weights_hash="0" * 64)
    with pytest.raises(WeightsError, match="has other weights than when the segmenter was sent"):
        pickle.loads(pickle.dumps(sent))  # noqa: S301 -- our own


class Counting:
    """A tokenizer that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self._tokenize = byte_tokenizer(298, 299, 77)

    def __call__(self, texts: Sequence[str]) -> Tokens:
        self.asked.append(tuple(texts))
        return self._tokenize(texts)


def test_names_are_encoded_once_for_each_list_of_them_and_template() -> None:
    counting = Counting()
    segmenter = variant(counting)
    first = segmenter.text_embedding(Vocabulary.of(["cat", "dog"]))
    assert segmenter.text_embedding(Vocabulary.of("cat, dog")) is first
    # Labels and the background are nothing that the text tower sees.
    segmenter.text_embedding(Vocabulary.of("pet=cat|dog", has_background=True))
    assert len(counting.asked) == 1
    swapped = segmenter.text_embedding(Vocabulary.of(["dog", "cat"]))
    assert len(counting.asked) == 2
    np.testing.assert_allclose(swapped, first[[1, 0]], rtol=1e-5, atol=1e-6)
    network_of(segmenter).config.template = "a {}"
    other = segmenter.text_embedding(Vocabulary.of(["cat", "dog"]))
    assert counting.asked[-1] == ("a cat", "a dog")
    assert not np.allclose(other, first)


def test_the_cache_forgets_the_list_that_was_not_used_for_longest() -> None:
    counting = Counting()
    segmenter = variant(counting)
    lists = [Vocabulary.of([f"name {index}"]) for index in range(9)]
    for vocabulary in [*lists[:8], lists[0], lists[8]]:  # the ninth pushes out the second
        segmenter.text_embedding(vocabulary)
    counting.asked.clear()
    for vocabulary in (lists[0], lists[8], lists[1]):
        segmenter.text_embedding(vocabulary)
    assert counting.asked == [("A photo of a name 1 in the scene",)]


class SlowToLook(OrderedDict[tuple[str, ...], np.ndarray]):
    """Gives other threads time between the look and what is done after it."""

    def __contains__(self, key: object) -> bool:
        is_there = super().__contains__(key)
        return is_there and all(step >= 0 for step in range(300))


def test_threads_may_share_a_segmenter_and_its_copies_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    segmenter = copy.deepcopy(variant())

    def encoded(texts: Sequence[str]) -> np.ndarray:
        return np.full((1, 16), texts[0][-14], np.float32)

    monkeypatch.setattr(segmenter.method, "encode_text", encoded)
    segmenter._text_cache = SlowToLook()
    monkeypatch.setattr(segmenters, "_CACHED_VOCABULARIES", 1)  # each list pushes out the other
    lists = [Vocabulary.of([f"name {index}"]) for index in range(2)]

    def ask(seed: int) -> bool:
        asked = np.random.default_rng(seed).integers(0, len(lists), 4_000)
        return all(segmenter.text_embedding(lists[index])[0, 0] == index for index in asked)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(ask, range(4)))
    finally:
        sys.setswitchinterval(interval)


def test_many_names_are_encoded_in_parts_to_the_same_embeddings() -> None:
    segmenter = variant()
    names = [f"n{index:03d}" for index in range(300)]
    whole = segmenter.text_embedding(Vocabulary.of(names))
    assert whole.shape == (300, 16)
    last = segmenter.text_embedding(Vocabulary.of(names[297:]))
    np.testing.assert_allclose(whole[297:], last, rtol=1e-5, atol=1e-6)


def test_of_many_names_only_the_likely_ones_take_part_and_keep_their_labels(
    pixels: Pixels,
) -> None:
    names = [f"thing {index}" for index in range(12)]
    pruned = variant(max_classes=4)
    found = pruned.segment(pixels, names, exact=True).label_map
    embedding = pruned.text_embedding(Vocabulary.of(names))
    kept = answers(pruned.method, [pixels], embedding)[0].kept
    assert len(kept) == 4
    assert kept != [0, 1, 2, 3]
    alone = variant().segment(pixels, [names[index] for index in kept], exact=True).label_map
    assert (np.array(kept)[alone] == found).mean() > 0.99


def test_a_pruned_label_may_lose_some_of_its_synonyms(pixels: Pixels) -> None:
    pruned = variant(max_classes=2)
    names = {"one": ["a1", "a2", "a3"], "two": ["b1", "b2", "b3"]}
    result = pruned.segment(pixels, names, exact=True)
    assert set(np.unique(result.label_map)) <= {0, 1}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_gives_nearly_the_same(tiny: Segmenter, pixels: Pixels, dtype: str) -> None:
    half = Segmenter.load("tiny", device="cpu", dtype=dtype).segment(pixels, NAMES)
    full = tiny.segment(pixels, NAMES)
    assert half.settings["dtype"] == dtype
    difference = np.abs(half.confidence.astype(float) - full.confidence)
    assert 0 < difference.max() < 0.02


def test_the_tiny_network_is_the_same_every_time_and_leaves_chance_alone() -> None:
    torch.manual_seed(5)
    first = network_of(Segmenter.load("tiny")).state_dict()
    torch.rand(3)
    state = torch.get_rng_state()
    second = network_of(Segmenter.load("tiny")).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the tiny network, with a tokenizer that knows a few words."""
    source = tmp_path_factory.mktemp("tokenizer")
    words = ["[PAD]", "[UNK]", "A", "photo", "of", "a", "in", "the", "scene", "cat", "dog", "sky"]
    index = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(WordLevel(index, unk_token="[UNK]"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(source / "tokenizer.json"))
    folder = tmp_path_factory.mktemp("checkpoint")
    torch.manual_seed(0)
    network = EscNet(preset("tiny"))
    write_checkpoint(folder, network, tokenizer_from=source)
    return folder


def test_a_checkpoint_of_ours_is_loaded_with_its_tokenizer(
    checkpoint: Path, pixels: Pixels
) -> None:
    segmenter = Segmenter.load(checkpoint, device="cpu")
    assert segmenter.weights_hash == weights_hash(checkpoint)
    assert segmenter.model == str(checkpoint)
    assert not network_of(segmenter).training
    with pytest.warns(NamesWarning, match="'cat' and 'dog' are equal"):  # it reads the end alone
        assert segmenter.segment(pixels, ["cat", "dog", "sky"]).label_map.shape == (40, 60)
    with pytest.raises(VocabularyError, match="has 126 tokens, but the text tower reads 77"):
        segmenter.segment(pixels, ["cat", "-".join(["cat"] * 60)])


def test_a_checkpoint_without_its_tokenizer_says_what_is_missing(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, EscNet(preset("tiny")))
    with pytest.raises(WeightsError, match=r"no tokenizer\.json in"):
        Segmenter.load(tmp_path)


def test_a_share_prior_makes_the_largest_label_larger(tiny: Segmenter, pixels: Pixels) -> None:
    with_prior = Segmenter(tiny.method, model="tiny", weights_hash="", share_prior=20.0)
    found, plain = (s.segment(pixels, NAMES) for s in (with_prior, tiny))
    largest = [np.bincount(result.label_map.ravel()).max() for result in (found, plain)]
    assert largest[0] > largest[1]
    assert found.settings["share_prior"] == 20.0


def test_windows_know_no_share(tiny: Segmenter, pixels: Pixels) -> None:
    with_prior = Segmenter(tiny.method, model="tiny", weights_hash="", share_prior=20.0)
    windows = Windows(window=16)
    found, plain = (s.segment(pixels, NAMES, windows=windows) for s in (with_prior, tiny))
    assert (found.label_map == plain.label_map).all()
    assert found.settings["share_prior"] == 0.0


def test_a_prior_that_is_asked_for_is_refused_beside_windows(
    pixels: Pixels, checkpoint: Path, tmp_path: Path
) -> None:
    write_checkpoint(tmp_path, network_of(variant(share_prior=0.7)), tokenizer_from=checkpoint)
    asked = Segmenter.load(tmp_path, share_prior=0.3)
    message = r"share_prior 0\.3 needs pictures seen as a whole: leave out one"
    with pytest.raises(ConfigError, match=message):
        asked.segment(pixels, ["cat"], windows=Windows(window=16))
    assert asked.segment(pixels, ["cat"]).settings["share_prior"] == 0.3
    for segmenter in (Segmenter.load(tmp_path), Segmenter.load(tmp_path, share_prior=0.0)):
        result = segmenter.segment(pixels, ["cat"], windows=Windows(window=16))
        assert result.settings["share_prior"] == 0.0


def test_a_prior_that_is_no_exponent_is_refused_before_weights_are_read() -> None:
    with pytest.raises(ConfigError, match=r"share_prior -1\.0 is not a number from 0 on"):
        Segmenter.load("nowhere", share_prior=-1.0)


@pytest.mark.parametrize("windows", ["whole", "native"])
@pytest.mark.parametrize("background", [False, True])
def test_the_best_names_are_led_by_the_label_map(
    tiny: Segmenter, pixels: Pixels, windows: str, background: bool
) -> None:
    plain = tiny.segment(pixels, NAMES, windows=windows, background=background)
    result = tiny.segment(pixels, NAMES, windows=windows, background=background, top=3)
    assert plain.top_names is None
    assert result.top_names is not None
    assert result.top_probabilities is not None
    assert result.top_names.shape == (3, *result.label_map.shape)
    np.testing.assert_array_equal(result.top_names[0], result.label_map)
    np.testing.assert_array_equal(result.label_map, plain.label_map)
    np.testing.assert_array_equal(result.top_probabilities[0], result.confidence)


def test_unlikely_labels_are_rejected_whole_and_the_rest_class_wins_where_it_did(
    pixels: Pixels,
) -> None:
    rejecting = variant(rejection=[3, 2])
    names = {
        "one": ["a1", "a2"],
        "two": ["b1"],
        "three": ["c1", "c2", "c3"],
        "four": "d",
        "five": "e",
    }
    found = rejecting.segment(pixels, names, background=True)
    exact = rejecting.segment(pixels, names, background=True, exact=True)
    assert (found.settings["rejection"], exact.settings["rejection"]) == ([3, 2], [])
    rest = found.names.index("background")
    assert set(np.unique(found.label_map)) <= {0, 1, 2, 3, 4, rest}
    assert (found.label_map == rest).any() == (exact.label_map == rest).any()
    vocabulary = Vocabulary.of(names)
    embedding = rejecting.text_embedding(vocabulary)
    (view,) = answers(rejecting.method, [pixels], embedding, vocabulary.owner)
    labels = {vocabulary.owner[text] for text in view.kept}
    assert view.kept == [q for q, label in enumerate(vocabulary.owner) if label in labels]


def test_room_for_all_labels_is_exact(pixels: Pixels) -> None:
    roomy = variant(rejection=[len(NAMES)])
    found, exact = (roomy.segment(pixels, NAMES, exact=exact) for exact in (False, True))
    np.testing.assert_array_equal(found.label_map, exact.label_map)
    np.testing.assert_array_equal(found.confidence, exact.confidence)


def test_labels_that_the_windows_of_a_picture_reject_apart_still_win_their_pixels(
    pixels: Pixels,
) -> None:
    names = [f"thing {index}" for index in range(12)]
    found = variant(rejection=[4]).segment(pixels, names, windows="native")
    exact = variant(rejection=[4]).segment(pixels, names, windows="native", exact=True)
    assert found.label_map.shape == exact.label_map.shape
    assert len(np.unique(found.label_map)) > 1
