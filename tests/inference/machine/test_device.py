import pytest
import torch

from escnet.errors import ConfigError
from escnet.inference.machine.device import chosen_device, chosen_dtype, quick_dtype


@pytest.mark.parametrize("name", ["cpu", "cpu:0"])
def test_a_device_is_called_as_pytorch_calls_it(name: str) -> None:
    assert chosen_device(name) == torch.device(name)


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:-1", "cuda:x", "cpu,cuda", ""])
def test_an_unknown_device_is_told_with_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigError, match="is unknown: choose from auto, cpu, cuda, mps"):
        chosen_device(name)


@pytest.mark.parametrize("name", ["cpu:1", "cuda:99", "mps:9"])
def test_a_device_that_is_not_there_is_told(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"device '{name}' is not on this machine"):
        chosen_device(name)


def test_an_unknown_dtype_is_told_with_the_known_ones() -> None:
    assert chosen_dtype("bfloat16") is torch.bfloat16
    with pytest.raises(ConfigError, match="choose from float32, bfloat16, float16"):
        chosen_dtype("int8")


@pytest.mark.parametrize(("has_it", "dtype"), [(True, "bfloat16"), (False, "float32")])
def test_a_processor_without_bfloat16_is_quick_in_single_precision(
    monkeypatch: pytest.MonkeyPatch, has_it: bool, dtype: str
) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: has_it)
    assert quick_dtype("cpu") == dtype
    assert quick_dtype("cuda") == "bfloat16"
