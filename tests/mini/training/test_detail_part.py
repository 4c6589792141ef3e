import numpy as np
import pytest
import torch
from torch import Tensor

from escnet.mini.training.detail_part import DetailPart, disturbed, pasted
from escnet.training.targets import NONE_OF_THEM, UNKNOWN

SIDE, GRID, PATCHES = 16, 8, 2  # of the view, of the branch's grid and of the patches


def part_of(names: list[int], target: Tensor, value: float) -> DetailPart:
    """A part in which everything but the names is one value, and logits that tell the name."""
    n = len(names)
    logits = torch.tensor(names).float()[:, None, None] + value
    return DetailPart(
        names=np.array(names),
        image=torch.full((3, SIDE, SIDE), value),
        target=target,
        logits=logits.expand(n, GRID, GRID),
        vit=torch.full((4, PATCHES, PATCHES), value),
        joint=torch.full((5, PATCHES, PATCHES), value),
        shift=torch.tensor(names).float(),
        text=torch.tensor(names).float()[:, None].expand(n, 5),
        share=0.5,
    )


def test_half_of_the_names_shown_are_pasted_with_all_that_is_known_of_them() -> None:
    """Names 3 and 7 are known of both; the other part shows 7 on its left half, and 9."""
    own_target = torch.zeros(GRID, GRID).long()  # name 1, which the other was not asked for
    own_target[:2] = 1  # name 3
    own_target[2:4] = UNKNOWN
    own = part_of([1, 3, 7], own_target, 0.25)
    other_target = torch.full((GRID, GRID), 2)  # name 9, which the part was not asked for
    other_target[:, :4] = 1  # name 7
    found = pasted(own, part_of([3, 7, 9], other_target, 0.75), np.random.default_rng(0))
    assert found.names.tolist() == [3, 7]
    assert found.target[:, :4].eq(1).all()
    assert found.target[:2, 4:].eq(0).all()
    assert found.target[2:4, 4:].eq(UNKNOWN).all()
    assert found.target[4:, 4:].eq(NONE_OF_THEM).all()
    left = torch.arange(SIDE) < SIDE / 2
    assert found.image.equal(torch.where(left, 0.75, 0.25).expand(3, SIDE, SIDE))
    for maps in (found.vit, found.joint):
        assert maps[:, :, 0].eq(0.75).all()
        assert maps[:, :, 1].eq(0.25).all()
    for row, name in enumerate(found.names.tolist()):
        assert found.logits[row, :, :4].eq(name + 0.75).all()
        assert found.logits[row, :, 4:].eq(name + 0.25).all()
        assert found.shift[row] == name
        assert found.text[row].eq(name).all()
    assert found.share == 0.5


def test_chance_takes_half_of_the_names_rounded_up() -> None:
    target = torch.arange(3).repeat_interleave(22)[: GRID * GRID].view(GRID, GRID).clone()
    own = part_of([0, 1, 2], torch.full((GRID, GRID), UNKNOWN), 0.25)
    other = part_of([0, 1, 2], target, 0.75)
    taken = set()
    for seed in range(20):
        found = pasted(own, other, np.random.default_rng(seed))
        names = set(found.target.unique().tolist()) - {UNKNOWN}
        assert len(names) == 2
        assert torch.equal(found.target != UNKNOWN, torch.isin(target, torch.tensor(list(names))))
        taken.add(frozenset(names))
    assert len(taken) == 3


def test_where_there_is_nothing_to_paste_the_part_stays_as_it_is() -> None:
    own = part_of([1, 3], torch.zeros(GRID, GRID).long(), 0.25)
    shown = torch.zeros(GRID, GRID).long()
    random = np.random.default_rng(0)
    assert pasted(own, part_of([2, 4], shown, 0.75), random) is own
    assert pasted(own, part_of([2, 3], shown, 0.75), random) is own
    nothing = torch.full((GRID, GRID), NONE_OF_THEM)
    assert pasted(own, part_of([1, 3], nothing, 0.75), random) is own


def test_a_patch_is_pasted_where_most_of_it_is() -> None:
    target = torch.full((GRID, GRID), NONE_OF_THEM)
    target[:3, :4] = 0  # three quarters of the first patch
    target[4:5, 4:] = 0  # a quarter of the last
    own = part_of([0], torch.full((GRID, GRID), UNKNOWN), 0.25)
    found = pasted(own, part_of([0], target, 0.75), np.random.default_rng(0))
    assert found.vit[0].tolist() == [[0.75, 0.25], [0.25, 0.25]]


def test_on_a_device_everything_but_the_names_is() -> None:
    own = part_of([0], torch.zeros(GRID, GRID).long(), 0.25)
    found = own.on(torch.device("meta"))
    tensors = (found.image, found.target, found.logits, found.vit, found.joint)
    assert all(one.device.type == "meta" for one in (*tensors, found.shift, found.text))
    assert (found.names is own.names, found.share) == (True, own.share)


def test_disturbed_logits_by_hand() -> None:
    logits = torch.randn(3, 12, 12)
    random = np.random.default_rng(0)
    scale, most = random.uniform(0.6, 1.0), random.uniform(0, 1.5)
    by_name = random.normal(0, 0.5, (3, 1, 1))
    found = disturbed(logits, np.random.default_rng(0))
    rest = found - scale * logits - torch.from_numpy(by_name).float()
    # what is left is smooth, and as large as was drawn
    assert rest.std() == pytest.approx(most * 0.8, rel=0.35)
    assert (rest.diff(dim=2).abs().mean() / rest.std()) < 0.6
