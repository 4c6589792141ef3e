"""From the name of a model to the method that it is.

`model_name.py` has the grammar. What needs PyTorch is imported when it is asked for.
"""

import warnings
from pathlib import Path

from escnet.errors import CalibrationWarning, WeightsError
from escnet.extras import is_installed, require
from escnet.files import display_path
from escnet.inference.calibration import CALIBRATION_FILE, Calibration
from escnet.inference.exported.manifest import is_exported
from escnet.inference.machine.device import check_placement
from escnet.inference.machine.threads import check_threads
from escnet.inference.methods.memory import DEFAULT_BUDGET
from escnet.inference.methods.method import LoadedMethod
from escnet.inference.methods.model_name import TINY, ModelName
from escnet.weights.catalog import BUILT_IN_FOLDER, BUILT_IN_NAME, require_local


def load_method(
    model: str | Path | ModelName,
    *,
    device: str = "auto",
    dtype: str = "float32",
    memory_budget: int = DEFAULT_BUDGET,
    threads: int | None = None,
) -> LoadedMethod:
    """The method that a model's name stands for, with its weights on its device.

    Args:
        model: See `escnet.inference.methods.model_name`.
        device: See `escnet.inference.machine.device`.
        dtype: What matrix products are computed in: float32, bfloat16 or float16.
        memory_budget: Bytes of working memory for the class names.
        threads: CPU threads to compute with; None for as many as this process may use.

    Raises:
        WeightsError: If the weights are not here, damaged, or of another kind.
        ConfigError: If the device is not there, the dtype or number of threads unknown, or the kind
            of the name; or if the model needs PyTorch and it is not installed.

    Warns:
        CalibrationWarning: If a calibration beside the weights is of others, or damaged.
    """
    name = ModelName.parse(model)
    check_placement(device, dtype)
    check_threads(threads)
    exported = _exported_folder(name, device, dtype)
    if exported is not None:
        from escnet.inference.exported.method import load_exported  # noqa: PLC0415

        is_built_in = exported == BUILT_IN_FOLDER
        loaded = load_exported(exported, threads=threads, is_trusted=is_built_in)
        return loaded._replace(calibration=_calibration_in(exported, loaded.weights_hash))
    require("torch", f"model {name.text!r}")
    from escnet.inference.methods.network_load import load_network_method  # noqa: PLC0415

    loaded = load_network_method(
        name, device=device, dtype=dtype, memory_budget=memory_budget, threads=threads
    )
    if name.kind != "checkpoint" or name.weights == TINY:
        return loaded
    folder = require_local(name.weights)
    return loaded._replace(calibration=_calibration_in(folder, loaded.weights_hash))


def _calibration_in(folder: Path, weights_hash: str) -> Calibration | None:
    """The calibration beside some weights; None if there is none that can be used."""
    path = folder / CALIBRATION_FILE
    if not path.exists():
        return None
    try:
        calibration = Calibration.read(path)
        calibration.check(weights_hash)
    except WeightsError as error:  # labels need none
        warnings.warn(
            f"{display_path(path)} is not used: {error}", CalibrationWarning, stacklevel=2
        )
        return None
    return calibration


def _exported_folder(name: ModelName, device: str, dtype: str) -> Path | None:
    """The folder whose graphs are to be computed by onnxruntime; None where PyTorch computes.

    Graphs are for processors, in single precision. The built-in model has them as well, for an
    installation without PyTorch.
    """
    if name.kind != "checkpoint" or name.weights == TINY:
        return None
    if name.weights == BUILT_IN_NAME and is_installed("torch"):
        return None
    if device not in {"auto", "cpu"} or dtype != "float32":
        return None
    folder = BUILT_IN_FOLDER if name.weights == BUILT_IN_NAME else Path(name.weights)
    if folder != BUILT_IN_FOLDER and not folder.is_dir():
        return None
    return folder if is_exported(folder) else None
