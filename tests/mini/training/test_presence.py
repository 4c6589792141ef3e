"""Which names a whole picture shows: what is known of them, and what is learnt from it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from escnet.errors import ConfigError
from escnet.mini.presence import Presence
from escnet.mini.training.captions import CaptionedPictures, names_in_texts
from escnet.mini.training.plan import plan_mini
from escnet.mini.training.presence import PresenceBatch, PresenceLoss
from escnet.mini.training.present_names import (
    PresentNames,
    listed_words,
    names_in_captions,
    names_in_masks,
    words_in_captions,
)
from escnet.training.pictures_recipe import SourceSection
from escnet.training.processes import Share
from escnet.training.recipe import Recipe
from escnet.training.run import train
from escnet.training.sources import Sources, read_sources
from escnet.weights.checkpoint import load_checkpoint
from tests.training_data import EVERYTHING, PRESENCE, RANDOM_SAM

MakeRecipe = Callable[..., Recipe]
P, D, N, S = 400, 16, 6, 40
SKY, CAT, DOG, TABLE, TRAM, CHAIR = range(6)
WORDS = {CAT: ["cat", "kitten"], CHAIR: ["chair"]}


@pytest.fixture
def sources(data_folder: Path) -> Sources:
    return read_sources([SourceSection(data="folder", root=data_folder)])


def test_names_in_a_label_map_are_present_and_others_of_its_source_absent(
    sources: Sources,
) -> None:
    known = names_in_masks(sources)
    stems = [one.stem for source in sources.sources for one in source.pictures]
    for row, stem in enumerate(stems):
        present = {sources.names[index] for index in np.flatnonzero(known.present[row])}
        asked = {sources.names[index] for index in np.flatnonzero(known.is_known[row])}
        if stem.startswith("voc"):
            assert asked == {"sky", "cat", "dog", "diningtable"}
            assert len(present & {"cat", "dog", "diningtable"}) == 1
        else:
            assert asked == present == {"sky", "tram"}
        assert "sky" in present


def test_of_withheld_names_label_maps_say_nothing(sources: Sources) -> None:
    whole, part = names_in_masks(sources), names_in_masks(sources.without(["cat"]))
    cat = sources.names.index("cat")
    assert whole.present[:, cat].any()
    assert not part.present[:, cat].any()
    assert not part.is_known[:, cat].any()
    kept = np.arange(len(sources.names)) != cat
    assert np.array_equal(part.present[:, kept], whole.present[:, kept])
    assert np.array_equal(part.is_known[:, kept], whole.is_known[:, kept])


def test_of_an_incomplete_source_only_what_is_labelled_is_known(sources: Sources) -> None:
    whole, part = names_in_masks(sources), names_in_masks(sources.incomplete(["voc"]))
    [voc] = [source for source in sources.sources if source.name == "voc"]
    is_voc = np.arange(sources.num_pictures) < len(voc.pictures)
    if sources.sources[0].name != "voc":
        is_voc = is_voc[::-1]
    assert np.array_equal(part.present, whole.present)
    assert np.array_equal(part.is_known[is_voc], whole.present[is_voc])
    assert np.array_equal(part.is_known[~is_voc], whole.is_known[~is_voc])


def captioned(*texts: tuple[str, ...]) -> CaptionedPictures:
    """Pictures with captions, searched for cats (or kittens) and chairs; there are no files."""
    said = names_in_texts(texts, WORDS)
    rows = [row for row, own in enumerate(said) if own]
    return CaptionedPictures(
        paths=tuple(Path(f"{row}.jpg") for row in rows),
        texts=tuple(texts[row] for row in rows),
        said=tuple(tuple(sorted(said[row])) for row in rows),
        names=(CAT, CHAIR),
    )


def test_names_that_captions_do_not_say_are_absent_if_anybody_looked_for_them() -> None:
    pictures = captioned(("a kitten", "a dog"), ("a tram",), ("a chair, a cat",))
    known = names_in_captions(pictures, N)
    assert [np.flatnonzero(row).tolist() for row in known.present] == [[CAT], [CAT, CHAIR]]
    assert [np.flatnonzero(row).tolist() for row in known.is_known] == [[CAT, CHAIR]] * 2
    both = known.and_then(names_in_captions(captioned(("a chair",)), N))
    assert both.present[:, CHAIR].tolist() == [False, True, True]
    assert both.is_known.shape == (3, N)


def test_words_near_those_that_a_caption_says_are_not_known() -> None:
    three = [("a cat on a sofa",), ("a cat", "a lamp"), ("a chair, a sofa and a lamp",)]
    words = ["sofa", "lamp", "armchair", "moon"]
    sofa, lamp = torch.eye(2)
    embedding = torch.stack([3 * sofa, lamp, sofa + 0.5 * lamp, lamp])
    known, kept = words_in_captions(captioned(*three), words, embedding)
    torch.testing.assert_close(kept, embedding[:2])  # one picture does not make a word
    assert known.present.tolist() == [[True, False], [False, True], [True, True]]
    assert known.is_known.all()
    more = captioned(*three, ("a cat, an armchair",), ("a cat and two armchairs",))
    known, _ = words_in_captions(more, words, embedding)
    assert known.present[:, 2].tolist() == [False, False, False, True, True]
    # An armchair is near a sofa and not near a lamp.
    assert known.is_known[:, 2].tolist() == [False, True, False, True, True]


def test_the_words_of_the_benchmarks_lists_are_each_there_once() -> None:
    words = listed_words()
    assert {"edifice", "traffic light", "sky"} <= set(words)
    assert words == sorted(set(words))
    assert not [word for word in words if "-" in word or "," in word]


def made_up(embedding: Tensor) -> tuple[Tensor, np.ndarray]:
    """Summaries that hold, somewhere, the sum of the embeddings of the names that are there."""
    generator = np.random.default_rng(0)
    present = generator.random((P, N)) < 0.3
    summary = torch.from_numpy(generator.normal(size=(P, S))).float()
    mix = torch.randn(D, S, generator=torch.Generator().manual_seed(2))
    return summary + 2 * torch.from_numpy(present).float() @ embedding @ mix, present


def fitted(
    summary: Tensor,
    known: PresentNames,
    embedding: Tensor,
    words: PresentNames | None = None,
    word_embedding: Tensor | None = None,
) -> Presence:
    """A presence after some steps on all pictures."""
    torch.manual_seed(0)
    presence = Presence(summary_dim=S, joint_dim=D)
    presence.begin_fit()
    presence.norm.running_mean.copy_(summary.mean(dim=0))
    presence.norm.running_var.copy_(summary.var(dim=0))
    loss = PresenceLoss(presence.eval(), summary, known, embedding, words, word_embedding)
    optimizer = torch.optim.AdamW(presence.parameters(), 3e-3, weight_decay=0.05)
    rows = torch.arange(len(summary))
    said = rows[: 0 if words is None else len(words.present)]
    batch = PresenceBatch(row=rows, text=torch.arange(len(embedding)), said=said, share=1 / P)
    for _ in range(150):
        loss(batch).backward()
        optimizer.step()
        optimizer.zero_grad()
    return presence


@torch.no_grad()
def separation(
    presence: Presence, summary: Tensor, embedding: Tensor, present: np.ndarray
) -> np.ndarray:
    """Of each name: how often a picture with it is above one without."""
    logits = presence(summary, embedding[None]).numpy()
    pairs = [
        (logits[present[:, n], n][:, None] > logits[~present[:, n], n][None]).mean()
        for n in range(N)
    ]
    return np.array(pairs)


@pytest.fixture(scope="module")
def embedding() -> Tensor:
    return torch.randn(N, D, generator=torch.Generator().manual_seed(1))


def test_it_learns_which_names_pictures_show(embedding: Tensor) -> None:
    summary, present = made_up(embedding)
    known = PresentNames(present=present[:300], is_known=np.ones((300, N), bool))
    presence = fitted(summary[:300], known, embedding)
    assert separation(presence, summary[300:], embedding, present[300:]).min() > 0.85


def test_it_learns_words_that_only_captions_say(embedding: Tensor) -> None:
    summary, present = made_up(embedding)
    names, words = slice(0, 3), slice(3, N)
    known = PresentNames(present=present[:300, names], is_known=np.ones((300, 3), bool))
    said = PresentNames(present=present[100:300, words], is_known=np.ones((200, 3), bool))
    found = []
    for own in (None, said):
        presence = fitted(summary[:300], known, embedding[names], own, embedding[words])
        apart = separation(presence, summary[300:], embedding, present[300:])
        assert apart[names].min() > 0.8
        found.append(apart[words].mean())
    assert found[1] > max(0.8, found[0] + 0.1)


@pytest.mark.parametrize("is_looked_for", [False, True])
def test_what_nobody_looked_for_counts_neither_way(embedding: Tensor, is_looked_for: bool) -> None:
    summary, present = made_up(embedding)
    is_known = np.ones((P, N), bool)
    is_known[:, CAT] = is_looked_for
    weights = []
    for kept in (present, present & (np.arange(N) != CAT)):
        known = PresentNames(present=kept, is_known=is_known)
        weights.append(fitted(summary, known, embedding).to_joint.weight.detach().clone())
    assert torch.equal(*weights) == (not is_looked_for)


def test_the_stage_trains_the_presence_and_nothing_else(
    make_recipe: MakeRecipe, captions_folder: Path, tmp_path: Path
) -> None:
    captions = {"root": captions_folder, "names_of": "voc"}
    recipe = make_recipe(PRESENCE, data={"captions": captions}, model=RANDOM_SAM | EVERYTHING)
    torch.manual_seed(0)
    before = plan_mini(recipe, tmp_path / "cache").network.state_dict()
    after = load_checkpoint(train(recipe, tmp_path / "run", cache=tmp_path / "cache")).state_dict()
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert {"presence.to_joint.weight", "presence.norm.running_mean"} <= moved
    assert all(name.startswith("presence.") for name in moved)
    assert not torch.equal(after["presence.norm.running_var"], before["presence.norm.running_var"])


def test_a_presence_that_does_not_start_anew_is_trained_further(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    further = PRESENCE | {"anew": False, "learning_rate": 1e-5}
    recipe = make_recipe(further, model=RANDOM_SAM | EVERYTHING)
    first = train(recipe, tmp_path / "first", cache=tmp_path / "cache")  # there is none before
    before = load_checkpoint(first).state_dict()
    assert before["presence.to_joint.weight"].any()

    def change(stage: dict[str, object]) -> float:
        recipe = make_recipe(stage, parts={"start_from": first}, seed=1)
        folder = tmp_path / f"anew-{stage.get('anew', True)}"
        after = load_checkpoint(train(recipe, folder, cache=tmp_path / "cache")).state_dict()
        name = "presence.to_joint.weight"
        return float((after[name] - before[name]).abs().max())

    assert 0 < change(further) < 1e-3 < change(PRESENCE)


def test_two_processes_share_the_pictures_of_a_step(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = make_recipe(PRESENCE | {"batch_size": 32}, model=RANDOM_SAM | EVERYTHING)
    (stage,) = plan_mini(recipe, tmp_path).stages
    stage.begin()
    alone, first, second = (
        [one for step in stage.batches(0, share) for one in step]
        for share in (Share(), Share(0, 2), Share(1, 2))
    )
    places = {one.place: one.batch for one in alone}
    assert sorted(places) == [0, 8, 16, 24]
    for one in [*first, *second]:
        assert one.batch.text.tolist() is not None
    for step in range(4):
        own = [alone[4 * step + index].batch.row.tolist() for index in range(4)]
        shared = [
            *(first[2 * step + index].batch.row.tolist() for index in range(2)),
            *(second[2 * step + index].batch.row.tolist() for index in range(2)),
        ]
        assert own == shared


def test_a_network_without_presence_is_refused(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"set model\.settings\.presence = true"):
        plan_mini(make_recipe(PRESENCE), tmp_path)
