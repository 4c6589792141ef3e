from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from escnet.data.folder import FolderDataset
from escnet.data.image import read_image
from escnet.data.labelled_picture import LabelledPicture
from escnet.errors import OutputError
from escnet.inference.label_maps.labelling import share_shift
from escnet.inference.label_maps.published_resize import square_image
from escnet.mini.network import Mini
from escnet.mini.presence import presence_gain
from escnet.mini.training.coarse import CoarseNetwork
from escnet.mini.training.parts import build_network
from escnet.mini.training.picture_cache import quick_precision
from escnet.mini.training.texts import NameTexts
from escnet.training.recipe import Recipe
from escnet.training.sources import Source
from tests.training_data import ANNOTATED, CLASSES, JOINT_DIM

MakeRecipe = Callable[..., Recipe]
Finish = Callable[..., CoarseNetwork]
NAMES = NameTexts.of(CLASSES, {})
ALL = tuple(range(len(CLASSES)))
TEXTS = torch.randn(len(CLASSES), JOINT_DIM, generator=torch.Generator().manual_seed(1))
MODEL: dict[str, Any] = {"sam": "none", "share_prior": 0.5, "presence": True}


@pytest.fixture(scope="module")
def network(make_recipe: MakeRecipe) -> Mini:
    torch.manual_seed(0)
    recipe = make_recipe(model=MODEL)
    network = build_network(recipe)
    assert network.presence is not None
    network.presence.begin_fit()
    return network


@pytest.fixture
def items(data_folder: Path) -> Sequence[LabelledPicture]:
    return list(FolderDataset.read(data_folder))


def source_of(item: LabelledPicture, annotated: Sequence[int]) -> Source:
    """The picture alone, of a source that annotates these names."""
    table = np.arange(65_536)
    return Source(
        name="a", section=0, pictures=[item], annotated=tuple(map(int, annotated)), table=table
    )


@pytest.fixture
def answer_with(network: Mini, tmp_path: Path) -> Finish:
    def make(most_names: int = 16, names: NameTexts = NAMES, scale: float = 1.0) -> CoarseNetwork:
        return CoarseNetwork(
            network, scale * TEXTS, names, most_names=most_names, folder=tmp_path / "answers"
        )

    return make


def image_of(network: Mini, item: LabelledPicture) -> Tensor:
    return torch.from_numpy(square_image(read_image(item.image_path), network.config.image_size))[
        None
    ]


@torch.no_grad()
def test_it_keeps_what_the_network_says_of_the_whole_picture(
    network: Mini, answer_with: Finish, items: Sequence[LabelledPicture]
) -> None:
    names = np.array(ANNOTATED["voc"])
    coarse = answer_with()
    found = coarse.of(source_of(items[-1], names), 0)
    image = image_of(network, items[-1])
    with quick_precision(torch.device("cpu")):
        patches = network.vision(image)
        logits = network.segment(patches, TEXTS[names]).logits[0].float()
    assert found.names.tolist() == names.tolist()
    torch.testing.assert_close(found.logits, logits, atol=0.02, rtol=0.02)
    torch.testing.assert_close(found.joint, patches.joint[0].float(), atol=0.02, rtol=0.02)
    assert found.vit.shape == (32, 4, 4)
    shift = share_shift(logits.numpy(), 0.5)
    assert shift is not None
    torch.testing.assert_close(found.shift, torch.from_numpy(shift), atol=0.02, rtol=0.02)


def test_a_second_look_is_read_from_disk(
    network: Mini,
    answer_with: Finish,
    items: Sequence[LabelledPicture],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = np.array(ANNOTATED["voc"])
    first = answer_with().of(source_of(items[2], names), 0)
    monkeypatch.setattr(network, "segment", None)
    again = answer_with().of(source_of(items[2], names), 0)
    assert all(
        np.array_equal(np.asarray(one), np.asarray(other))
        for one, other in zip(first, again, strict=True)
    )
    assert len(list((tmp_path / "answers").glob("*/*.npz"))) == 1


def test_other_names_texts_or_pictures_have_other_answers(
    answer_with: Finish, items: Sequence[LabelledPicture], tmp_path: Path
) -> None:
    names = np.array(ANNOTATED["voc"])
    answer_with().of(source_of(items[2], names), 0)
    answer_with().of(source_of(items[2], names[:2]), 0)
    answer_with().of(source_of(items[3], names), 0)
    answer_with(scale=2.0).of(source_of(items[2], names), 0)
    answer_with(most_names=3).of(source_of(items[2], names), 0)
    assert len(list((tmp_path / "answers").glob("*/*.npz"))) == 5


def test_the_names_that_a_picture_shows_are_among_those_asked_for(
    answer_with: Finish, items: Sequence[LabelledPicture]
) -> None:
    names = np.arange(len(CLASSES))
    for item in items:
        found = answer_with(most_names=4).of(source_of(item, names), 0).names
        shown = np.intersect1d(np.unique(item.read_truth()), names)
        assert len(found) == 4
        assert set(shown) <= set(found)
        assert found.tolist() == sorted(found)
    assert len(answer_with(most_names=2).of(source_of(items[0], names), 0).names) == 2


@torch.no_grad()
def test_the_likeliest_of_the_names_not_shown_come_first(
    network: Mini, answer_with: Finish, items: Sequence[LabelledPicture]
) -> None:
    """By hand: the highest correlation (fewer patches than stand for a peak), and the presence."""
    names = np.arange(len(CLASSES))
    assert network.presence is not None
    for item in items:
        shown = set(np.unique(item.read_truth()).tolist()) & set(names.tolist())
        image = image_of(network, item)
        with quick_precision(torch.device("cpu")):
            patches = network.vision(image)
            correlation = network.correlate(patches, TEXTS)[0].float().mean(dim=(1, 2))
            presence = presence_gain(network.presence(patches.summary, TEXTS[None]).float())[0]
        order = (correlation + presence).argsort(descending=True).tolist()
        likeliest = next(name for name in order if name not in shown)
        found = answer_with(most_names=4).of(source_of(item, names), 0).names
        assert likeliest in found  # room for two: one likely, one by chance
        assert len(found) == 4


def test_of_too_many_shown_names_chance_takes_some(
    answer_with: Finish, items: Sequence[LabelledPicture], tmp_path: Path
) -> None:
    label_map = np.arange(6, dtype=np.uint8).repeat(128).reshape(24, 32)
    found = set()
    for index, item in enumerate(items):
        path = tmp_path / f"voc__{index}.png"
        Image.fromarray(label_map).save(path)
        names = (
            answer_with(most_names=2).of(source_of(replace(item, label_path=path), ALL), 0).names
        )
        assert len(names) == 2
        found |= set(names.tolist())
    assert len(found) > 3


def test_other_weights_have_other_answers_but_not_other_detail(
    make_recipe: MakeRecipe, items: Sequence[LabelledPicture], tmp_path: Path
) -> None:
    recipe = make_recipe(model={**MODEL, "detail": True})

    def num_folders(change: Callable[[Mini], None]) -> int:
        torch.manual_seed(0)
        network = build_network(recipe)
        with torch.no_grad():
            change(network)
        settings = {"most_names": 2, "folder": tmp_path / "answers"}
        CoarseNetwork(network, TEXTS, NAMES, **settings).of(source_of(items[0], range(4)), 0)
        return len(list((tmp_path / "answers").iterdir()))

    def trained(network: Mini) -> None:
        for name, parameter in network.named_parameters():
            if "detail." in name:
                parameter.add_(1.0)
        network.config.trained_on = ("cat",)

    assert num_folders(lambda _: None) == 1
    assert num_folders(trained) == 1
    assert num_folders(lambda network: network.logit_scale.add_(1.0)) == 2
    assert num_folders(lambda network: setattr(network.config, "share_prior", 0.1)) == 3


def test_a_changed_label_map_is_asked_about_again(
    answer_with: Finish, items: Sequence[LabelledPicture], tmp_path: Path
) -> None:
    path = tmp_path / "voc__0.png"
    for label in (1, 2):
        Image.fromarray(np.full((24, 32), label, np.uint8)).save(path)
        names = (
            answer_with(most_names=2)
            .of(source_of(replace(items[0], label_path=path), ALL), 0)
            .names
        )
        assert label in names
    assert len(list((tmp_path / "answers").glob("*/*.npz"))) == 2


def test_a_name_is_asked_for_by_one_of_its_wordings(
    answer_with: Finish, items: Sequence[LabelledPicture]
) -> None:
    names = np.array([0, 1])
    others = NAMES.wordings[1:]
    by_row = {row: answer_with(names=NameTexts(NAMES.texts, ((row,), *others))) for row in (0, 4)}
    asked = answer_with(names=NameTexts(NAMES.texts, ((0, 4), *others)))
    met = set()
    for item in items:
        found = asked.of(source_of(item, names), 0)
        row = int(found.rows[0])
        met.add(row)
        assert found.rows[1] == 1
        assert torch.equal(by_row[row].of(source_of(item, names), 0).logits, found.logits)
    assert met == {0, 4}


def test_a_folder_that_cannot_be_written_is_told(network: Mini, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="give another folder with --cache"):
        CoarseNetwork(
            network,
            torch.zeros(len(CLASSES), JOINT_DIM),
            NAMES,
            most_names=4,
            folder=tmp_path / "file",
        )
