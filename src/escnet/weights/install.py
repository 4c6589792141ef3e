"""Tensors into modules, all of them or none."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from escnet.weights.quiet import quiet_transformers
from escnet.weights.tensor_file import check_shapes, check_values, refuse


def install_module(
    module: nn.Module, tensors: Mapping[str, Tensor], shown: str, *, partly: bool = False
) -> None:
    """Load tensors whose names are the module's own, all of them.

    Args:
        module: What they are loaded into.
        tensors: By the module's names.
        shown: Where they came from, for the message.
        partly: The tensors are only some of the module's.

    Raises:
        WeightsError: If one is missing, does not belong, has another shape, or is not finite.
    """
    expected = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    if partly:
        expected = {name: shape for name, shape in expected.items() if name in tensors}
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    check_shapes(shown, found, expected, cure="give the file that belongs to these settings")
    check_values(shown, tensors)
    module.load_state_dict(dict(tensors), strict=not partly)


def install_tower(tower: PreTrainedModel, tensors: Mapping[str, Tensor], shown: str) -> None:
    """Load a tower from tensors as the hub names them, all of them.

    Raises:
        WeightsError: If one is missing, does not belong, has another shape, or is not finite.
    """
    # An encoder of texts may have been made without the layer that pools them.
    is_without_pool = getattr(tower, "pooler", tower) is None
    options = {"add_pooling_layer": False} if is_without_pool else {}
    with quiet_transformers():  # it also translates the hub's names to those of its version
        loaded, info = type(tower).from_pretrained(
            None,
            config=tower.config,
            state_dict=dict(tensors),
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **options,
        )
    refuse(
        shown,
        missing=info["missing_keys"],
        unexpected=info["unexpected_keys"],
        misshaped={
            name: (tuple(found), tuple(expected))
            for name, found, expected in info["mismatched_keys"]
        },
        num_expected=len(tower.state_dict()),
        cure="give the file that belongs to these settings",
    )
    check_values(shown, tensors)
    tower.load_state_dict(loaded.state_dict())
