"""From the name of a model to the method that it is.

`model_name.py` has the grammar. The `model_type` in the folder's config.json says which method a
checkpoint is of.
"""

from pathlib import Path

from escnet.errors import WeightsError
from escnet.inference.machine.device import chosen_device, chosen_dtype
from escnet.inference.methods.esc_method import tiny_esc_method
from escnet.inference.methods.memory import DEFAULT_BUDGET
from escnet.inference.methods.method import LoadedMethod
from escnet.inference.methods.model_name import TINY, ModelName
from escnet.inference.methods.training_free import load_training_free
from escnet.inference.sam.masks import load_training_free_sam
from escnet.inference.sam.proposals import ClassifiedBy, load_proposals
from escnet.structures import structure_of
from escnet.weights.catalog import require_local
from escnet.weights.checkpoint import model_type_of
from escnet.weights.tower_folder import TowerFolder, holds_towers


def load_method(
    model: str | Path,
    *,
    device: str = "auto",
    dtype: str = "float32",
    memory_budget: int = DEFAULT_BUDGET,
) -> LoadedMethod:
    """The method that a model's name stands for, with its weights on its device.

    Args:
        model: See `escnet.inference.methods.model_name`.
        device: See `escnet.inference.machine.device`.
        dtype: What matrix products are computed in: float32, bfloat16 or float16.
        memory_budget: Bytes of working memory for the class names.

    Raises:
        WeightsError: If the weights are not here, damaged, or of another kind.
        ConfigError: If the device is not there, the dtype unknown, or the kind of the name.
    """
    chosen_device(device)  # before anything large is read
    chosen_dtype(dtype)
    name = ModelName.parse(model)
    if name.kind == "training-free":
        load = load_training_free if name.sam is None else load_training_free_sam
        return LoadedMethod(*load(name, device=device, dtype=dtype))
    if name.kind != "checkpoint":
        by: ClassifiedBy = "crop" if name.kind == "proposals-crop" else "pooling"
        return LoadedMethod(*load_proposals(name, classified_by=by, device=device, dtype=dtype))
    if name.weights == TINY:
        return LoadedMethod(
            *tiny_esc_method(device=device, dtype=dtype, memory_budget=memory_budget)
        )
    folder = require_local(name.weights)
    if holds_towers(folder):
        title = TowerFolder.read(folder).kind.title
        raise WeightsError(
            f"{model} is {title} alone, without a trained network: give it as training-free:{model}"
        )
    return structure_of(model_type_of(folder)).load_method(
        folder, device=device, dtype=dtype, memory_budget=memory_budget
    )
