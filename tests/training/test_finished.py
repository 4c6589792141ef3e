from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from escnet.data.folder import FolderDataset, FolderItem
from escnet.data.label_map import read_label_map
from escnet.errors import OutputError
from escnet.inference.labelling import share_shift
from escnet.model.escnet import EscNet
from escnet.training.assembly import build_network
from escnet.training.config import Recipe
from escnet.training.features import whole_view
from escnet.training.finished import FinishedNetwork
from tests.training.conftest import ANNOTATED, CLASSES, JOINT_DIM

MakeRecipe = Callable[..., Recipe]
Finish = Callable[..., FinishedNetwork]
WORDINGS = [[index] for index in range(len(CLASSES))]
MODEL = {"sam": "none", "share_prior": 0.5, "presence": True}


@pytest.fixture(scope="module")
def network(make_recipe: MakeRecipe, data_folder: Path) -> EscNet:
    torch.manual_seed(0)
    recipe = make_recipe(model=MODEL)
    return build_network(recipe, FolderDataset.read(data_folder))[0].eval()


@pytest.fixture
def items(data_folder: Path) -> Sequence[FolderItem]:
    return list(FolderDataset.read(data_folder))


@pytest.fixture
def finish(network: EscNet, tmp_path: Path) -> Finish:
    texts = torch.randn(len(CLASSES), JOINT_DIM, generator=torch.Generator().manual_seed(1))

    def make(
        most_names: int = 16, wordings: Sequence[Sequence[int]] = WORDINGS, scale: float = 1.0
    ) -> FinishedNetwork:
        return FinishedNetwork(
            network, scale * texts, wordings, most_names=most_names, folder=tmp_path / "answers"
        )

    return make


@torch.no_grad()
def test_it_keeps_what_the_network_says_of_the_whole_picture(
    network: EscNet, finish: Finish, items: Sequence[FolderItem]
) -> None:
    names = np.array(ANNOTATED["voc"])
    finished = finish()
    found = finished.of(items[-1], names)
    texts = torch.randn(len(CLASSES), JOINT_DIM, generator=torch.Generator().manual_seed(1))
    image = whole_view(items[-1].image_path, network.config.image_size)[None]
    with torch.autocast("cpu", torch.bfloat16):
        patches = network.vision(image)
        logits = network.segment(patches, texts[names]).logits[0].float()
    assert found.names.tolist() == names.tolist()
    torch.testing.assert_close(found.logits, logits, atol=0.02, rtol=0.02)
    torch.testing.assert_close(found.joint, patches.joint[0].float(), atol=0.02, rtol=0.02)
    assert found.vit.shape == (32, 4, 4)
    shift = share_shift(logits, 0.5)
    assert shift is not None
    torch.testing.assert_close(found.shift, shift, atol=0.02, rtol=0.02)


def test_a_second_look_is_read_from_disk(
    network: EscNet,
    finish: Finish,
    items: Sequence[FolderItem],
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
    finish: Finish, items: Sequence[FolderItem], tmp_path: Path
) -> None:
    names = np.array(ANNOTATED["voc"])
    finish().of(items[2], names)
    finish().of(items[2], names[:2])
    finish().of(items[3], names)
    finish(scale=2.0).of(items[2], names)
    finish(most_names=3).of(items[2], names)
    assert len(list((tmp_path / "answers").glob("*/*.npz"))) == 5


def test_the_names_that_a_picture_shows_are_among_those_asked_for(
    finish: Finish, items: Sequence[FolderItem]
) -> None:
    names = np.arange(len(CLASSES))
    for item in items:
        found = finish(most_names=4).of(item, names).names
        shown = np.intersect1d(np.unique(read_label_map(item.mask_path)), names)
        assert len(found) == 4
        assert set(shown) <= set(found)
        assert found.tolist() == sorted(found)
    assert len(finish(most_names=2).of(items[0], names).names) == 2


def test_the_likeliest_of_the_names_not_shown_come_first(
    finish: Finish, items: Sequence[FolderItem], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = np.arange(len(CLASSES))
    likelihood = np.array([0.0, 5.0, 4.0, 9.0, 1.0, 8.0], np.float32)
    monkeypatch.setattr(FinishedNetwork, "_likelihood", lambda *_: likelihood)
    item = next(one for one in items if one.stem == "voc__0")  # sky and cat: 0 and 1
    found = finish(most_names=4).of(item, names).names
    assert {0, 1, 3} <= set(found)  # room for two: one likely, one by chance
    assert len(found) == 4


def test_a_name_is_asked_for_by_one_of_its_wordings(
    finish: Finish, items: Sequence[FolderItem]
) -> None:
    names = np.array([0, 1])
    wordings = [[0, 4], [1], [2], [3], [4], [5]]
    own, other = (finish(wordings=[[row], *WORDINGS[1:]]) for row in (0, 4))
    asked = finish(wordings=wordings)
    matches = {
        next(
            row
            for row, one in ((0, own), (4, other))
            if torch.equal(one.of(item, names).logits[0], asked.of(item, names).logits[0])
        )
        for item in items
    }
    assert matches == {0, 4}


def test_a_folder_that_cannot_be_written_is_told(network: EscNet, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        FinishedNetwork(
            network,
            torch.zeros(len(CLASSES), JOINT_DIM),
            WORDINGS,
            most_names=4,
            folder=tmp_path / "file",
        )
