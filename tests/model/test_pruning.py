import pytest
import torch
from torch import Tensor

from escnet.model.correlation import correlation_map
from escnet.model.pruning import Rejection, likely_names, of_names, standing


def kept(image: Tensor, text: Tensor, most: int) -> list[int]:
    peak = correlation_map(image, text).amax(dim=(2, 3))
    return likely_names(peak, most)[0].tolist()


def embeddings(num_queries: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 8, 3, 4, generator=generator)
    return image, torch.randn(num_queries, 8, generator=generator)


def test_a_hand_made_picture_keeps_the_names_it_shows() -> None:
    image = torch.zeros(1, 4, 1, 2)
    image[0, 2, 0, 0] = image[0, 0, 0, 1] = 1.0  # one patch looks as name 2, the other as name 0
    assert kept(image, torch.eye(4), 2) == [0, 2]


def test_those_kept_have_the_highest_peaks_and_stay_in_order() -> None:
    image, text = embeddings()
    found = kept(image, text, 3)
    peak = correlation_map(image, text).amax(dim=(2, 3))[0]
    dropped = [query for query in range(6) if query not in found]
    assert peak[found].min() > peak[dropped].max()
    assert found == sorted(found)


def test_one_strong_patch_is_worth_more_than_many_fair_ones() -> None:
    image = torch.zeros(1, 2, 1, 3)
    image[0, :, 0, 0] = torch.tensor([1.0, 0.0])
    image[0, :, 0, 1:] = torch.tensor([[0.6], [0.8]])
    assert kept(image, torch.eye(2), 1) == [0]


def test_zero_or_enough_keeps_all() -> None:
    image, text = embeddings()
    for most in (0, 6, 7):
        assert kept(image, text, most) == [0, 1, 2, 3, 4, 5]


def test_the_length_of_an_embedding_does_not_matter() -> None:
    image, text = embeddings()
    scaled = text * torch.tensor([9.0, 1, 5, 0.1, 1, 2])[:, None]
    assert kept(image, scaled, 3) == kept(image, text, 3)


def maps_of(*rows: list[float]) -> Tensor:
    """One picture of a single row of patches, a map for each name."""
    return torch.tensor(rows)[None, :, None]


def survivors(rejection: Rejection, maps: Tensor, look: int = 0) -> list[list[int]]:
    index = torch.arange(maps.shape[1]).expand(len(maps), -1)
    return rejection.survivors(look, maps, index).tolist()


def random_maps(num_pictures: int = 3, num_names: int = 12) -> Tensor:
    return torch.randn(num_pictures, num_names, 4, 5, generator=torch.Generator().manual_seed(3))


def test_a_label_stands_by_the_patches_it_wins_and_else_by_how_little_it_is_behind() -> None:
    maps = maps_of([5.0, 1.0, 0.0], [4.0, 3.0, 0.0], [4.5, 0.0, -9.0])
    torch.testing.assert_close(
        standing(maps), torch.tensor([[2.9933, 2.9820, -0.5]]), atol=1e-4, rtol=0
    )


def test_of_too_many_winners_those_go_that_cover_least() -> None:
    maps = maps_of([9.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 5.0])
    assert 1 in survivors(Rejection([1]), maps)[0]


def test_a_name_that_wins_one_patch_by_little_outranks_a_strong_second() -> None:
    maps = maps_of([9.0, 0.0], [8.9, 0.0], [0.0, 0.1])
    assert survivors(Rejection([2]), maps) == [[0, 2]]


@pytest.mark.parametrize("count", [3, 5, 8])
def test_whoever_wins_a_patch_survives_while_there_is_room(count: int) -> None:
    maps = random_maps()
    maps[:, 5:] -= 2  # so that few names win
    for own, left in zip(maps, survivors(Rejection([count]), maps), strict=True):
        winners = set(own.argmax(dim=0).unique().tolist())
        if len(winners) <= count:
            assert winners <= set(left)
        else:
            assert set(left) <= winners


def test_survivors_stay_in_order_and_the_last_count_holds_for_later_looks() -> None:
    maps, rejection = random_maps(), Rejection([6, 4])
    for look, count in ((0, 6), (1, 4), (2, 4)):
        for left in survivors(rejection, maps, look):
            assert left == sorted(left)
            assert len(left) == count


def test_permuting_names_permutes_the_survivors() -> None:
    maps, order = random_maps(), torch.randperm(12, generator=torch.Generator().manual_seed(4))
    found = survivors(Rejection([5]), maps[:, order])
    for own, expected in zip(found, survivors(Rejection([5]), maps), strict=True):
        assert sorted(order[own].tolist()) == expected


def test_enough_room_keeps_all() -> None:
    assert survivors(Rejection([12]), random_maps()) == [list(range(12))] * 3
    rejection = Rejection([12, 5])
    assert [rejection.is_idle(look, 12) for look in (0, 1, 2)] == [True, False, False]
    assert not rejection.is_idle(0, 13)


def test_synonyms_are_judged_by_the_best_of_them_and_stay_together() -> None:
    # label 0 wins by its second name; label 1 is a little behind, label 2 far
    owner = [0, 0, 0, 1, 2]
    maps = maps_of([-9.0, -9.0], [3.0, 0.0], [-8.0, -9.0], [2.9, -0.5], [2.0, -1.0])
    rejection = Rejection([1], owner)
    assert survivors(rejection, maps) == [[0, 1, 2]]
    assert survivors(Rejection([2], owner), maps) == [[0, 1, 2, 3]]


def test_a_label_that_loses_a_name_is_rejected_as_a_whole() -> None:
    owner = [0, 1, 1, 1, 2, 2]
    maps = maps_of([9.0, 0.0], [0.0, 8.0], [0.0, 0.0], [0.0, 0.0], [1.0, 1.0], [1.0, 1.0])
    rejection = Rejection([2, 1], owner)
    index = torch.arange(6)[None]
    left = rejection.survivors(0, maps, index)
    assert left.tolist() == [[0, 1, 2, 3, 4]] or left.tolist() == [[0, 1, 2, 3, 5]]
    assert rejection.whole(left[0].tolist()) == [0, 1, 2, 3]
    # the label that was cut has no say from then on, however good its maps become
    later = of_names(maps, left).clone()
    later[0, 4] = 99
    last = of_names(left, rejection.survivors(1, later, left))[0].tolist()
    assert [last[row] for row in rejection.whole(last)] == [0]


def test_each_picture_has_names_of_its_own() -> None:
    values = torch.arange(12.0).view(2, 6)
    position = torch.tensor([[0, 5], [1, 2]])
    assert of_names(values, position).tolist() == [[0, 5], [7, 8]]
    assert of_names(values[:1], position).tolist() == [[0, 5], [1, 2]]
