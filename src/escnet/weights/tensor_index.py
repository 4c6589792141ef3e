"""The files of tensors in a folder, by their names: one, or several pieces with an index.

A module of its own, as whoever only looks for them need not import PyTorch.
"""

from pathlib import Path

from escnet.errors import WeightsError
from escnet.files import display_path
from escnet.small_file import SmallFile

TENSOR_FILES = ("model.safetensors", "pytorch_model.bin")  # either will do, the first is preferred

_INDEX = SmallFile(noun="index of tensors", error=WeightsError, cure="copy it again")


def pieces_of(index: Path) -> list[str]:
    """The names of the files that an index of tensors says lie beside it.

    Raises:
        WeightsError: If it is damaged, or names a file elsewhere.
    """
    weight_map = _INDEX.object_of(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise WeightsError(f"{display_path(index)} has no weight_map: copy it again")
    names = set(weight_map.values())
    if not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise WeightsError(
            f"{display_path(index)} names files outside of its folder: copy the folder again"
        )
    return sorted(names)
