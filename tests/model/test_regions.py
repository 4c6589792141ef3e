from fractions import Fraction

import pytest
import torch
from torch import Tensor

from escnet.model.regions import cut_into_regions, region_masks, tightest_boxes


def drawn(rows: list[str]) -> Tensor:
    """A picture of region numbers; a dot is no foreground."""
    return torch.tensor([[-1 if cell == "." else int(cell) for cell in row] for row in rows])


def lloyd(
    probability: list[list[float]], foreground: list[list[bool]], num_regions: int, num_steps: int
) -> list[list[int]]:
    """k-means by the same rules, in exact fractions, one place at a time."""
    places = [(y, x) for y, row in enumerate(foreground) for x, is_in in enumerate(row) if is_in]

    def squared_distance(a: tuple[Fraction, Fraction], b: tuple[int, int]) -> Fraction:
        return (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2

    def first_best(candidates: list[tuple[int, int]], values: list[Fraction]) -> tuple[int, int]:
        return candidates[values.index(max(values))]

    start = first_best(places, [Fraction(probability[y][x]) for y, x in places])
    centres = [(Fraction(start[0]), Fraction(start[1]))]
    while len(centres) < num_regions:
        gaps = [min(squared_distance(centre, place) for centre in centres) for place in places]
        y, x = first_best(places, gaps)
        centres.append((Fraction(y), Fraction(x)))

    def owner(place: tuple[int, int]) -> int:
        distances = [squared_distance(centre, place) for centre in centres]
        return distances.index(min(distances))

    for _ in range(num_steps):
        members: list[list[tuple[int, int]]] = [[] for _ in centres]
        for place in places:
            members[owner(place)].append(place)
        centres = [
            (Fraction(sum(y for y, _ in own), len(own)), Fraction(sum(x for _, x in own), len(own)))
            if own
            else centre
            for own, centre in zip(members, centres, strict=True)
        ]
    return [
        [owner((y, x)) if is_in else -1 for x, is_in in enumerate(row)]
        for y, row in enumerate(foreground)
    ]


def test_two_objects_and_a_crumb_are_three_regions() -> None:
    expected = drawn(
        [
            "00....11",
            "00....11",
            "........",
            "2.......",
        ]
    )
    probability = torch.full((4, 8), 0.5)
    probability[1, 1] = 1.0
    found = cut_into_regions(probability[None], (expected >= 0)[None], num_regions=3, num_steps=10)
    assert found[0].equal(expected)


def test_the_first_region_holds_the_most_probable_patch_of_the_foreground() -> None:
    foreground = torch.ones(1, 3, 6, dtype=torch.bool)
    foreground[0, 0, 0] = False
    probability = torch.rand(1, 3, 6, generator=torch.Generator().manual_seed(0))
    probability[0, 2, 5], probability[0, 0, 0] = 2.0, 3.0
    region = cut_into_regions(probability, foreground, num_regions=3, num_steps=1)
    assert region[0, 2, 5] == 0


@pytest.mark.parametrize("num_steps", [1, 3, 10])
@pytest.mark.parametrize(("height", "width"), [(4, 4), (5, 9), (1, 12)])
def test_regions_are_those_of_lloyds_algorithm_in_exact_fractions(
    height: int, width: int, num_steps: int
) -> None:
    generator = torch.Generator().manual_seed(height * width)
    probability = torch.rand(12, height, width, generator=generator)
    foreground = torch.rand(12, height, width, generator=generator) < 0.6
    foreground[:, 0, 0] = True
    found = cut_into_regions(probability, foreground, num_regions=4, num_steps=num_steps)
    expected = [
        lloyd(p, f, 4, num_steps)
        for p, f in zip(probability.tolist(), foreground.tolist(), strict=True)
    ]
    assert found.tolist() == expected


def test_fewer_patches_than_regions_leave_regions_empty() -> None:
    foreground = torch.zeros(1, 3, 3, dtype=torch.bool)
    foreground[0, 0, 0] = foreground[0, 2, 2] = True
    region = cut_into_regions(torch.ones(1, 3, 3), foreground, num_regions=5, num_steps=4)
    assert region[0].equal(drawn(["0..", "...", "..1"]))


def test_every_map_is_cut_as_if_it_were_alone() -> None:
    generator = torch.Generator().manual_seed(3)
    probability = torch.rand(6, 7, 5, generator=generator)
    foreground = probability > 0.3
    together = cut_into_regions(probability, foreground, num_regions=5, num_steps=10)
    for index in range(6):
        alone = slice(index, index + 1)
        assert together[alone].equal(
            cut_into_regions(probability[alone], foreground[alone], num_regions=5, num_steps=10)
        )


def test_the_mask_of_a_region_is_where_its_number_stands() -> None:
    region = drawn(["0.1", "11."])
    masks = region_masks(region[None], num_regions=3)
    assert masks.int().tolist() == [[[[1, 0, 0], [0, 0, 0]], [[0, 0, 1], [1, 1, 0]], [[0] * 3] * 2]]


def test_the_tightest_box_goes_from_the_first_to_the_end_of_the_last_patch() -> None:
    region = drawn(["....", ".00.", "..0.", "1..."])
    box = tightest_boxes(region_masks(region[None], num_regions=3))
    expected = [[0.25, 0.25, 0.75, 0.75], [0.0, 0.75, 0.25, 1.0], [0.0, 0.0, 0.0, 0.0]]
    assert box.tolist() == [expected]


def test_the_tightest_box_of_a_wide_grid_is_in_fractions_of_its_own_side() -> None:
    region = drawn([".....", "..00."])
    assert tightest_boxes(region_masks(region[None], 1))[0, 0].allclose(
        torch.tensor([0.4, 0.5, 0.8, 1.0])
    )
