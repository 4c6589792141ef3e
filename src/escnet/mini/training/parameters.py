"""Which kind of rate the weights of the built-in model's network are trained at."""

from collections.abc import Callable

from torch import nn

from escnet.training.parameters import SAM_WEIGHT


def kind_of(name: str) -> str | None:
    """The kind of a weight that learns from label maps; None for the towers and what follows.

    Args:
        name: Of the weight.
    """
    if name.startswith(("vision.head.", "logit_")):
        return "head"
    if name.startswith("text.to_joint."):
        return "text"
    if name.startswith(("vision.", "text.", "prompt_encoder.", "presence.", "detail.")):
        return None
    if SAM_WEIGHT.search(name):
        return "sam"
    return "blocks"


def tower_kind_of(name: str, first_block: int) -> str | None:
    """The kind of a weight of the convolutional net before its classifier, or of the ViT's end.

    Args:
        name: Of the weight.
        first_block: The first of the ViT's blocks that counts.
    """
    if name.startswith("vision.net."):
        return None if "._fc." in name else "tower"
    if name.startswith("vision.vit.encoder.layer.") and int(name.split(".")[4]) >= first_block:
        return "tower"
    return None


def decay_of(weight_decay: float) -> Callable[[str, nn.Parameter], float]:
    """The weight decay of everything but biases, norms and single numbers."""
    return lambda _, parameter: weight_decay if parameter.ndim > 1 else 0.0
