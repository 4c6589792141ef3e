"""The mean of several checkpoints' weights, which is often better than each of them.

Checkpoints of one line of training lie close enough together for that (Wortsman et al., "Model
soups", ICML 2022): one network, at the cost of one, with some of what each of them learnt.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import torch

from escnet.errors import ConfigError, WeightsError
from escnet.model.catseg import CatSeg
from escnet.model.escnet import EscNet
from escnet.weights.checkpoint import load_any_network


def average_checkpoints(
    folders: Sequence[str | Path], shares: Sequence[float] = ()
) -> EscNet | CatSeg:
    """The weighted mean of the weights, in float32, in the settings of the first.

    What only the first has is taken from it, so a checkpoint that a part was added to can be mixed
    with what it was trained from. Integers are the first's.

    Args:
        folders: Two checkpoints or more, of one kind of network.
        shares: One for each, positive; they are divided by their sum. None: all alike.

    Raises:
        ConfigError: If there are fewer than two, or the shares are not what they must be.
        WeightsError: If a folder is no checkpoint of ours, is damaged, or has tensors that do not
            fit those of the first.
    """
    weights = _normalized(len(folders), shares)
    network = load_any_network(folders[0])
    total = network.state_dict()
    mean = {name: weights[0] * value for name, value in total.items() if value.is_floating_point()}
    own = dict.fromkeys(mean, weights[0])  # the shares of the checkpoints that have the tensor
    for folder, weight in zip(folders[1:], weights[1:], strict=True):
        other = load_any_network(folder)
        _check_fits(folders[0], network, folder, other)
        for name, value in other.state_dict().items():
            if value.is_floating_point():
                mean[name].add_(value, alpha=weight)
                own[name] += weight
    with torch.no_grad():
        for name, value in mean.items():
            total[name].copy_(value / own[name])
    return network


def _normalized(number: int, shares: Sequence[float]) -> list[float]:
    if number < 2:
        raise ConfigError(f"{number} checkpoint, but a mean needs two: name another")
    if not shares:
        return [1 / number] * number
    if len(shares) != number:
        raise ConfigError(f"{len(shares)} shares for {number} checkpoints: give one for each")
    if not all(math.isfinite(share) and share > 0 for share in shares):
        shown = ", ".join(f"{share:g}" for share in shares)
        raise ConfigError(f"shares {shown}: give positive numbers")
    return [share / sum(shares) for share in shares]


def _check_fits(
    first: str | Path, network: EscNet | CatSeg, folder: str | Path, other: EscNet | CatSeg
) -> None:
    if type(other) is not type(network):
        raise WeightsError(
            f"{folder} holds a network of type {other.config.model_type!r}, {first} one of "
            f"{network.config.model_type!r}: their weights have no mean"
        )
    mine = network.state_dict()
    for name, value in other.state_dict().items():
        if name not in mine:
            raise WeightsError(
                f"{folder} has a tensor {name}, which {first} lacks: name the checkpoint with more "
                "parts first"
            )
        if value.shape != mine[name].shape:
            raise WeightsError(
                f"tensor {name} is {tuple(value.shape)} in {folder} and {tuple(mine[name].shape)} "
                f"in {first}: give checkpoints of one network"
            )
