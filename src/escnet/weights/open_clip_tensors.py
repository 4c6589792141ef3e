"""The tensors of folders in OpenCLIP's layout, under the names that our towers have for them."""

import re
from collections.abc import Iterator, Mapping

from torch import Tensor

# Patterns of OpenCLIP's names, and ours; the first that fits a name's start is taken, and then
# those within blocks. "text." stands before the names of a text tower, or nothing.
_BLOCK = (
    (r"\.ln_(\d)\.", r".layer_norm\1."),
    (r"\.attn\.", ".self_attn."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)
_TEXT = (
    (r"^token_embedding\.", "text_model.embeddings.token_embedding."),
    (r"^positional_embedding$", "text_model.embeddings.position_embedding.weight"),
    (r"^transformer\.resblocks\.", "text_model.encoder.layers."),
    (r"^ln_final\.", "text_model.final_layer_norm."),
    (r"^text_projection$", "text_projection.weight"),
)
_VISION = (
    (r"^visual\.class_embedding$", "vision_model.embeddings.class_embedding"),
    (r"^visual\.positional_embedding$", "vision_model.embeddings.position_embedding.weight"),
    (r"^visual\.conv1\.", "vision_model.embeddings.patch_embedding."),
    (r"^visual\.transformer\.resblocks\.", "vision_model.encoder.layers."),
    (r"^visual\.ln_pre\.", "vision_model.pre_layrnorm."),
    (r"^visual\.ln_post\.", "vision_model.post_layernorm."),
    (r"^visual\.proj$", "visual_projection.weight"),
)
_TIMM_VIT = (
    (r"^visual\.trunk\.cls_token$", "vision.tower.class_embedding"),
    (r"^visual\.trunk\.pos_embed$", "vision.tower.position_embedding"),
    (r"^visual\.trunk\.patch_embed\.proj\.", "vision.tower.patch_embedding."),
    (r"^visual\.trunk\.norm_pre\.", "vision.tower.pre_layernorm."),
    (r"^visual\.trunk\.norm\.", "vision.tower.post_layernorm."),
    (r"^visual\.trunk\.attn_pool\.kv\.", "vision.pooling.kv."),
    (r"^visual\.trunk\.attn_pool\.proj\.", "vision.pooling.out_proj."),
    (r"^visual\.trunk\.attn_pool\.", "vision.pooling."),
    (r"^visual\.trunk\.head\.", "vision.projection."),
    (r"^visual\.trunk\.blocks\.", "vision.tower.layers."),
)
_TIMM_BLOCK = (
    (r"\.norm(\d)\.", r".layer_norm\1."),
    (r"\.attn\.(norm|proj)\.", r".self_attn.out_proj.\1."),
    (r"\.attn\.", ".self_attn."),
    (r"\.mlp\.fc1_g\.", ".mlp.gate."),
    (r"\.mlp\.fc1_x\.", ".mlp.fc1."),
)
_TIMM_CONVNEXT = (
    (r"^visual\.trunk\.stem\.0\.", "vision.tower.embeddings.patch_embeddings."),
    (r"^visual\.trunk\.stem\.1\.", "vision.tower.embeddings.layernorm."),
    (r"^visual\.trunk\.head\.norm\.", "vision.tower.layernorm."),
    (r"^visual\.head\.(proj|mlp)\.", "vision.projection."),
    (r"^visual\.trunk\.stages\.", "vision.tower.encoder.stages."),
)
_CONVNEXT_BLOCK = (
    (r"\.downsample\.", ".downsampling_layer."),
    (r"\.blocks\.", ".layers."),
    (r"\.conv_dw\.", ".dwconv."),
    (r"\.norm\.", ".layernorm."),
    (r"\.mlp\.fc", ".pwconv"),
    (r"\.gamma$", ".layer_scale_parameter"),
)
# Of no use to a dense read-out: the scale of the training loss, tables that are computed, and the
# pooling head's query.
_UNUSED = re.compile(
    r"^(logit_scale|logit_bias|(text\.)?attn_mask|visual\.trunk\.rope\..*"
    r"|visual\.trunk\.attn_pool\.(latent|q\..*))$"
)
_FUSED = re.compile(r"(?:\.in_proj_|\.qkv\.|\.kv\.)(weight|bias)$")
_TRANSPOSED = ("visual.proj", "text_projection")


def our_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of OpenCLIP's towers under the names of ours.

    Fused projections are cut into those of queries, keys and values. What has no name among ours
    stands among those of a tower, where whoever fills the towers will refuse it.
    """
    return dict(_renamed(tensors))


def _renamed(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in tensors.items():
        if _UNUSED.match(name):
            continue
        plain = name.removeprefix("text.")
        value = tensor.T.contiguous() if plain in _TRANSPOSED else tensor
        ours = _our_name(plain)
        fused = _FUSED.search(ours)
        if fused is None:
            yield ours, value
            continue
        start, end = ours[: fused.start()], fused.group(1)
        parts = ("k_proj", "v_proj") if ".kv." in ours else ("q_proj", "k_proj", "v_proj")
        for part, piece in zip(parts, value.chunk(len(parts)), strict=True):
            if not (part == "k_proj" and ".kv." in ours):  # the pooling head chooses nothing
                yield f"{start}.{part}.{end}", piece


def _our_name(name: str) -> str:
    tables = (
        (_VISION, _BLOCK),
        (_TIMM_CONVNEXT, _CONVNEXT_BLOCK),
        (_TIMM_VIT, _TIMM_BLOCK),
        (_TEXT, _BLOCK),
    )
    for starts, inner in tables:
        for pattern, ours in starts:
            if re.search(pattern, name):
                name = re.sub(pattern, ours, name)
                for own_pattern, own in inner if ".layers." in ours or ".stages." in ours else ():
                    name = re.sub(own_pattern, own, name)
                return name
    if name.startswith(("visual.trunk.", "visual.head.")):
        return f"vision.{name}"
    return f"vision_model.{name}" if name.startswith("visual.") else f"text_model.{name}"
