"""Open-vocabulary semantic segmentation with ESC-Net.

Names are loaded on first use, so that `import escnet` costs next to nothing and does not import
PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from escnet.errors import (
        ConfigError,
        DatasetError,
        EscnetError,
        ImageError,
        OutputError,
        VocabularyError,
        WeightsError,
    )
    from escnet.inference.segmenter import Segmenter
    from escnet.model.config import EscNetConfig
    from escnet.model.escnet import EscNet
    from escnet.segmentation import Segmentation
    from escnet.vocabulary import Vocabulary

__version__ = "0.2.0"

_HOME = {
    "ConfigError": "escnet.errors",
    "DatasetError": "escnet.errors",
    "EscNet": "escnet.model.escnet",
    "EscNetConfig": "escnet.model.config",
    "EscnetError": "escnet.errors",
    "ImageError": "escnet.errors",
    "OutputError": "escnet.errors",
    "Segmentation": "escnet.segmentation",
    "Segmenter": "escnet.inference.segmenter",
    "Vocabulary": "escnet.vocabulary",
    "VocabularyError": "escnet.errors",
    "WeightsError": "escnet.errors",
}

_WITH_TORCH = {"EscNet", "Segmenter"}  # with them PyTorch may come, if it is not here yet

__all__ = [
    "ConfigError",
    "DatasetError",
    "EscNet",
    "EscNetConfig",
    "EscnetError",
    "ImageError",
    "OutputError",
    "Segmentation",
    "Segmenter",
    "Vocabulary",
    "VocabularyError",
    "WeightsError",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'escnet' has no attribute {name!r}")
    if name in _WITH_TORCH:
        import_module("escnet.inference.machine.threads").let_idle_threads_sleep()
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
