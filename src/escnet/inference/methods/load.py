"""From the name of a model to the method that it is.

`model_name.py` has the grammar. What needs PyTorch is imported when it is asked for.
"""

from pathlib import Path

from escnet.extras import require
from escnet.inference.machine.device import check_placement
from escnet.inference.machine.threads import check_threads
from escnet.inference.methods.memory import DEFAULT_BUDGET
from escnet.inference.methods.method import LoadedMethod
from escnet.inference.methods.model_name import ModelName


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
    """
    name = ModelName.parse(model)
    check_placement(device, dtype)
    check_threads(threads)
    require("torch", f"model {name.text!r}")
    from escnet.inference.methods.network_load import load_network_method  # noqa: PLC0415

    return load_network_method(
        name, device=device, dtype=dtype, memory_budget=memory_budget, threads=threads
    )
