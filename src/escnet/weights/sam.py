"""SAM's prompt encoder and two-way transformer, read from any of the files they come in.

Three forms are published: the authors' `.pth` (a pickle with the image encoder beside), the folder
that transformers' `SamModel` saves, and small files that hold the two parts alone. All are brought
to the authors' names and checked against one list of 137 tensors. ESC-Net keeps the prompt encoder,
the two layers of the two-way transformer, and the output tokens (Sec. 3.4), and of the rest, if it
reads masks, all but the IoU head; that is checked, too, since a file that lacks it is not what it
claims to be.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from escnet.errors import WeightsError
from escnet.weights.catalog import origin_of, require_local
from escnet.weights.config_file import CONFIG_FILE, read_json_config
from escnet.weights.origin import Origin
from escnet.weights.tensor_file import (
    check_shapes,
    check_values,
    read_all_tensors,
    tensor_files_in,
    tensors_sha256,
)

_SUPPORTED = "give SAM (sam_vit_b, _l or _h, facebook/sam-vit-*) or MobileSAM"

_GAUSSIAN = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"

_MASK_HEAD = (
    "final_attn_token_to_image.", "norm_final_attn.", "output_upscaling.", "output_hypernetworks_",
)  # fmt: skip

# Parts of names that only transformers' form has. A file must be one or the other, since
# `layers.0` of a perceptron means different things in the two.
_TRANSFORMERS_ONLY = re.compile(r"shared_(image_)?embedding|\.(mask_embed|point_embed|proj_in)\.")

# transformers' names -> the authors'. Applied in this order.
_RENAMES = (
    (r"^shared_image_embedding\.positional_embedding$", _GAUSSIAN),
    (r"^prompt_encoder\.shared_embedding\.positional_embedding$", _GAUSSIAN),
    (r"^prompt_encoder\.point_embed\.", "prompt_encoder.point_embeddings."),
    (r"^prompt_encoder\.mask_embed\.conv1\.", "prompt_encoder.mask_downscaling.0."),
    (r"^prompt_encoder\.mask_embed\.layer_norm1\.", "prompt_encoder.mask_downscaling.1."),
    (r"^prompt_encoder\.mask_embed\.conv2\.", "prompt_encoder.mask_downscaling.3."),
    (r"^prompt_encoder\.mask_embed\.layer_norm2\.", "prompt_encoder.mask_downscaling.4."),
    (r"^prompt_encoder\.mask_embed\.conv3\.", "prompt_encoder.mask_downscaling.6."),
    (r"^(mask_decoder\.transformer)\.layer_norm_final_attn\.", r"\1.norm_final_attn."),
    (r"^(mask_decoder\.transformer\.layers\.\d+)\.layer_norm(\d)\.", r"\1.norm\2."),
    (r"^mask_decoder\.upscale_conv1\.", "mask_decoder.output_upscaling.0."),
    (r"^mask_decoder\.upscale_layer_norm\.", "mask_decoder.output_upscaling.1."),
    (r"^mask_decoder\.upscale_conv2\.", "mask_decoder.output_upscaling.3."),
    # transformers counts inner layers alone: proj_in, layers.0, proj_out are the authors' 0, 1, 2.
    (r"^(mask_decoder\..*(?:_mlps\.\d|_head))\.layers\.0\.", r"\1.layers.1."),
    (r"^(mask_decoder\..*(?:_mlps\.\d|_head))\.proj_in\.", r"\1.layers.0."),
    (r"^(mask_decoder\..*(?:_mlps\.\d|_head))\.proj_out\.", r"\1.layers.2."),
)  # fmt: skip

# A name that only another family has, and the family.
_OTHER_FAMILIES = (
    (r"^(detector|detector_model|tracker|tracker_model|tracker_neck)\.", "SAM 3"),
    (r"(^sam_mask_decoder\.|obj_score_token|^memory_(encoder|attention)\.|^no_mem)", "SAM 2"),
    (r"^mask_decoder\.hf_token\.|^mask_decoder\.hq_token", "HQ-SAM"),
    (r"^(visual|vision_model|text_model)\.", "CLIP"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SamParts:
    """The parts of SAM that ESC-Net keeps, under the names of its own modules.

    Attributes:
        prompt_encoder: State dict of `PromptEncoder`.
        two_way: State dict of `TwoWayTransformer`: `layers.0.*` and `layers.1.*`.
        output_tokens: The IoU token and the four mask tokens.
        mask_head: State dict of `MaskHead`.
        origin: The file they were read from.
    """

    prompt_encoder: Mapping[str, Tensor]
    two_way: Mapping[str, Tensor]
    output_tokens: Float[Tensor, "5 256"]
    mask_head: Mapping[str, Tensor]
    origin: Origin


def read_sam_parts(source: str | Path) -> SamParts:
    """The parts of SAM that ESC-Net keeps, from any published form, in float32.

    Args:
        source: A file, a folder that transformers' `SamModel` wrote, or a hub identifier.

    Raises:
        WeightsError: If the file is not SAM's, is damaged, or lacks or adds a tensor.
    """
    files = sam_files(source)
    tensors = read_sam_tensors(source)
    return SamParts(
        prompt_encoder=_under("prompt_encoder.", tensors),
        two_way=two_way_of(tensors),
        output_tokens=torch.cat(
            [tensors["mask_decoder.iou_token.weight"], tensors["mask_decoder.mask_tokens.weight"]]
        ),
        mask_head=mask_head_of(tensors),
        origin=origin_of(files[0], part="SAM", name=str(source), sha256=tensors_sha256(files)),
    )


def two_way_of(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict of `TwoWayTransformer` from tensors by the authors' names."""
    transformer = _under("mask_decoder.transformer.", tensors)
    return {name: tensor for name, tensor in transformer.items() if name.startswith("layers.")}


def mask_head_of(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict of `MaskHead` from tensors by the authors' names."""
    decoder = _under("mask_decoder.", tensors)
    decoder |= _under("transformer.", decoder)
    return {name: tensor for name, tensor in decoder.items() if name.startswith(_MASK_HEAD)}


def read_sam_tensors(source: str | Path) -> dict[str, Tensor]:
    """All 137 tensors of SAM's prompt encoder and mask decoder by the authors' names, in float32.

    Raises:
        WeightsError: If the file is not SAM's, is damaged, or lacks or adds a tensor.
    """
    everything, path = read_all_sam_tensors(source)
    _refuse_other_families(path, everything)
    names = _authors_names(everything)
    if not names:
        raise WeightsError(
            f"{path} holds no prompt encoder and no mask decoder of SAM "
            f"(its first tensor is {next(iter(everything), 'none')}): {_SUPPORTED}"
        )
    found = {renamed: tuple(everything[name].shape) for name, renamed in names.items()}
    check_shapes(str(path), found, sam_shapes(), cure=f"is it a SAM checkpoint? {_SUPPORTED}")
    check_values(str(path), {renamed: everything[name] for name, renamed in names.items()})
    return by_authors_names(everything, str(path))


def read_all_sam_tensors(source: str | Path) -> tuple[dict[str, Tensor], Path]:
    """All tensors of a SAM, its image encoder's among them, and the file or folder of them.

    Raises:
        WeightsError: If a file is missing or damaged.
    """
    files = sam_files(source)
    return read_all_tensors(files), files[0] if len(files) == 1 else files[0].parent


def by_authors_names(everything: Mapping[str, Tensor], shown: str) -> dict[str, Tensor]:
    """The tensors of SAM's prompt encoder and mask decoder, renamed, copied, in float32.

    Args:
        everything: By the authors' names or by transformers'.
        shown: Where they came from, for the message.

    Raises:
        WeightsError: If one is there twice, with different values.
    """
    tensors: dict[str, Tensor] = {}
    for name, renamed in _authors_names(everything).items():
        tensor = everything[name]
        if renamed in tensors and not torch.equal(tensors[renamed], tensor.float()):
            raise WeightsError(
                f"{shown} holds two different tensors for {renamed}: it is damaged, fetch it again"
            )
        tensors[renamed] = tensor.to(torch.float32, copy=True)  # no longer tied to the file
    return tensors


def sam_shapes() -> dict[str, tuple[int, ...]]:
    """The shape of each of SAM's 137 tensors by the authors' names; the same for ViT-B, L and H."""
    shapes: dict[str, tuple[int, ...]] = {_GAUSSIAN: (2, 128)}
    for index in range(4):
        shapes[f"prompt_encoder.point_embeddings.{index}.weight"] = (1, 256)
    shapes["prompt_encoder.not_a_point_embed.weight"] = (1, 256)
    shapes["prompt_encoder.no_mask_embed.weight"] = (1, 256)
    shapes |= _with_bias("prompt_encoder.mask_downscaling.0", (4, 1, 2, 2))
    shapes |= _with_bias("prompt_encoder.mask_downscaling.1", (4,))
    shapes |= _with_bias("prompt_encoder.mask_downscaling.3", (16, 4, 2, 2))
    shapes |= _with_bias("prompt_encoder.mask_downscaling.4", (16,))
    shapes |= _with_bias("prompt_encoder.mask_downscaling.6", (256, 16, 1, 1))

    shapes["mask_decoder.iou_token.weight"] = (1, 256)
    shapes["mask_decoder.mask_tokens.weight"] = (4, 256)
    transformer = "mask_decoder.transformer"
    for index in range(2):
        layer = f"{transformer}.layers.{index}"
        shapes |= _attention(f"{layer}.self_attn", inner=256)
        shapes |= _attention(f"{layer}.cross_attn_token_to_image", inner=128)
        shapes |= _attention(f"{layer}.cross_attn_image_to_token", inner=128)
        shapes |= _with_bias(f"{layer}.mlp.lin1", (2048, 256))
        shapes |= _with_bias(f"{layer}.mlp.lin2", (256, 2048))
        for norm in range(1, 5):
            shapes |= _with_bias(f"{layer}.norm{norm}", (256,))
    shapes |= _attention(f"{transformer}.final_attn_token_to_image", inner=128)
    shapes |= _with_bias(f"{transformer}.norm_final_attn", (256,))

    # A transposed convolution stores its input channels first, so its bias is not that wide.
    upscaling = "mask_decoder.output_upscaling"
    shapes |= {f"{upscaling}.0.weight": (256, 64, 2, 2), f"{upscaling}.0.bias": (64,)}
    shapes |= _with_bias(f"{upscaling}.1", (64,))
    shapes |= {f"{upscaling}.3.weight": (64, 32, 2, 2), f"{upscaling}.3.bias": (32,)}
    for index in range(4):
        shapes |= _perceptron(f"mask_decoder.output_hypernetworks_mlps.{index}", out=32)
    return shapes | _perceptron("mask_decoder.iou_prediction_head", out=4)


def _with_bias(name: str, weight: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": weight, f"{name}.bias": weight[:1]}


def _attention(name: str, *, inner: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for letter in "qkv":
        shapes |= _with_bias(f"{name}.{letter}_proj", (inner, 256))
    return shapes | _with_bias(f"{name}.out_proj", (256, inner))


def _perceptron(name: str, *, out: int) -> dict[str, tuple[int, ...]]:
    shapes = _with_bias(f"{name}.layers.0", (256, 256)) | _with_bias(f"{name}.layers.1", (256, 256))
    return shapes | _with_bias(f"{name}.layers.2", (out, 256))


def _authors_names(names: Collection[str]) -> dict[str, str]:
    """The authors' name of everything in SAM's prompt encoder and mask decoder, by its own name."""
    is_transformers = any(_TRANSFORMERS_ONLY.search(name) for name in names)
    parts = ("prompt_encoder.", "mask_decoder.", "shared_image_embedding.")
    own = [name for name in names if name.startswith(parts)]  # the image encoder is not used
    return {name: _authors_name(name) if is_transformers else name for name in own}


def _authors_name(name: str) -> str:
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def sam_files(source: str | Path) -> list[Path]:
    """The files of a SAM's tensors: one, or the pieces that an index names.

    Args:
        source: As of `read_sam_parts`.

    Raises:
        WeightsError: If there is none, or a folder says that it holds another model.
    """
    path = require_local(source)
    if path.is_file():
        return [path]
    _refuse_other_model_types(path)
    return tensor_files_in(path)


def _refuse_other_model_types(folder: Path) -> None:
    """Where a folder says of itself that it is another model, that is the clearest error."""
    config = read_json_config(folder / CONFIG_FILE) or {}  # without one, the tensors will tell
    model_type = config.get("model_type")
    if model_type not in {None, "sam"}:
        raise WeightsError(f"{folder} holds a model of type {model_type!r}: {_SUPPORTED}")


def _refuse_other_families(path: Path, names: Iterable[str]) -> None:
    names = list(names)
    for pattern, family in _OTHER_FAMILIES:
        if foreign := next((name for name in names if re.search(pattern, name)), None):
            raise WeightsError(f"{path} is a file of {family} (it holds {foreign}): {_SUPPORTED}")
