"""The mean of several checkpoints' weights, which is often better than each of them.

Checkpoints of one line of training lie close enough together for that (Wortsman et al., "Model
soups", ICML 2022): one network, at the cost of one, with some of what each of them learnt.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from escnet.errors import ConfigError, WeightsError
from escnet.towers.network import Network
from escnet.weights.checkpoint import load_any_network

_OF_ALL = ("origins", "trained_on")


def average_checkpoints(folders: Sequence[str | Path], shares: Sequence[float] = ()) -> Network:
    """The weighted mean of the weights, in float32, in the settings of the first.

    What only the first has is taken from it, so a checkpoint that a part was added to can be mixed
    with what it was trained from. Integers are the first's. Origins, and class names that were
    trained on, are those of all.

    Args:
        folders: Two checkpoints or more, of one kind of network.
        shares: One for each, positive; they are divided by their sum. Without any, all alike.

    Raises:
        ConfigError: If there are fewer than two, or the shares are not what they must be.
        WeightsError: If a folder is no checkpoint of ours, is damaged, or has other settings than
            the first, or more parts.
    """
    _check_shares(len(folders), shares)
    shares = shares or [1.0] * len(folders)
    network = load_any_network(folders[0])
    mean = network.state_dict()
    met = dict.fromkeys(mean, shares[0])  # the shares of the checkpoints that have the tensor
    for folder, share in zip(folders[1:], shares[1:], strict=True):
        other = load_any_network(folder)
        _check_fits(folders[0], network, folder, other)
        for name in _OF_ALL:
            known = getattr(network.config, name)
            new = [value for value in getattr(other.config, name) if value not in known]
            setattr(network.config, name, (*known, *new))
        for name, value in other.state_dict().items():
            met[name] += share
            if value.is_floating_point():
                mean[name].lerp_(value, share / met[name])
    return network


def _check_shares(number: int, shares: Sequence[float]) -> None:
    if number < 2:
        raise ConfigError(f"{number} checkpoint, but a mean needs two: name another")
    if shares and len(shares) != number:
        raise ConfigError(f"{len(shares)} shares for {number} checkpoints: give one for each")
    if not all(math.isfinite(share) and share > 0 for share in shares):
        shown = ", ".join(f"{share:g}" for share in shares)
        raise ConfigError(f"shares {shown}: give positive numbers")


def _check_fits(first: str | Path, network: Network, folder: str | Path, other: Network) -> None:
    if type(other) is not type(network):
        raise WeightsError(
            f"{folder} holds a network of type {other.config.model_type!r}, {first} one of "
            f"{network.config.model_type!r}: their weights have no mean"
        )
    may_differ = {*_OF_ALL, *network.config.free_settings}
    for name in network.config.setting_names():
        asked, found = (getattr(one.config, name, None) for one in (network, other))
        if asked != found and name not in may_differ:
            raise WeightsError(
                f"setting {name} is {found!r} in {folder} and {asked!r} in {first}: "
                "give checkpoints of one network"
            )
    if more := sorted(other.state_dict().keys() - network.state_dict().keys()):
        raise WeightsError(
            f"{folder} has a tensor {more[0]}, which {first} lacks: name the checkpoint with more "
            "parts first"
        )
