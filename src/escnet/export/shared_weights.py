"""Graphs whose weights lie in a checkpoint's own file of tensors, and nowhere else.

ONNX lets a weight be a piece of any file, by its offset; a safetensors file is a header and the
tensors one after the other. So PyTorch and onnxruntime read the same bytes. What a checkpoint
stores in half precision or as 8-bit integers, the graph unpacks; what the exporter has transposed,
or scaled row by row (a norm that goes into the convolution before it), is made again of what is
stored.
"""

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from jaxtyping import Float32, Shaped
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

_SMALLEST = 1_024  # bytes; smaller weights stay in the graph
_SCALE_SUFFIX = ".scale"  # as `escnet.weights.storage` names them
_TOLERANCE = 2e-6  # of a row's factor, relative; above rounding
_KINDS = {"F32": TensorProto.FLOAT, "F16": TensorProto.FLOAT16, "I8": TensorProto.INT8}


@dataclass(frozen=True, slots=True)
class _Piece:
    """Where a tensor lies in the file."""

    kind: int
    offset: int
    length: int


class SharedWeights:
    """A checkpoint's tensors, as the places that graphs may take their weights from.

    Args:
        path: The file of tensors, in the folder where the graphs will be.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.name
        self._pieces = _pieces_of(path)
        stored = load_file(path)
        self._scale = {
            name: stored[name + _SCALE_SUFFIX].reshape(-1).astype(np.float32)
            for name, value in stored.items()
            if value.dtype == np.int8 and name + _SCALE_SUFFIX in stored
        }
        self._values = {
            name: self._unpacked(name, value)
            for name, value in stored.items()
            if name in self._pieces and value.nbytes >= _SMALLEST // 4
        }
        self._same = {_digest(value): name for name, value in self._values.items()}
        self._turned = {
            _digest(value.T): name for name, value in self._values.items() if value.ndim == 2
        }

    def put_into(self, model: onnx.ModelProto) -> None:
        """Let a graph take every weight that is stored from the file."""
        graph = model.graph
        kept, nodes = [], []
        external: dict[str, TensorProto] = {}
        for weight in graph.initializer:
            value = numpy_helper.to_array(weight)
            made = None
            if value.dtype == np.float32 and value.nbytes >= _SMALLEST:
                made = self._made_of(weight.name, value, external)
            if made is None:
                kept.append(weight)
            else:
                nodes += made
        del graph.initializer[:]
        graph.initializer.extend([*kept, *external.values()])
        rest = list(graph.node)
        del graph.node[:]
        graph.node.extend([*nodes, *rest])

    def _made_of(
        self,
        output: str,
        value: Float32[np.ndarray, "..."],
        external: dict[str, TensorProto],
    ) -> list[onnx.NodeProto] | None:
        """The nodes that make a weight of what is stored; None if nothing is."""
        digest = _digest(value)
        if (name := self._same.get(digest)) is not None:
            return list(self._unpack(name, output, external))
        if (name := self._turned.get(digest)) is not None:
            plain = f"{output}.stored"
            turn = helper.make_node("Transpose", [plain], [output], perm=[1, 0])
            return [*self._unpack(name, plain, external), turn]
        for name, stored in self._values.items():
            if stored.shape == value.shape and (factor := _row_factor(stored, value)) is not None:
                return list(self._unpack(name, output, external, factor))
        return None

    def _unpack(
        self,
        name: str,
        output: str,
        external: dict[str, TensorProto],
        factor: Float32[np.ndarray, " rows"] | None = None,
    ) -> Iterator[onnx.NodeProto]:
        """The nodes that bring a stored tensor to single precision, times a factor for each row."""
        shape = self._values[name].shape
        source = self._external(name, shape, external)
        if self._pieces[name].kind == TensorProto.INT8:
            scale = f"{output}.scale"
            values = self._scale[name] if factor is None else self._scale[name] * factor
            yield _constant(scale, values)
            yield helper.make_node("DequantizeLinear", [source, scale], [output], axis=0)
            return
        plain = output if factor is None else f"{output}.plain"
        yield helper.make_node("Cast", [source], [plain], to=TensorProto.FLOAT)
        if factor is not None:
            rows = factor.reshape(-1, *[1] * (len(shape) - 1))
            yield _constant(f"{output}.factor", rows)
            yield helper.make_node("Mul", [plain, f"{output}.factor"], [output])

    def _external(self, name: str, shape: tuple[int, ...], external: dict[str, TensorProto]) -> str:
        """The name in the graph of a stored tensor."""
        own = f"stored.{name}"
        if own not in external:
            piece = self._pieces[name]
            tensor = TensorProto(name=own, data_type=piece.kind, dims=shape)
            tensor.data_location = TensorProto.EXTERNAL
            place = {"location": self._file, "offset": piece.offset, "length": piece.length}
            for key, entry in place.items():
                tensor.external_data.add(key=key, value=str(entry))
            external[own] = tensor
        return own

    def _unpacked(self, name: str, value: Shaped[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
        scale = self._scale.get(name)
        if scale is None:
            return value.astype(np.float32)
        return value.astype(np.float32) * scale.reshape(-1, *[1] * (value.ndim - 1))


def _pieces_of(path: Path) -> Mapping[str, _Piece]:
    """Where the tensors lie that can be weights of a graph."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    pieces = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] in _KINDS:
            start, end = entry["data_offsets"]
            pieces[name] = _Piece(_KINDS[entry["dtype"]], 8 + length + start, end - start)
    return pieces


def _digest(value: Float32[np.ndarray, "..."]) -> bytes:
    shape = str(value.shape).encode()
    return hashlib.sha256(shape + np.ascontiguousarray(value).tobytes()).digest()


def _row_factor(
    stored: Float32[np.ndarray, "rows *rest"], value: Float32[np.ndarray, "rows *rest"]
) -> Float32[np.ndarray, " rows"] | None:
    """By what each row of a stored tensor is multiplied; None if that does not make the value."""
    rows, wanted = stored.reshape(len(stored), -1), value.reshape(len(value), -1)
    place = np.abs(rows).argmax(axis=1)[:, None]
    largest = np.take_along_axis(rows, place, axis=1)
    at_largest = np.take_along_axis(wanted, place, axis=1)
    factor = np.divide(at_largest, largest, out=np.zeros_like(largest), where=largest != 0)
    bound = _TOLERANCE * np.abs(at_largest)
    if not (np.abs(rows * factor - wanted) <= bound).all():
        return None
    return factor[:, 0]


def _constant(name: str, values: Float32[np.ndarray, "..."]) -> onnx.NodeProto:
    tensor = numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name)
    return helper.make_node("Constant", [], [name], value=tensor)
