import importlib
import subprocess
import sys

import pytest

import escnet

PUBLIC = [
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


def test_the_public_names_are_these_and_no_others() -> None:
    assert escnet.__all__ == PUBLIC
    assert dir(escnet) == sorted([*PUBLIC, "__version__"])


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_the_object_of_its_own_module(name: str) -> None:
    found = getattr(escnet, name)
    assert found.__name__ == name
    assert getattr(importlib.import_module(found.__module__), name) is found
    assert found.__doc__


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'escnet' has no attribute 'Segmentor'"):
        _ = escnet.Segmentor


def test_importing_the_package_and_its_plain_names_does_not_import_torch() -> None:
    code = (
        "import sys, escnet\n"
        "assert 'numpy' not in sys.modules\n"
        "from escnet import EscnetError, Segmentation, Vocabulary\n"
        "assert 'torch' not in sys.modules\n"
        "assert 'transformers' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
