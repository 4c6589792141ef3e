"""From the name of a model to the method that it is, computed by PyTorch.

The `model_type` in the folder's config.json says which method a checkpoint is of.
"""

from escnet.errors import WeightsError
from escnet.inference.machine.device import chosen_device, chosen_dtype
from escnet.inference.machine.threads import use_threads
from escnet.inference.methods.esc_method import tiny_esc_method
from escnet.inference.methods.method import LoadedMethod
from escnet.inference.methods.model_name import TINY, ModelName
from escnet.inference.methods.training_free import load_training_free
from escnet.inference.sam.masks import load_training_free_sam
from escnet.inference.sam.proposals import ClassifiedBy, load_proposals
from escnet.structures import structure_of
from escnet.weights.catalog import require_local
from escnet.weights.checkpoint import model_type_of
from escnet.weights.tower_folder import TowerFolder, holds_towers


def load_network_method(
    name: ModelName, *, device: str, dtype: str, memory_budget: int, threads: int | None
) -> LoadedMethod:
    """As `load_method`, by PyTorch."""
    chosen_device(device)  # before anything large is read
    chosen_dtype(dtype)
    use_threads(threads)
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
            f"{name.text} is {title} alone, without a trained network: give it as "
            f"training-free:{name.text}"
        )
    return structure_of(model_type_of(folder)).load_method(
        folder, device=device, dtype=dtype, memory_budget=memory_budget
    )
