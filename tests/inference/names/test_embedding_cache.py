import copy
import errno
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from escnet.errors import CacheWarning, ConfigError
from escnet.files import TEXT_EMBEDDINGS_KEY
from escnet.inference.names import embedding_cache, embedding_file
from escnet.inference.names.embedding_cache import EmbeddingCache
from escnet.inference.segmenter import Segmenter
from escnet.vocabulary import Vocabulary

WEIGHTS, OTHER_WEIGHTS = "a" * 64, "b" * 64
ROW_BYTES = 4 * 4 + 32  # of an embedding of width 4, and its key


class Tower:
    """A text tower that remembers what it was asked; embeddings of width 4."""

    def __init__(self, width: int = 4) -> None:
        self.asked: list[str] = []
        self.width = width

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.asked.extend(texts)
        seeds = [sha256(text.encode()).digest() for text in texts]
        rows = [np.frombuffer(seed, np.uint8)[: self.width] for seed in seeds]
        return np.array(rows, np.float32) / 255


def asked(
    cache: EmbeddingCache, texts: Sequence[str], weights: str = WEIGHTS, tower: Tower | None = None
) -> list[str]:
    """What the tower is asked for these texts; the answer must be what the tower would say."""
    tower = tower or Tower()
    keys = [text.encode() for text in texts]
    answer = cache.embeddings(texts, keys, tower.encode, model="m", weights_hash=weights)
    np.testing.assert_array_equal(answer, Tower(tower.width).encode(texts))
    return tower.asked


@pytest.fixture
def cache(tmp_path: Path) -> EmbeddingCache:
    return EmbeddingCache(tmp_path / "cache" / "text-embeddings", 10**6)


def the_file(cache: EmbeddingCache) -> Path:
    (path,) = cache.folder.glob("*.safetensors")
    return path


def test_each_text_is_encoded_once_for_the_weights(cache: EmbeddingCache) -> None:
    assert asked(cache, ["cat", "dog"]) == ["cat", "dog"]
    later = copy.deepcopy(cache)
    assert asked(later, ["dog", "cow", "cat", "cow"]) == ["cow"]
    assert asked(later, ["cow", "dog", "cat"]) == []
    assert asked(later, ["cat"], OTHER_WEIGHTS) == ["cat"]


def test_another_version_encodes_again(
    cache: EmbeddingCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked(cache, ["cat"])
    monkeypatch.setattr("escnet.__version__", "99.0")
    assert asked(cache, ["cat"]) == ["cat"]


@pytest.mark.parametrize("place", [-1, -20, 60, 300])
def test_a_flipped_bit_is_no_answer(cache: EmbeddingCache, place: int) -> None:
    asked(cache, ["cat", "dog"])
    path = the_file(cache)
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)
    assert asked(cache, ["cat", "dog"]) == ["cat", "dog"]
    assert asked(cache, ["cat", "dog"]) == []  # it was replaced


@pytest.mark.parametrize("size", [0, 7, 100, 400])
def test_a_cut_file_is_no_answer(cache: EmbeddingCache, size: int) -> None:
    asked(cache, ["cat", "dog"])
    os.truncate(the_file(cache), size)
    assert len(Path(the_file(cache)).read_bytes()) == size
    if size == 7:  # its mark is gone, so it may be somebody's own
        with pytest.warns(CacheWarning, match="escnet did not write"):
            assert asked(cache, ["cat", "dog"]) == ["cat", "dog"]
        return
    assert asked(cache, ["cat", "dog"]) == ["cat", "dog"]
    assert asked(cache, ["cat", "dog"]) == []


@pytest.mark.parametrize("fault", ["not finite", "another width"])
def test_values_that_are_none_of_a_tower_are_no_answer(cache: EmbeddingCache, fault: str) -> None:
    asked(cache, ["cat", "dog"])
    path = the_file(cache)
    tensors = load_file(path)
    embedding = tensors["embedding"]
    wrong = {
        "not finite": np.full_like(embedding, np.nan),
        "another width": embedding[:, :3].copy(),
    }[fault]
    sum_of = embedding_file._checksum("m", WEIGHTS, tensors["key"], wrong)
    about = f'{{"model": "m", "weights_hash": "{WEIGHTS}", "checksum": "{sum_of}"}}'
    save_file({**tensors, "embedding": wrong}, path, {TEXT_EMBEDDINGS_KEY: about})
    assert {"cat", "dog"} <= set(asked(cache, ["cat", "dog", "cow"]))


def test_files_of_others_are_neither_read_nor_replaced_nor_deleted(cache: EmbeddingCache) -> None:
    asked(cache, ["cat"])
    ours = the_file(cache)
    ours.unlink()
    save_file({"weight": np.zeros(3)}, ours)
    before = ours.read_bytes()
    beside = cache.folder / "notes.txt"
    beside.write_text("mine")
    with pytest.warns(CacheWarning, match="escnet did not write"):
        assert asked(cache, ["cat"]) == ["cat"]
    cache.clear()
    assert ours.read_bytes() == before
    assert beside.read_text() == "mine"


def test_a_folder_of_others_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    cache = EmbeddingCache(tmp_path, 10**6)
    with pytest.warns(CacheWarning, match="escnet did not write"):
        asked(cache, ["cat"])
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_full_disk_is_one_warning(cache: EmbeddingCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(CacheWarning, match="no space left on device.*ESCNET_CACHE_MB") as told:
        assert [asked(cache, [text]) for text in ("cat", "dog")] == [["cat"], ["dog"]]
    assert len(told) == 1
    assert list(cache.folder.glob("*.safetensors")) == []


def test_a_folder_that_cannot_be_is_one_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = EmbeddingCache(tmp_path / "file" / "text-embeddings", 10**6)
    with pytest.warns(CacheWarning, match="not a directory"):
        assert asked(cache, ["cat"]) == ["cat"]


def test_what_was_not_used_for_longest_goes_first(cache: EmbeddingCache) -> None:
    for age, text in enumerate(["cat", "dog", "cow"]):
        asked(cache, [text])
        newest = max(cache.folder.glob("*.safetensors"), key=lambda path: path.stat().st_mtime)
        os.utime(newest, (1_000 + age, 1_000 + age))
    asked(cache, ["cat"])  # its use makes it the newest
    size = max(path.stat().st_size for path in cache.folder.glob("*.safetensors"))
    cache.most_bytes = 3 * size
    asked(cache, ["hen"])
    assert asked(cache, ["cat", "cow", "hen"]) == []
    assert asked(cache, ["dog"]) == ["dog"]
    assert sum(path.stat().st_size for path in cache.folder.glob("*.safetensors")) <= 3 * size


def test_a_list_larger_than_the_bound_is_not_kept(cache: EmbeddingCache) -> None:
    cache.most_bytes = 100 * ROW_BYTES
    asked(cache, [str(index) for index in range(101)])
    assert not cache.folder.exists()


def test_many_small_files_become_one(
    cache: EmbeddingCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_cache, "_MOST_SMALL_FILES", 3)
    texts = [f"name {index}" for index in range(10)]
    asked(cache, ["other"], OTHER_WEIGHTS)
    for text in texts:
        asked(cache, [text])
        assert len(list(cache.folder.glob("a*.safetensors"))) <= 3
    assert asked(cache, texts) == []
    assert asked(cache, ["other"], OTHER_WEIGHTS) == []


def test_threads_and_deletions_between_change_no_answer(cache: EmbeddingCache) -> None:
    cache.most_bytes = 3_000  # files come and go

    def work(seed: int) -> None:
        chance = np.random.default_rng(seed)
        for _ in range(15):
            asked(copy.deepcopy(cache), [str(one) for one in chance.permutation(6)[:3]])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert {path.suffix for path in cache.folder.iterdir()} <= {".safetensors", ".md"}


def test_what_a_killed_process_left_goes(cache: EmbeddingCache) -> None:
    asked(cache, ["cat"])
    name = the_file(cache).name
    old, young = (cache.folder / f".{name}.{digits}.part" for digits in ("01234567", "89abcdef"))
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7_200,) * 2)
    asked(cache, ["dog"])
    assert not old.exists()
    assert young.exists()
    assert cache.clear()[0] == 2
    assert not cache.folder.exists()


def test_entries_count_the_texts_of_each_model(cache: EmbeddingCache) -> None:
    assert cache.entries() == []
    asked(cache, ["cat", "dog"])
    asked(cache, ["cow"])
    asked(cache, ["cat"], OTHER_WEIGHTS)
    found = [(one.model, one.weights_hash, one.num_texts) for one in cache.entries()]
    assert found == [("m", WEIGHTS, 3), ("m", OTHER_WEIGHTS, 1)]
    sizes = sum(path.stat().st_size for path in cache.folder.glob("*.safetensors"))
    assert sum(one.num_bytes for one in cache.entries()) == sizes


@pytest.mark.parametrize("size", ["-1", "many", "1e3", "٣"])
def test_a_size_that_is_none_is_refused(size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESCNET_CACHE_MB", size)
    with pytest.raises(ConfigError, match="ESCNET_CACHE_MB"):
        EmbeddingCache.of_environment()


def test_a_second_segmenter_reads_what_the_first_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ESCNET_CACHE", str(tmp_path))
    vocabulary = Vocabulary.of(["cat", "dog"])
    without = Segmenter.load("tiny", device="cpu").text_embedding(vocabulary)
    assert list(tmp_path.iterdir()) == []  # the size is 0 in tests
    monkeypatch.setenv("ESCNET_CACHE_MB", "1")
    first, second = (Segmenter.load("tiny", device="cpu") for _ in range(2))
    np.testing.assert_array_equal(first.text_embedding(vocabulary), without)

    def refuse(texts: Sequence[str]) -> np.ndarray:
        raise AssertionError(texts)

    monkeypatch.setattr(second.method, "encode_text", refuse)
    np.testing.assert_array_equal(second.text_embedding(vocabulary), without)
    with pytest.raises(AssertionError, match="cow"):
        second.text_embedding(Vocabulary.of(["cat", "cow"]))


def test_a_text_is_known_by_its_tokens_and_its_towers_settings() -> None:
    method = Segmenter.load("tiny", device="cpu").method
    first, other = method.text_keys(["cat", "catalogue"])
    assert method.text_keys(["cat"]) == [first] != [other]  # whatever it was padded to
    method.network.text.tower.config.hidden_act = "relu"  # type: ignore[attr-defined]
    assert method.text_keys(["cat"]) != [first]
