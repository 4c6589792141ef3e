"""Tensors into modules, all of them or none."""

from collections.abc import Mapping
from typing import Any

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
    refuse_report(shown, info, tensors, tower, cure="give the file that belongs to these settings")
    check_values(shown, tensors)
    tower.load_state_dict(loaded.state_dict())


def refuse_report(
    source: str,
    info: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    module: nn.Module,
    *,
    cure: str,
) -> None:
    """Raise one error for all that transformers reports amiss after loading.

    Args:
        source: How the error names the file.
        info: Its report on loading.
        tensors: What it was given.
        module: What they were loaded into.
        cure: What to do about it; the end of the line.

    Raises:
        WeightsError: If a tensor is missing, unexpected, or of another shape.
    """
    refuse(
        source,
        missing=info["missing_keys"],
        unexpected=info["unexpected_keys"],
        misshaped=_misshaped(info, tensors, module),
        num_expected=len(module.state_dict()),
        cure=cure,
    )


def _misshaped(
    info: Mapping[str, Any], tensors: Mapping[str, Tensor], module: nn.Module
) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """The shapes that transformers found and expected, of tensors where they differ.

    Args:
        info: Its report on loading.
        tensors: What it was given; the report of transformers 4 has their names alone.
        module: What they were loaded into.
    """
    shapes = {}
    for entry in info["mismatched_keys"]:
        if isinstance(entry, str):
            shapes[entry] = (tensors[entry].shape, module.state_dict()[entry].shape)
        else:
            name, *both = entry
            shapes[name] = tuple(both)
    return {name: (tuple(found), tuple(expected)) for name, (found, expected) in shapes.items()}
