"""The built-in model as a method."""

from pathlib import Path

from escnet.inference.label_maps.rest import RestRule
from escnet.inference.methods.esc_method import EscMethod
from escnet.inference.methods.memory import DEFAULT_BUDGET
from escnet.mini.network import Mini
from escnet.mini.words import load_mini_tokenizer
from escnet.weights.checkpoint import load_network, weights_hash

_MOST_TOKENS = 77


class MiniMethod(EscMethod):
    """The built-in model, ready for views."""

    network: Mini

    @property
    def share_prior(self) -> float:  # type: ignore[override]
        """What the network's settings say of it."""
        return float(self.network.config.share_prior)

    @property
    def rest_rule(self) -> RestRule | None:
        """What the network's settings say of the rest class."""
        rest = self.network.config.rest
        return None if rest is None else RestRule.of(rest)


def load_mini_method(
    folder: Path, *, device: str, dtype: str, memory_budget: int = DEFAULT_BUDGET
) -> tuple[MiniMethod, str]:
    """The method from a checkpoint folder, and the hash of its weights.

    Raises:
        WeightsError: If the weights are not here, damaged, or of another kind.
    """
    network = load_network(folder, Mini)
    most = network.config.text_config.get("max_position_embeddings", _MOST_TOKENS)
    tokenize = load_mini_tokenizer(folder, most)
    method = MiniMethod(network, tokenize, device=device, dtype=dtype, memory_budget=memory_budget)
    return method, weights_hash(folder)
