"""What a model may ask for, checked on its settings alone, before anything of it is built.

A model's config.json is data of a stranger. Each of its numbers has bounds, far beyond those of any
published model; what the network would hold in memory follows from the same numbers, and is held
against what this machine has.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from escnet.errors import EscnetError

# Largest values by the settings' names, in transformers' configurations and in ours; all are whole
# numbers from 0 on, or lists of such.
_MOST = {
    "attention_downsample_rate": 64,
    "decoder_dims": 4096,
    "depths": 256,
    "embed_dim": 8192,
    "embed_kernel": 63,
    "ffn_ratio": 64,
    "guidance_dim": 8192,
    "head_dim": 8192,
    "hidden_dim": 8192,
    "hidden_size": 8192,
    "hidden_sizes": 8192,
    "image_embedding_size": 1024,
    "image_size": 8192,
    "intermediate_size": 65_536,
    "iou_head_depth": 64,
    "iou_head_hidden_dim": 8192,
    "joint_dim": 8192,
    "kmeans_steps": 1000,
    "mask_input_channels": 1024,
    "max_classes": 65_534,
    "max_position_embeddings": 131_072,
    "mlp_dim": 65_536,
    "mlp_ratio": 64,
    "num_attention_heads": 256,
    "num_blocks": 64,
    "num_channels": 16,
    "num_heads": 256,
    "num_hidden_layers": 256,
    "num_layers": 256,
    "num_multimask_outputs": 64,
    "num_point_embeddings": 64,
    "num_pos_feats": 4096,
    "num_register_tokens": 256,
    "num_templates": 1000,
    "output_channels": 8192,
    "patch_size": 1024,
    "pooling": 256,
    "projection_dim": 8192,
    "regions_per_class": 256,
    "rope_side": 1024,
    "rope_start": 1024,
    "sam_dim": 8192,
    "sam_mlp_dim": 65_536,
    "skip_channels": 8192,
    "skip_dims": 4096,
    "train_pooling": 256,
    "type_vocab_size": 1024,
    "view_size": 8192,
    "vocab_size": 2_000_000,
    "window": 256,
    "window_size": 1024,
}
_MAY_BE_FRACTIONS = {"mlp_ratio"}
_NOT_ZERO = {"hidden_size", "image_size", "num_channels", "patch_size", "projection_dim"}
_LISTS = {"decoder_dims", "depths", "hidden_sizes", "skip_channels", "skip_dims"}
_MOST_OF_OTHERS = 2**31
_MOST_PATCHES = 128**2  # of one picture; work and memory of attention grow with their square
_MOST_ROUNDS = 10_000  # of k-means, times regions: for each class name; the paper's are 50
_MOST_TOKENS = 128  # of a class name in its template, about
_VECTORS_PER_TOKEN = 16  # of a tower's width that live at the same time
_BYTES = 4
_SHARE_OF_MEMORY = 0.9  # that a network may take


@dataclass(frozen=True, slots=True)
class _Tower:
    """The sizes of a transformer; what its settings leave out is as in CLIP's."""

    width: int
    inner: int
    layers: int
    heads: int
    inputs: int  # values of its tables: for words and places, or for patches and places
    tokens: int  # at most, of one text or picture
    pixels: int

    @classmethod
    def of(cls, settings: Mapping[Any, Any], *, is_text: bool, side: int) -> "_Tower":
        given = {key: value for key, value in settings.items() if value is not None}
        width = given.get("hidden_size", 512 if is_text else 768)
        named = given.get("intermediate_size", given.get("mlp_dim"))
        if is_text:
            places = given.get("max_position_embeddings", 77)
            inputs, tokens, pixels = given.get("vocab_size", 49_408), min(places, _MOST_TOKENS), 0
        else:
            own_side, patch = given.get("image_size", 224), max(given.get("patch_size", 16), 1)
            side = max(side, own_side)
            places, tokens = (own_side // patch) ** 2, (side // patch) ** 2
            inputs, pixels = 3 * patch**2, 3 * side**2
        return cls(
            width=width,
            inner=int(named or width * given.get("mlp_ratio", 4)),
            layers=given.get("num_hidden_layers", 12),
            heads=given.get("num_attention_heads", 12),
            inputs=width * (inputs + places + given.get("projection_dim", 512)),
            tokens=tokens,
            pixels=pixels,
        )

    @property
    def num_values(self) -> int:
        """About how many parameters it has."""
        return self.layers * (4 * self.width**2 + 2 * self.width * self.inner) + self.inputs

    @property
    def num_working(self) -> int:
        """About how many values live at once while it reads one picture or text."""
        vectors = self.tokens * (_VECTORS_PER_TOKEN * self.width + self.inner)
        return vectors + self.heads * self.tokens**2 + 2 * self.pixels


def check_model_settings(settings: Mapping[Any, Any], shown: str, error: type[EscnetError]) -> None:
    """Check that a network of these settings could be built and asked on this machine.

    Args:
        settings: Those of a model, with those of its towers inside.
        shown: What errors call them.
        error: The kind of error to raise.

    Raises:
        EscnetError: Of that kind, naming the setting, its value, and the bound.
    """
    for key, value in _numbers_in(settings):
        if problem := _problem_of(key, value):
            raise error(f"{shown} has {key} {problem}: give a value that a network can have")
    for place, part in _parts_of(settings):
        width, heads = part.get("hidden_size"), part.get("num_attention_heads")
        if heads is not None and width is not None and (not heads or width % heads):
            raise error(
                f"{shown} has {place}num_attention_heads {heads}, which does not divide "
                f"{place}hidden_size {width}: choose a number that does"
            )
    steps, regions = settings.get("kmeans_steps") or 0, settings.get("regions_per_class") or 0
    if steps * regions > _MOST_ROUNDS:
        raise error(
            f"{shown} has kmeans_steps {steps} x regions_per_class {regions} = "
            f"{steps * regions:,}, above the limit of {_MOST_ROUNDS:,}: choose fewer"
        )
    _check_cost(settings, shown, error)


def machine_memory() -> int | None:
    """Bytes of main memory that processes here may use in all; None where that is not told."""
    limits = []
    with suppress(AttributeError, OSError, ValueError):  # not on every system
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with suppress(OSError, ValueError):  # a container's own limit; "max" where it has none
        limits.append(int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return min(limits, default=None)


def _numbers_in(settings: Mapping[Any, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting that is or should be a number, under its whole name."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _numbers_in(value, f"{place}{key}.")
        elif isinstance(value, list | tuple) and key in _LISTS:
            yield from ((f"{place}{key}", one) for one in value)
        elif key in _MOST or isinstance(value, int | float):
            yield f"{place}{key}", value


def _problem_of(key: str, value: object) -> str:
    """What is wrong with a number; nothing if it is in bounds."""
    name = key.rpartition(".")[2]
    if value is None or (name not in _MOST and isinstance(value, bool)):  # the default; a switch
        return ""
    is_whole = name in _MOST and name not in _MAY_BE_FRACTIONS
    if isinstance(value, bool) or not isinstance(value, int if is_whole else int | float):
        return f"{value!r:.40}, which is no {'whole ' if is_whole else ''}number"
    most = _MOST.get(name, _MOST_OF_OTHERS)
    least = -most if name not in _MOST else int(name in _NOT_ZERO)
    return "" if least <= value <= most else f"{value!r:.40}, which is not in {least}..{most:,}"


def _parts_of(settings: Mapping[Any, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """The settings of each tower, under the name of their place."""
    if "hidden_size" in settings or "num_attention_heads" in settings:
        yield place, settings
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _parts_of(value, f"{place}{key}.")


def _check_cost(settings: Mapping[Any, Any], shown: str, error: type[EscnetError]) -> None:
    side = settings.get("image_size") or 0
    towers = [
        _Tower.of(part, is_text="text" in place or "vocab_size" in part, side=side)
        for place, part in _parts_of(settings)
    ]
    patches = max((tower.tokens for tower in towers if tower.pixels), default=0)
    if patches > _MOST_PATCHES:
        raise error(
            f"{shown} makes {patches:,} patches of one picture, above the limit of "
            f"{_MOST_PATCHES:,}: give a smaller image_size or a larger patch_size"
        )
    num_values = sum(tower.num_values for tower in towers) + _own_values(settings)
    num_values += _values_of_stages(settings.get("vision_config"))
    working = max((tower.num_working for tower in towers), default=0)
    needed, memory = _BYTES * (num_values + working), machine_memory()
    if memory is not None and needed > _SHARE_OF_MEMORY * memory:
        raise error(
            f"{shown} describes a network of about {num_values / 1e6:,.0f} million parameters, "
            f"which needs {needed / 1e9:,.1f} GB for a picture, but this machine has "
            f"{memory / 1e9:,.1f} GB: take a smaller model, or a larger machine"
        )


def _own_values(settings: Mapping[Any, Any]) -> int:
    """About how many parameters our own blocks have."""

    def size(name: str) -> int:
        return int(settings.get(name) or 0)

    sam = 2 * size("sam_dim") * (8 * size("sam_dim") + 2 * size("sam_mlp_dim"))
    inner = 12 + 4 * (size("ffn_ratio") or 4)
    fusion = size("hidden_dim") * (size("hidden_dim") * inner + size("joint_dim") + size("sam_dim"))
    return max(size("num_blocks"), size("num_layers")) * (sam + fusion)


def _values_of_stages(settings: object) -> int:
    """About how many parameters an image tower of these settings has, if it is a ConvNeXt."""
    if not isinstance(settings, Mapping):
        return 0
    widths, depths = settings.get("hidden_sizes") or (), settings.get("depths") or ()
    return sum(8 * width**2 * depth for width, depth in zip(widths, depths, strict=False))
