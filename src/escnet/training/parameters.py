"""What the paper's recipe trains, at which rate, and with how much weight decay.

Three kinds of rate: "head", everything that is neither the towers' nor SAM's; "towers", some
attention projections of both; "sam", the SAM blocks. Everything else is frozen
(docs/paper-notes.md, notes 19, 20 and 30).
"""

import re

from torch import nn

from escnet.model.prompt_encoder import ChannelNorm
from escnet.towers.network import Network
from escnet.training.pictures_recipe import TowersSection
from escnet.training.stage import ParameterGroups, groups_by_kind

HEAD, TOWERS, SAM = "head", "towers", "sam"

_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase, ChannelNorm)  # noqa: SLF001
_NO_DECAY = re.compile(r"\.output_tokens$|^logit_")  # SAM's tokens are embeddings in SAM

SAM_WEIGHT = re.compile(r"\.sam\.(two_way\.|mask_head\.|output_tokens$)")
_SAM_ATTENTION = re.compile(r"\.output_tokens$|\.norm\d\.|attn")


def pictures_groups(
    network: Network,
    towers: TowersSection,
    *,
    weight_decay: float,
    has_evidence_loss: bool,
) -> ParameterGroups:
    """The trained parameters by kind of rate and weight decay.

    Norms and embeddings have no weight decay, as in CAT-Seg; biases have it.

    Args:
        network: With both towers.
        towers: What of them and of SAM is trained.
        weight_decay: Of what has any.
        has_evidence_loss: Whether the maps that the blocks read their prompts off have a loss of
            their own, without which nothing trains the layers that make them.
    """
    exempt = _without_decay(network)

    def decay_of(name: str, _: nn.Parameter) -> float:
        return 0.0 if name in exempt or _NO_DECAY.search(name) else weight_decay

    return groups_by_kind(
        network, lambda name: _kind(name, network, towers, has_evidence_loss), decay_of
    )


def _kind(
    name: str, network: Network, towers: TowersSection, has_evidence_loss: bool
) -> str | None:
    if name.startswith(("vision.", "text.")):
        return TOWERS if _is_trained_of_tower(name, network, towers) else None
    if name.startswith("prompt_encoder."):
        return None
    if name.startswith("read_out."):
        return HEAD if _is_read_out_used(name, network, has_evidence_loss) else None
    if not SAM_WEIGHT.search(name):
        return HEAD
    if towers.sam_trained == "none" or not towers.sam_rate:
        return None
    return SAM if towers.sam_trained == "all" or _SAM_ATTENTION.search(name) else None


def _is_trained_of_tower(name: str, network: Network, towers: TowersSection) -> bool:
    wanted = tuple(f".self_attn.{projection}.weight" for projection in towers.trained)
    if not towers.rate or not name.endswith(wanted):
        return False
    # In the last block of most image towers no patch looks at another: its queries and keys reach
    # no output, and a parameter without gradient stops training on several GPUs.
    unused = {id(one) for module in network.vision.unused_modules() for one in module.parameters()}
    return id(network.get_parameter(name)) not in unused


def _is_read_out_used(name: str, network: Network, has_evidence_loss: bool) -> bool:
    """Blocks read their prompts off these maps without a gradient; only a loss trains them."""
    is_last = name.startswith(f"read_out.{network.config.num_blocks - 1}.")
    return has_evidence_loss or (is_last and network.config.correlation_residual)


def _without_decay(network: Network) -> set[str]:
    return {
        f"{path}.{name}".lstrip(".")
        for path, module in network.named_modules()
        if isinstance(module, (*_NORMS, nn.Embedding))
        for name, _ in module.named_parameters(recurse=False)
    }
