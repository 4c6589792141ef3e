"""Regions: the foreground of a correlation map cut into a few parts by k-means.

The second half of Fig. 3: several objects of one class should get a pseudo prompt each, so the
positions that passed the threshold are clustered. A fixed number of steps, no randomness and no
branch on the data, so the result is reproducible and the network can be exported; see
docs/paper-notes.md, notes 2 and 3.

Sizes: M maps (pictures times class names), K regions, h x w patches, P = h * w.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

NOWHERE = -1  # the region of a patch that is not foreground
_TIE_MARGIN = 1e-3  # in squared patches: above any rounding, below any difference that matters


def cut_into_regions(
    probability: Float[Tensor, "M h w"],
    foreground: Bool[Tensor, "M h w"],
    num_regions: int,
    num_steps: int,
) -> Int[Tensor, "M h w"]:
    """The region 0..K-1 of every foreground patch, and -1 elsewhere.

    Lloyd's algorithm on the patches' places. The first centre is the most probable patch, each
    further one the foreground patch farthest from all centres so far; ties go to the first patch
    in reading order, and a patch as near to two centres goes to the earlier one. A map with fewer
    than K foreground patches leaves regions empty.

    Args:
        probability: Only its maximum matters: where the first centre lies.
        foreground: At least one patch of every map.
        num_regions: K, at least 1.
        num_steps: Rounds of assigning patches and moving centres.
    """
    height, width = probability.shape[-2:]
    place = _places(height, width, probability.device)  # (P, 2)
    member = foreground.flatten(1)  # (M, P)
    centre = _spread_centres(probability.flatten(1), member, place, num_regions)  # (M, K, 2)
    for _ in range(num_steps):
        share = _nearest(centre, place, member)  # (M, K, P)
        count = share.sum(dim=2, keepdim=True)  # (M, K, 1)
        moved = share @ place / count.clamp(min=1)
        centre = torch.where(count > 0, moved, centre)
    region = _distance(centre, place).argmin(dim=1)  # (M, P)
    return torch.where(member, region, NOWHERE).unflatten(1, (height, width))


def _places(height: int, width: int, device: torch.device) -> Float[Tensor, "P 2"]:
    """Row and column of every patch, in reading order."""
    row = torch.arange(height, device=device, dtype=torch.float32)
    column = torch.arange(width, device=device, dtype=torch.float32)
    return torch.stack(torch.meshgrid(row, column, indexing="ij"), dim=-1).flatten(0, 1)


def _distance(
    centre: Float[Tensor, "M K 2"], place: Float[Tensor, "P 2"]
) -> Float[Tensor, "M K P"]:
    """Squared distance of every place from every centre, less the place's own square.

    The part left out is the same for all centres of a map, so comparisons stay right. Each centre
    is put a little behind those before it, so that a tie is settled by the rule, not by rounding.
    """
    behind = _TIE_MARGIN * torch.arange(centre.shape[1], device=centre.device)
    square = centre.square().sum(dim=2) + behind  # (M, K)
    return square[..., None] - 2 * centre @ place.T


def _nearest(
    centre: Float[Tensor, "M K 2"], place: Float[Tensor, "P 2"], member: Bool[Tensor, "M P"]
) -> Float[Tensor, "M K P"]:
    """1 where a foreground place belongs to a centre, else 0."""
    owner = _distance(centre, place).argmin(dim=1)  # (M, P)
    index = torch.arange(centre.shape[1], device=centre.device)[:, None]
    return ((owner[:, None] == index) & member[:, None]).to(centre.dtype)


def _spread_centres(
    probability: Float[Tensor, "M P"],
    member: Bool[Tensor, "M P"],
    place: Float[Tensor, "P 2"],
    num_regions: int,
) -> Float[Tensor, "M K 2"]:
    """The most probable foreground place, then again and again the one farthest from all."""
    best = torch.where(member, probability, -torch.inf).argmax(dim=1)  # (M,)
    centres = [place[best]]
    nearest = torch.full_like(probability, torch.inf)
    for _ in range(num_regions - 1):
        offset = place - centres[-1][:, None]  # (M, P, 2)
        nearest = torch.minimum(nearest, offset.square().sum(dim=2))
        farthest = torch.where(member, nearest, -1.0).argmax(dim=1)
        centres.append(place[farthest])
    return torch.stack(centres, dim=1)


def region_masks(region: Int[Tensor, "M h w"], num_regions: int) -> Bool[Tensor, "M K h w"]:
    """One mask for each region."""
    index = torch.arange(num_regions, device=region.device)[:, None, None]
    return region[:, None] == index


def tightest_boxes(mask: Bool[Tensor, "M K h w"]) -> Float[Tensor, "M K 4"]:
    """The smallest box around each mask, as x0 y0 x1 y1 fractions of the picture.

    An empty mask gets the box 0 0 0 0.
    """
    x0, x1 = _extent(mask.any(dim=2))
    y0, y1 = _extent(mask.any(dim=3))
    return torch.stack([x0, y0, x1, y1], dim=-1)


def _extent(
    occupied: Bool[Tensor, "M K s"],
) -> tuple[Float[Tensor, "M K"], Float[Tensor, "M K"]]:
    """Where the occupied cells begin and end, as fractions; 0 and 0 where there are none."""
    size = occupied.shape[2]
    cell = occupied.to(torch.float32)
    first = cell.argmax(dim=2)
    last = size - 1 - cell.flip(2).argmax(dim=2)
    some = occupied.any(dim=2)
    return torch.where(some, first / size, 0.0), torch.where(some, (last + 1) / size, 0.0)
