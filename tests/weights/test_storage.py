import re

import pytest
import torch
from torch import Tensor

from escnet.errors import ConfigError, WeightsError
from escnet.weights.storage import (
    STORAGES,
    Storage,
    halved_names,
    pack,
    quantize_rows,
    unpack,
    unpacked_shapes,
)


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "linear.weight": torch.randn(64, 96, generator=generator),
        "linear.bias": torch.randn(64, generator=generator),
        "kernel.weight": torch.randn(80, 8, 3, 3, generator=generator),
        "position": torch.randn(1, 40, 128, generator=generator),
        "small.weight": torch.randn(8, 8, generator=generator),
        "norm.num_batches_tracked": torch.tensor(7),
        "norm.scale": torch.randn(64, generator=generator),  # a name that only looks like a scale
    }


def test_rows_of_a_hand_computed_matrix() -> None:
    values, scale = quantize_rows(torch.tensor([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0], [254, 1.0, 3]]))
    assert values.tolist() == [[64, -127, 32], [0, 0, 0], [127, 0, 2]]  # 63.5 and 31.75, 0.5, 1.5
    torch.testing.assert_close(scale, torch.tensor([[2 / 127], [1.0], [2.0]]))


@pytest.mark.parametrize("storage", STORAGES)
def test_every_tensor_comes_back_under_its_name_in_its_shape(
    tensors: dict[str, Tensor], storage: Storage
) -> None:
    found = unpack(pack(tensors, storage))
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].shape == tensor.shape
        assert found[name].dtype == tensor.dtype


def test_float32_is_exact(tensors: dict[str, Tensor]) -> None:
    found = unpack(pack(tensors, "float32"))
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize("storage", ["float16", "int8"])
def test_what_is_small_or_a_vector_or_an_integer_is_exact(
    tensors: dict[str, Tensor], storage: Storage
) -> None:
    found = unpack(pack(tensors, storage))
    for name in ("linear.bias", "small.weight", "norm.num_batches_tracked", "norm.scale"):
        assert torch.equal(found[name], tensors[name])


@pytest.mark.parametrize("name", ["linear.weight", "kernel.weight"])
def test_8_bits_err_by_half_a_step_of_the_row_at_most(
    tensors: dict[str, Tensor], name: str
) -> None:
    tensors[name][3] *= 1000  # a large row must not coarsen the others
    packed = pack(tensors, "int8")
    assert packed[name].dtype == torch.int8
    found = unpack(packed)[name]
    step = tensors[name].flatten(1).abs().amax(dim=1) / 127
    error = (found - tensors[name]).flatten(1).abs().amax(dim=1)
    assert (error <= 0.5001 * step).all()
    assert (error > 0).all()


def test_a_table_of_positions_is_halved_not_quantized(tensors: dict[str, Tensor]) -> None:
    assert pack(tensors, "int8")["position"].dtype == torch.float16


def test_named_layers_are_halved_on_request(tensors: dict[str, Tensor]) -> None:
    packed = pack(tensors, "int8", halve=["kern*.weight"])
    assert packed["kernel.weight"].dtype == torch.float16
    assert packed["linear.weight"].dtype == torch.int8


def test_what_was_packed_is_packed_again_without_a_change(tensors: dict[str, Tensor]) -> None:
    packed = pack(tensors, "int8", halve=["kern*.weight"])
    assert halved_names(packed) == ["kernel.weight", "position"]
    again = pack(unpack(packed), "int8", halve=halved_names(packed))
    assert again.keys() == packed.keys()
    for name, tensor in packed.items():
        assert again[name].dtype == tensor.dtype
        assert torch.equal(again[name], tensor)


@pytest.mark.parametrize("pattern", ["kernels.*", "linear.bias", "small.*", "norm.*"])
def test_a_pattern_that_halves_nothing_is_refused(tensors: dict[str, Tensor], pattern: str) -> None:
    message = (
        rf"halve '{re.escape(pattern)}' matches none of the 3 matrices .*such as linear\.weight"
    )
    with pytest.raises(ConfigError, match=message):
        pack(tensors, "int8", halve=["kernel.*", pattern])


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_a_pattern_for_another_storage_is_refused(
    tensors: dict[str, Tensor], storage: Storage
) -> None:
    message = rf"halve 'kernel\.\*' is for int8 storage, but the storage is {storage}: choose int8"
    with pytest.raises(ConfigError, match=message):
        pack(tensors, storage, halve=["kernel.*"])


def test_what_half_precision_cannot_hold_stays_in_float32() -> None:
    tensors = {"weight": torch.full((64, 64), 1e6)}
    assert torch.equal(unpack(pack(tensors, "float16"))["weight"], tensors["weight"])


def test_storage_shrinks_as_promised(tensors: dict[str, Tensor]) -> None:
    def num_bytes(storage: Storage) -> int:
        return sum(tensor.nbytes for tensor in pack(tensors, storage).values())

    assert num_bytes("float16") < 0.55 * num_bytes("float32")
    assert num_bytes("int8") < 0.40 * num_bytes("float32")


def test_the_shapes_in_a_header_are_told_from_the_scales(tensors: dict[str, Tensor]) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in pack(tensors, "int8").items()}
    assert unpacked_shapes(shapes) == {name: tuple(t.shape) for name, t in tensors.items()}


def test_an_unknown_storage_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'int4': choose one of float32, float16, int8"):
        pack({}, "int4")


def test_8_bits_without_a_fitting_scale_are_refused(tensors: dict[str, Tensor]) -> None:
    packed = pack(tensors, "int8")
    del packed["linear.weight.scale"]
    with pytest.raises(WeightsError, match=r"linear\.weight has no fitting linear\.weight\.scale"):
        unpack(packed)
    packed = pack(tensors, "int8") | {"linear.weight.scale": torch.ones(3, 1)}
    with pytest.raises(WeightsError, match=r"shape \[3, 1\], which does not fit \[64, 96\]"):
        unpack(packed)
