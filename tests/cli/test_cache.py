import json
from pathlib import Path

import pytest

from escnet.cli.main import run
from escnet.inference.segmenter import Segmenter
from escnet.vocabulary import Vocabulary


def test_the_cache_is_shown_and_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ESCNET_CACHE", str(tmp_path / "kept"))
    monkeypatch.setenv("ESCNET_CACHE_MB", "2")
    segmenter = Segmenter.load("tiny", device="cpu")
    segmenter.text_embedding(Vocabulary.of(["cat", "dog"]))
    assert run(["cache", "show", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["folder"] == str(tmp_path / "kept" / "text-embeddings")
    assert told["most_bytes"] == 2_000_000
    (model,) = told["models"]
    assert (model["model"], model["num_texts"]) == ("tiny", 2)
    assert model["weights_hash"] == segmenter.weights_hash
    assert run(["cache", "show"]) == 0
    assert "tiny" in capsys.readouterr().out
    assert run(["cache", "clear"]) == 0
    assert "1 files" in capsys.readouterr().out
    assert list((tmp_path / "kept").iterdir()) == []
    assert run(["cache", "clear"]) == 0
    assert run(["cache", "show"]) == 0


def test_a_size_that_is_none_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ESCNET_CACHE_MB", "plenty")
    assert run(["cache", "show"]) == 2
    assert "'plenty'" in capsys.readouterr().err
