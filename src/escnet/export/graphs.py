"""A network cut into graphs, traced with a free number of class names.

image: a picture to its patches; look: patches and text embeddings to the first maps, which names
are rejected by; head: the same to logits; text: tokens to text embeddings.

Sizes: N class names, M of them kept, D joint space, T tokens, s side of the picture, h x w patches.
"""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from typing import Any, cast

import onnx
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.export import Dim

from escnet.inference.exported.manifest import OPSET
from escnet.model.pruning import Rejection
from escnet.towers.network import Network
from escnet.towers.patches import Patches

_NAMES = 7  # that a graph is traced with; it takes any number
_MOST_NAMES = 65_536
_TOKENS = 9
_SKIPS = ("skip_0", "skip_1")


class ImageGraph(nn.Module):
    """A picture to the maps of its patches, by `patch_maps`."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.vision = network.vision

    def forward(self, image: Float[Tensor, "1 3 s s"]) -> tuple[Tensor, ...]:
        return tuple(patch_maps(self.vision(image)).values())


class _WithPatches(nn.Module):
    """What starts from the maps of `patch_maps`, in their order, and the text embeddings."""

    def __init__(self, network: Network, patches: Patches) -> None:
        super().__init__()
        self.network = network
        self._patches = patches
        self._names = tuple(patch_maps(patches))

    def again(self, maps: Sequence[Tensor]) -> Patches:
        """The patches that the maps are of."""
        own: dict[str, Any] = dict(zip(self._names, maps, strict=True))
        skips = tuple(own.pop(name) for name in _SKIPS)
        return replace(self._patches, skips=cast("tuple[Tensor, Tensor]", skips), **own)


class LookGraph(_WithPatches):
    """Patches and text embeddings to the first maps."""

    def forward(
        self, maps: list[Tensor], text_embedding: Float[Tensor, "N D"]
    ) -> Float[Tensor, "1 N h w"]:
        return self.network.first_maps(self.again(maps), text_embedding)


class HeadGraph(_WithPatches):
    """Patches and text embeddings to the logits of the names that are kept."""

    def forward(
        self, maps: list[Tensor], text_embedding: Float[Tensor, "N D"], kept: Int[Tensor, " M"]
    ) -> Float[Tensor, "1 M _ _"]:
        patches, choice = self.again(maps), _Choice(kept)
        network: Any = self.network  # ESC-Net or CAT-Seg, which reject names
        return network.segment(patches, text_embedding, rejection=choice).logits


class _Choice(Rejection):
    """A rejection that was decided before, and looks no second time."""

    def __init__(self, kept: Int[Tensor, " M"]) -> None:
        super().__init__((0,))
        self._kept = kept

    def is_idle(self, look: int, num_names: int | torch.SymInt) -> bool:  # noqa: ARG002 -- of any number
        """Only the first look is none."""
        return look > 0

    def survivors(
        self,
        look: int,  # noqa: ARG002
        maps: Float[Tensor, "B N h w"],  # noqa: ARG002
        index: Int[Tensor, "B N"],  # noqa: ARG002
    ) -> Int[Tensor, "B M"]:
        """Those that were kept."""
        return self._kept[None]


class TextGraph(nn.Module):
    """Tokens to text embeddings."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.text = network.text

    def forward(
        self, token: Int[Tensor, "N T"], is_token: Int[Tensor, "N T"]
    ) -> Float[Tensor, "N D"]:
        return self.text(token, is_token)


def patch_maps(patches: Patches) -> dict[str, Tensor]:
    """The maps of some patches by name, without those that this network has not."""
    maps: dict[str, Tensor] = {}
    for field in fields(patches):
        value = getattr(patches, field.name)
        if field.name == "skips":
            maps.update(zip(_SKIPS, value, strict=True))
        elif value is not None:
            maps[field.name] = value
    return maps


@torch.no_grad()
def trace_graphs(network: Network) -> Iterator[tuple[str, onnx.ModelProto]]:
    """The graphs of a network, one after the other, by their names.

    Args:
        network: In evaluation mode, on the CPU.
    """
    config = network.config
    image = torch.rand(1, 3, config.image_size, config.image_size)
    patches = network.vision(image)
    maps = patch_maps(patches)
    text, kept = torch.randn(_NAMES, config.joint_dim), torch.arange(0, _NAMES, 2)
    many = Dim("names", min=1, max=_MOST_NAMES)
    few = Dim("kept", min=1, max=config.max_classes or _MOST_NAMES)
    yield "image", _trace(ImageGraph(network), (image,), ["image"], [*maps], None)
    inputs = [*maps, "text_embedding"]
    arguments: tuple[Any, ...] = (list(maps.values()), text)
    shapes: tuple[Any, ...] = ([{}] * len(maps), {0: many})
    yield "look", _trace(LookGraph(network, patches), arguments, inputs, ["maps"], shapes)
    inputs, arguments, shapes = [*inputs, "kept"], (*arguments, kept), (*shapes, {0: few})
    yield "head", _trace(HeadGraph(network, patches), arguments, inputs, ["logits"], shapes)
    token = torch.full((_NAMES, _TOKENS), 5)
    shape = {0: many, 1: Dim("tokens", min=2, max=_most_tokens(config.text_config))}
    yield (
        "text",
        _trace(
            TextGraph(network),
            (token, torch.ones_like(token)),
            ["token", "is_token"],
            ["text_embedding"],
            (shape, shape),
        ),
    )


def _most_tokens(text_config: Mapping[str, Any]) -> int:
    return int(text_config.get("max_position_embeddings", 77))


def _trace(
    graph: nn.Module,
    arguments: tuple[Any, ...],
    inputs: list[str],
    outputs: list[str],
    shapes: tuple[Any, ...] | None,
) -> onnx.ModelProto:
    """A module as a graph, without the notes of where each of its nodes comes from."""
    with _quiet():
        program = torch.onnx.export(
            graph.eval(),
            arguments,
            dynamo=True,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=shapes,
            opset_version=OPSET,
            verbose=False,
        )
    if program is None:
        raise TypeError("torch.onnx.export gave no program")
    model = cast("onnx.ModelProto", program.model_proto)
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    _drop_idle_masks(model.graph)
    del model.graph.value_info[:]
    del model.graph.metadata_props[:]
    return model


def _drop_idle_masks(graph: onnx.GraphProto) -> None:
    """Take masks out of attentions where every place may be seen; they cost a third of the time."""
    weights = {one.name: one for one in graph.initializer}
    source = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type != "Attention" or len(node.input) < 4 or not node.input[3]:
            continue
        mask = node.input[3]
        while mask in source and source[mask].op_type == "Expand":
            mask = source[mask].input[0]
        value = onnx.numpy_helper.to_array(weights[mask]) if mask in weights else None
        if value is not None and value.dtype == bool and value.all():
            node.input[3] = ""


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's warnings about libraries that are not here."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        with suppress(ValueError):
            logger.setLevel(level)
