import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from escnet.data.folder import FolderDataset
from escnet.errors import ConfigError
from escnet.mini.config import MiniConfig
from escnet.mini.network import Mini
from escnet.training.captions import CaptionedPictures
from escnet.training.presence import (
    PresentNames,
    SaidWords,
    fit_presence,
    said_names,
    said_words,
    shown_names,
    summaries,
)
from escnet.weights.checkpoint import load_checkpoint, write_checkpoint
from tests.mini.conftest import MINI
from tests.training.conftest import BERT, tagged_pictures

P, D, N = 400, 16, 6
SENTENCE = {"text_config": BERT}
WORDS = ["lamp", "lamp", "sofa", "sofa"]
SKY, CAT, DOG, TABLE, TRAM, CHAIR = range(6)


@pytest.fixture(scope="module")
def network() -> Mini:
    torch.manual_seed(0)
    return Mini(MiniConfig(**{**MINI, **SENTENCE, "presence": True})).eval()


@pytest.fixture(scope="module")
def texts() -> Tensor:
    return torch.randn(N, D, generator=torch.Generator().manual_seed(1))


def test_names_in_a_label_map_are_present_and_others_of_its_source_absent(
    data_folder: Path,
) -> None:
    dataset = FolderDataset.read(data_folder)
    shown = shown_names(dataset)
    for row, item in enumerate(dataset):
        present = set(np.flatnonzero(shown.present[row]).tolist())
        known = set(np.flatnonzero(shown.is_known[row]).tolist())
        if item.source == "voc":
            assert known == {SKY, CAT, DOG, TABLE}
            assert len(present & {CAT, DOG, TABLE}) == 1
        else:
            assert known == {SKY, TRAM}
            assert present == {SKY, TRAM}
        assert SKY in present


def test_of_withheld_names_label_maps_say_nothing(data_folder: Path) -> None:
    dataset = FolderDataset.read(data_folder)
    whole = shown_names(dataset)
    part = shown_names(dataset, [dataset.source("voc").classes[CAT]])
    assert whole.present[:, CAT].any()
    assert not part.present[:, CAT].any()
    assert not part.is_known[:, CAT].any()
    kept = np.arange(N) != CAT
    assert np.array_equal(part.present[:, kept], whole.present[:, kept])
    assert np.array_equal(part.is_known[:, kept], whole.is_known[:, kept])


def captioned(*texts: list[str]) -> CaptionedPictures:
    """Pictures with captions, searched for cats (or kittens) and chairs."""
    wordings = [["sky"], ["cat", "kitten"], ["dog"], ["table"], ["tram"], ["chair"]]
    return CaptionedPictures(tagged_pictures(*texts), wordings, [CAT, CHAIR])


def test_names_that_captions_do_not_say_are_absent_if_anybody_looked_for_them() -> None:
    shown = said_names(captioned(["a kitten", "a dog"], ["a tram"], ["a chair, a cat"]), N)
    assert [np.flatnonzero(row).tolist() for row in shown.present] == [[CAT], [CAT, CHAIR]]
    assert [np.flatnonzero(row).tolist() for row in shown.is_known] == [[CAT, CHAIR]] * 2
    both = shown.and_then(said_names(captioned(["a chair"]), N))
    assert both.present[:, CHAIR].tolist() == [False, True, True]
    assert both.is_known.shape == (3, N)


def test_words_near_those_that_a_caption_says_are_not_known() -> None:
    three = [["a cat on a sofa"], ["a cat", "a lamp"], ["a chair, a sofa and a lamp"]]
    words = ["sofa", "lamp", "armchair", "moon"]
    sofa, lamp = torch.eye(2)
    texts = torch.stack([3 * sofa, lamp, sofa + 0.5 * lamp, lamp])
    with_all = captioned(*three, ["a cat, an armchair"], ["a cat and two armchairs"])
    said = said_words(captioned(*three), words, texts, first_row=7)
    assert said.rows.tolist() == [7, 8, 9]
    torch.testing.assert_close(said.texts, texts[:2])  # one picture does not make a word
    assert said.shown.present.tolist() == [[True, False], [False, True], [True, True]]
    assert said.shown.is_known.all()
    said = said_words(with_all, words, texts, first_row=0)
    assert said.shown.present[:, 2].tolist() == [False, False, False, True, True]
    # An armchair is near a sofa and not near a lamp.
    assert said.shown.is_known[:, 2].tolist() == [False, True, False, True, True]


def test_summaries_are_those_of_whole_pictures_in_their_order(
    network: Mini, data_folder: Path
) -> None:
    dataset = FolderDataset.read(data_folder)
    told: list[int] = []
    found = summaries(network, list(dataset), told.append)
    assert found.shape == (6, network.vision.summary_channels)
    assert told == [6]
    assert not torch.allclose(found[0], found[1], atol=1e-3)
    torch.testing.assert_close(summaries(network, list(dataset)[::-1]), found.flip(0))


def test_the_recipes_script_gives_a_checkpoint_its_presence(
    data_folder: Path,
    parts_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recipe_script: Callable[[str], ModuleType],
    capsys: pytest.CaptureFixture[str],
) -> None:
    torch.manual_seed(0)
    before = Mini(MiniConfig(**{**MINI, **SENTENCE}))
    write_checkpoint(tmp_path / "model", before, tokenizer_from=parts_folder / "sentence")
    captions = tmp_path / "captions"
    (captions / "images").mkdir(parents=True)
    texts = {f"p{index}": [f"a cat beside a {word}"] for index, word in enumerate(WORDS)}
    for index, stem in enumerate(texts):
        Image.new("RGB", (20, 16), (50 * index, 0, 0)).save(captions / "images" / f"{stem}.png")
    (captions / "texts.json").write_text(json.dumps(texts))
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        '[model]\npreset = "mini"\n[parts]\nstart_from = "x"\nstart_with = "everything"\n'
        f'[data]\ntrain = "{data_folder}"\n'
        f'[data.captions]\nroot = "{captions}"\nnames_of = "voc"\n'
    )
    out = tmp_path / "out"
    arguments = [str(recipe), str(tmp_path / "model"), "--out", str(out)]
    monkeypatch.setattr("sys.argv", ["presence.py", *arguments])
    recipe_script("presence").main()
    assert "10 of 10 pictures" in capsys.readouterr().out
    after = load_checkpoint(out)
    assert after.config.presence
    assert after.presence is not None
    assert after.presence.norm.running_var.min() < 0.9  # no longer as it began
    tensors = after.state_dict()
    for name, value in before.state_dict().items():
        assert torch.equal(tensors[name], value), name
    assert (out / "tokenizer.json").exists()


def made_up(texts: Tensor) -> tuple[Tensor, np.ndarray]:
    """Summaries that hold, somewhere, the sum of the embeddings of the names that are there."""
    generator = np.random.default_rng(0)
    present = generator.random((P, N)) < 0.3
    channels = 2 * 16 + 16 + 2 * 2280
    summary = torch.from_numpy(generator.normal(size=(P, channels))).float()
    mix = torch.randn(D, channels, generator=torch.Generator().manual_seed(2))
    return summary + 2 * torch.from_numpy(present).float() @ texts @ mix, present


def separation(network: Mini, summary: Tensor, texts: Tensor, present: np.ndarray) -> np.ndarray:
    """Of each name: how often a picture with it is above one without."""
    with torch.no_grad():
        logits = network.presence.eval()(summary, texts).numpy()
    pairs = [
        (logits[present[:, n], n][:, None] > logits[~present[:, n], n][None]).mean()
        for n in range(N)
    ]
    return np.array(pairs)


def test_it_learns_which_names_pictures_show(network: Mini, texts: Tensor) -> None:
    summary, present = made_up(texts)
    shown = PresentNames(present=present[:300], is_known=np.ones((300, N), bool))
    before = {n: v.clone() for n, v in network.state_dict().items() if "presence" not in n}
    wordings = [[n] for n in range(N)]
    loss = fit_presence(network, summary[:300], shown, texts, wordings, passes=40)
    assert separation(network, summary[300:], texts, present[300:]).min() > 0.85
    assert loss < 0.75 * N * 0.611  # of knowing the share alone
    for name, value in before.items():
        assert torch.equal(network.state_dict()[name], value), name
    again = {n: v.clone() for n, v in network.presence.state_dict().items()}
    fit_presence(network, summary[:300], shown, texts, wordings, passes=40)
    for name, value in network.presence.state_dict().items():
        torch.testing.assert_close(value, again[name])


def test_it_learns_words_that_only_captions_say(network: Mini, texts: Tensor) -> None:
    summary, present = made_up(texts)
    names, words = slice(0, 3), slice(3, N)
    shown = PresentNames(present=present[:300, names], is_known=np.ones((300, 3), bool))
    said = SaidWords(
        rows=np.arange(100, 300),
        shown=PresentNames(present=present[100:300, words], is_known=np.ones((200, 3), bool)),
        texts=texts[words],
    )
    found = []
    for captions in (None, said):
        wordings = [[n] for n in range(3)]
        fit_presence(
            network, summary[:300], shown, texts[names], wordings, said=captions, passes=40
        )
        apart = separation(network, summary[300:], texts, present[300:])
        assert apart[names].min() > 0.8
        found.append(apart[words].mean())
    assert found[1] > max(0.8, found[0] + 0.1)


@pytest.mark.parametrize("is_looked_for", [False, True])
def test_what_nobody_looked_for_counts_neither_way(
    network: Mini, texts: Tensor, is_looked_for: bool
) -> None:
    summary, present = made_up(texts)
    is_known = np.ones((P, N), bool)
    is_known[:, CAT] = is_looked_for
    fitted = []
    for kept in (present, present & (np.arange(N) != CAT)):
        shown = PresentNames(present=kept, is_known=is_known)
        fit_presence(network, summary, shown, texts, [[n] for n in range(N)], passes=2)
        fitted.append(network.presence.to_joint.weight.detach().clone())
    assert torch.equal(*fitted) == (not is_looked_for)


def test_a_network_without_presence_is_refused(texts: Tensor) -> None:
    plain = Mini(MiniConfig(**MINI))
    shown = PresentNames(present=np.ones((2, N), bool), is_known=np.ones((2, N), bool))
    with pytest.raises(ConfigError, match="no presence: set model"):
        fit_presence(plain, torch.zeros(2, 4608), shown, texts, [[n] for n in range(N)])
