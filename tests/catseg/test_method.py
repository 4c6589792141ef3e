from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel

from escnet.catseg.config import CATSEG_PRESETS, CatSegConfig
from escnet.catseg.method import CatSegMethod, load_catseg_method
from escnet.catseg.network import CatSeg
from escnet.errors import ConfigError, VocabularyError, WeightsError
from escnet.inference.label_maps.published_resize import published_image
from escnet.inference.methods.load import load_method
from escnet.inference.methods.memory import class_chunk
from escnet.inference.methods.tokens import byte_tokenizer
from escnet.weights.checkpoint import weights_hash, write_checkpoint
from tests.answers import answers

MakeMethod = Callable[..., CatSegMethod]
TEXTS = ["a photo of a cat", "a photo of a dog", "a photo of the sky"]


def tiny(**settings: Any) -> CatSeg:
    torch.manual_seed(0)
    small = {"image_size": 8, "view_size": 16, "window": 2, **settings}
    return CatSeg(CatSegConfig.from_dict({**CATSEG_PRESETS["tiny"]().to_dict(), **small}))


def method_of(network: CatSeg, **options: Any) -> CatSegMethod:
    return CatSegMethod(network, byte_tokenizer(298, 299, 77), device="cpu", **options)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_its_answer_is_that_of_the_network() -> None:
    network = tiny()
    method = method_of(network)
    text = method.encode_text(TEXTS)
    view = noise(16, 16)
    found = answers(method, [view], text)[0]
    image = torch.from_numpy(view).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        small = F.interpolate(image, size=(8, 8), mode="bilinear")
        expected = network(small, torch.from_numpy(text))[0]
    torch.testing.assert_close(torch.from_numpy(found.logits), expected)
    assert found.kept == [0, 1, 2]
    assert (method.name, method.view_size, method.template) == (
        "cat-seg", 16, "A photo of a {} in the scene",
    )  # fmt: skip


def test_views_are_answered_as_if_alone_and_names_kept_for_each() -> None:
    method = method_of(tiny(max_classes=2))
    text = method.encode_text(TEXTS)
    views = [noise(16, 16), noise(20, 30, seed=1), np.zeros((5, 9, 3), np.uint8)]
    for together, view in zip(answers(method, views, text), views, strict=True):
        alone = answers(method, [view], text)[0]
        assert together.kept == alone.kept
        assert len(together.kept) == 2
        torch.testing.assert_close(together.logits, alone.logits)


def test_the_memory_budget_does_not_change_the_answer() -> None:
    network = tiny()
    text = method_of(network).encode_text(TEXTS)
    large, small = (answers(method_of(network, memory_budget=b), [noise(16, 16)], text)[0].logits
                    for b in (2**30, 1))  # fmt: skip
    torch.testing.assert_close(large, small)


def test_a_larger_budget_takes_more_names_at_once_up_to_a_bound() -> None:
    config = CATSEG_PRESETS["vit-b-16"]()
    assert [class_chunk(config, budget=budget) for budget in (1, 2**27, 2**40)] == [1, 22, 32]


def test_half_precision_is_close() -> None:
    network = tiny()
    text = method_of(network).encode_text(TEXTS)
    exact = answers(method_of(network), [noise(16, 16)], text)[0].logits
    method = method_of(network, dtype="bfloat16")
    found = answers(method, [noise(16, 16)], text)[0].logits
    assert np.abs(found - exact).max() < 0.1 * exact.std() + 0.02
    assert method.settings == {
        "image_size": 8, "max_classes": 8, "pooling": 1, "dtype": "bfloat16",
    }  # fmt: skip


def test_an_unknown_dtype_is_refused() -> None:
    with pytest.raises(ConfigError, match="dtype 'int4' is unknown"):
        method_of(tiny(), dtype="int4")


def test_a_window_of_its_size_is_only_brought_to_the_towers() -> None:
    view = noise(384, 384)
    pixels = torch.from_numpy(view).permute(2, 0, 1)[None].float()
    expected = F.interpolate(pixels, (336, 336), mode="bilinear", align_corners=False)[0] / 255
    np.testing.assert_allclose(published_image(view, 384, 336), expected, atol=1e-5)
    assert (published_image(view, 384, 384) == (pixels[0] / 255).numpy()).all()


def test_a_picture_is_squeezed_twice_without_smoothing() -> None:
    view = noise(640, 500)
    pixels = torch.from_numpy(view).permute(2, 0, 1)[None].float()
    for side in (384, 336):
        pixels = F.interpolate(pixels, (side, side), mode="bilinear", align_corners=False)
    np.testing.assert_allclose(published_image(view, 384, 336), pixels[0] / 255, atol=1e-5)


@pytest.mark.parametrize(
    ("size_hw", "shrunk_hw"), [((1280, 1500), (640, 750)), ((700, 5120), (350, 2560))]
)
def test_a_large_picture_is_first_shrunk_smoothly(
    size_hw: tuple[int, int], shrunk_hw: tuple[int, int]
) -> None:
    view = noise(*size_hw)
    small = Image.fromarray(view).resize(shrunk_hw[::-1], Image.Resampling.BILINEAR)
    torch.testing.assert_close(
        published_image(view, 384, 384), published_image(np.asarray(small), 384, 384)
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("catseg")
    words = {"[UNK]": 0, "photo": 1, "cat": 2, "<|endoftext|>": 299}
    tokenizer = Tokenizer(WordLevel(words, unk_token="[UNK]"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    source = tmp_path_factory.mktemp("clip")
    tokenizer.save(str(source / "tokenizer.json"))
    write_checkpoint(folder, tiny(), tokenizer_from=source)
    return folder


def test_a_models_name_leads_to_the_method_that_its_folder_is_of(folder: Path) -> None:
    method, found = load_method(folder, device="cpu")[:2]
    assert (method.name, found) == ("cat-seg", weights_hash(folder))
    text = method.encode_text(["photo cat <|endoftext|>"])
    assert text.shape == (1, 16)
    with pytest.raises(VocabularyError, match="has 78 tokens, but the text tower reads 77"):
        method.encode_text(["cat " * 78])


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, tiny())
    with pytest.raises(WeightsError, match=r"no tokenizer\.json in"):
        load_catseg_method(tmp_path, device="cpu", dtype="float32")


def test_weights_of_several_templates_are_refused(folder: Path, tmp_path: Path) -> None:
    write_checkpoint(tmp_path, tiny(num_templates=2), tokenizer_from=folder)
    with pytest.raises(WeightsError, match="correlates 2 templates of each class name, and only"):
        load_catseg_method(tmp_path, device="cpu", dtype="float32")
