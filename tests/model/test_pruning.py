import torch
from torch import Tensor

from escnet.model.correlation import correlation_map
from escnet.model.pruning import likely_names


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
