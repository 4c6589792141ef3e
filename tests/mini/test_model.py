"""The model inside the package: what its documentation promises."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from escnet.data.folder import FolderDataset
from escnet.evaluation.evaluate import evaluate
from escnet.evaluation.model_answers import predict_with
from escnet.inference.segmenter import Segmenter
from escnet.weights.catalog import BUILT_IN_FOLDER
from escnet.weights.checkpoint import summarize_checkpoint

ROOT = Path(__file__).parents[2]
PHOTOGRAPH = ROOT / "examples" / "chelsea.jpg"
DEV = ROOT.parent / "shared" / "data" / "dev"

pytestmark = pytest.mark.skipif(
    not (BUILT_IN_FOLDER / "config.json").exists(),
    reason="the built-in model is not in this checkout",
)


@pytest.fixture(scope="module")
def mini() -> Segmenter:
    return Segmenter.load("mini", device="cpu")


def test_it_takes_at_most_70_megabytes_and_its_graphs_6() -> None:
    sizes = {path: path.stat().st_size for path in BUILT_IN_FOLDER.rglob("*") if path.is_file()}
    graphs = sum(size for path, size in sizes.items() if path.suffix == ".onnx")
    assert 0 < graphs <= 6e6
    assert 0 < sum(sizes.values()) - graphs <= 70e6


def test_the_folder_holds_what_it_needs_and_no_more() -> None:
    names = {path.name for path in BUILT_IN_FOLDER.iterdir()}
    assert {"config.json", "tokenizer.json", "words.txt"} < names
    assert len([name for name in names if name.endswith(".safetensors")]) == 1


def test_it_says_where_its_parts_came_from_and_what_it_has_seen() -> None:
    summary = summarize_checkpoint(BUILT_IN_FOLDER)
    assert {origin.part for origin in summary.origins} >= {
        "ViT-S/14", "EfficientNet-Lite2", "sentence encoder", "SAM",
    }  # fmt: skip
    assert {"cat", "person", "car"} <= set(summary.config["trained_on"])


def test_the_cat_is_found(mini: Segmenter) -> None:
    result = mini.segment(PHOTOGRAPH, ["cat", "dog", "car", "grass"])
    shares = {name: result.share(name) for name in result.names}
    assert max(shares, key=lambda name: shares[name]) == "cat"
    assert result.mask("cat")[150, 225]  # her face
    with Image.open(PHOTOGRAPH) as image:
        assert result.label_map.shape == (image.height, image.width)


@pytest.mark.filterwarnings("ignore::escnet.errors.NamesWarning")
@pytest.mark.parametrize(
    "name", ["a thing with wheels", "犬", "🐈", "x", "qwrtz", "a, b", "'", "été", "مرحبا"]
)
def test_any_text_is_accepted_as_a_name(mini: Segmenter, name: str) -> None:
    result = mini.segment(PHOTOGRAPH, [name, "cat"])
    assert np.isfinite(result.confidence).all()
    assert result.names == (name, "cat")


def test_glued_names_are_read_as_their_two_words(mini: Segmenter) -> None:
    glued = mini.segment(PHOTOGRAPH, ["diningtable", "tvmonitor", "cat"])
    apart = mini.segment(PHOTOGRAPH, ["dining table", "tv monitor", "cat"])
    assert (glued.label_map == apart.label_map).all()


@pytest.mark.skipif(not DEV.is_dir(), reason="the pictures for development are not beside")
def test_it_is_right_for_most_pixels_of_six_voc_pictures(mini: Segmenter) -> None:
    dataset = FolderDataset.read(DEV)
    items = tuple(item for item in dataset if item.source == "voc20")[:6]
    assert len(items) == 6
    scores = evaluate(replace(dataset, items=items), predict_with(mini))
    assert scores["voc20"].pixel_accuracy > 0.6


@pytest.mark.slow
def test_it_loads_within_three_seconds(mini: Segmenter) -> None:
    assert mini  # everything is imported, and the file in the cache of the disk
    start = time.perf_counter()
    Segmenter.load("mini", device="cpu")
    assert time.perf_counter() - start < 3


@pytest.mark.slow
def test_a_photograph_with_twenty_names_takes_less_than_one_and_a_half_seconds(
    mini: Segmenter,
) -> None:
    with Image.open(PHOTOGRAPH) as image:
        picture = image.convert("RGB").resize((640, 480))
    names = [f"cat {index}" for index in range(20)]
    mini.segment(picture, names[:2])
    start = time.perf_counter()
    mini.segment(picture, names)
    assert time.perf_counter() - start < 1.5
