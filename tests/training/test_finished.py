from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from escnet.data.folder import FolderDataset
from escnet.data.labelled_picture import LabelledPicture
from escnet.errors import OutputError
from escnet.inference.label_maps.labelling import share_shift
from escnet.mini.network import Mini
from escnet.mini.presence import presence_gain
from escnet.training.assembly import build_network
from escnet.training.config import Recipe
from escnet.training.features import whole_view
from escnet.training.finished import FinishedNetwork
from tests.training.conftest import ANNOTATED, CLASSES, JOINT_DIM

MakeRecipe = Callable[..., Recipe]
Finish = Callable[..., FinishedNetwork]
WORDINGS = [[index] for index in range(len(CLASSES))]
TEXTS = torch.randn(len(CLASSES), JOINT_DIM, generator=torch.Generator().manual_seed(1))
MODEL: dict[str, Any] = {"sam": "none", "share_prior": 0.5, "presence": True}


@pytest.fixture(scope="module")
def network(make_recipe: MakeRecipe, data_folder: Path) -> Mini:
    torch.manual_seed(0)
    recipe = make_recipe(model=MODEL)
    network = build_network(recipe, FolderDataset.read(data_folder))[0].eval()
    assert network.presence is not None
    network.presence.begin_fit()
    return network


@pytest.fixture
def items(data_folder: Path) -> Sequence[LabelledPicture]:
    return list(FolderDataset.read(data_folder))


@pytest.fixture
def finish(network: Mini, tmp_path: Path) -> Finish:
    def make(
        most_names: int = 16, wordings: Sequence[Sequence[int]] = WORDINGS, scale: float = 1.0
    ) -> FinishedNetwork:
        return FinishedNetwork(
            network, scale * TEXTS, wordings, most_names=most_names, folder=tmp_path / "answers"
        )

    return make


@torch.no_grad()
def test_it_keeps_what_the_network_says_of_the_whole_picture(
    network: Mini, finish: Finish, items: Sequence[LabelledPicture]
) -> None:
    names = np.array(ANNOTATED["voc"])
    finished = finish()
    found = finished.of(items[-1], names)
    image = whole_view(items[-1].image_path, network.config.image_size)[None]
    with torch.autocast("cpu", torch.bfloat16):
        patches = network.vision(image)
        logits = network.segment(patches, TEXTS[names]).logits[0].float()
    assert found.names.tolist() == names.tolist()
    torch.testing.assert_close(found.logits, logits, atol=0.02, rtol=0.02)
    torch.testing.assert_close(found.joint, patches.joint[0].float(), atol=0.02, rtol=0.02)
    assert found.vit.shape == (32, 4, 4)
    shift = share_shift(logits, 0.5)
    assert shift is not None
    torch.testing.assert_close(found.shift, shift, atol=0.02, rtol=0.02)


def test_a_second_look_is_read_from_disk(
    network: Mini,
    finish: Finish,
    items: Sequence[LabelledPicture],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = np.array(ANNOTATED["voc"])
    first = finish().of(items[2], names)
    monkeypatch.setattr(network, "segment", None)
    again = finish().of(items[2], names)
    assert all(
        np.array_equal(np.asarray(one), np.asarray(other))
        for one, other in zip(first, again, strict=True)
    )
    assert len(list((tmp_path / "answers").glob("*/*.npz"))) == 1


def test_other_names_texts_or_pictures_have_other_answers(
    finish: Finish, items: Sequence[LabelledPicture], tmp_path: Path
) -> None:
    names = np.array(ANNOTATED["voc"])
    finish().of(items[2], names)
    finish().of(items[2], names[:2])
    finish().of(items[3], names)
    finish(scale=2.0).of(items[2], names)
    finish(most_names=3).of(items[2], names)
    assert len(list((tmp_path / "answers").glob("*/*.npz"))) == 5


def test_the_names_that_a_picture_shows_are_among_those_asked_for(
    finish: Finish, items: Sequence[LabelledPicture]
) -> None:
    names = np.arange(len(CLASSES))
    for item in items:
        found = finish(most_names=4).of(item, names).names
        shown = np.intersect1d(np.unique(item.read_truth()), names)
        assert len(found) == 4
        assert set(shown) <= set(found)
        assert found.tolist() == sorted(found)
    assert len(finish(most_names=2).of(items[0], names).names) == 2


@torch.no_grad()
def test_the_likeliest_of_the_names_not_shown_come_first(
    network: Mini, finish: Finish, items: Sequence[LabelledPicture]
) -> None:
    """By hand: the highest correlation (fewer patches than stand for a peak), and the presence."""
    names = np.arange(len(CLASSES))
    assert network.presence is not None
    for item in items:
        shown = set(np.unique(item.read_truth()).tolist()) & set(names.tolist())
        image = whole_view(item.image_path, network.config.image_size)[None]
        with torch.autocast("cpu", torch.bfloat16):
            patches = network.vision(image)
            correlation = network.correlate(patches, TEXTS)[0].float().mean(dim=(1, 2))
            presence = presence_gain(network.presence(patches.summary, TEXTS).float())[0]
        order = (correlation + presence).argsort(descending=True).tolist()
        likeliest = next(name for name in order if name not in shown)
        found = finish(most_names=4).of(item, names).names
        assert likeliest in found  # room for two: one likely, one by chance
        assert len(found) == 4


def test_of_too_many_shown_names_chance_takes_some(
    finish: Finish, items: Sequence[LabelledPicture], tmp_path: Path
) -> None:
    label_map = np.arange(6, dtype=np.uint8).repeat(128).reshape(24, 32)
    found = set()
    for index, item in enumerate(items):
        path = tmp_path / f"voc__{index}.png"
        Image.fromarray(label_map).save(path)
        names = finish(most_names=2).of(replace(item, label_path=path), np.arange(6)).names
        assert len(names) == 2
        found |= set(names.tolist())
    assert len(found) > 3


def test_other_weights_have_other_answers_but_not_other_detail(
    make_recipe: MakeRecipe, data_folder: Path, items: Sequence[LabelledPicture], tmp_path: Path
) -> None:
    dataset = FolderDataset.read(data_folder)
    recipe = make_recipe(model={**MODEL, "detail": True})

    def num_folders(change: Callable[[Mini], None]) -> int:
        torch.manual_seed(0)
        network, _ = build_network(recipe, dataset)
        with torch.no_grad():
            change(network)
        settings = {"most_names": 2, "folder": tmp_path / "answers"}
        FinishedNetwork(network, TEXTS, WORDINGS, **settings).of(items[0], np.arange(4))
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
    finish: Finish, items: Sequence[LabelledPicture], tmp_path: Path
) -> None:
    path = tmp_path / "voc__0.png"
    for label in (1, 2):
        Image.fromarray(np.full((24, 32), label, np.uint8)).save(path)
        names = finish(most_names=2).of(replace(items[0], label_path=path), np.arange(6)).names
        assert label in names
    assert len(list((tmp_path / "answers").glob("*/*.npz"))) == 2


def test_a_name_is_asked_for_by_one_of_its_wordings(
    finish: Finish, items: Sequence[LabelledPicture]
) -> None:
    names = np.array([0, 1])
    by_row = {row: finish(wordings=[[row], *WORDINGS[1:]]) for row in (0, 4)}
    asked = finish(wordings=[[0, 4], *WORDINGS[1:]])
    met = set()
    for item in items:
        found = asked.of(item, names)
        row = int(found.rows[0])
        met.add(row)
        assert found.rows[1] == 1
        assert torch.equal(by_row[row].of(item, names).logits, found.logits)
    assert met == {0, 4}


def test_a_folder_that_cannot_be_written_is_told(network: Mini, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="give another folder with --cache"):
        FinishedNetwork(
            network,
            torch.zeros(len(CLASSES), JOINT_DIM),
            WORDINGS,
            most_names=4,
            folder=tmp_path / "file",
        )
