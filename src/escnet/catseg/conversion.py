"""CAT-Seg's published checkpoints, read into our network of the same structure.

The file is what detectron2 leaves: a pickle with the tensors under "model". CLIP's towers are in
it, fine-tuned, by OpenAI's names but with the projections of queries, keys and values stored apart
and their biases in one piece. Every tensor is expected by name and shape.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from torch import Tensor

from escnet.catseg.config import CATSEG_PRESETS, CatSegConfig
from escnet.catseg.network import CatSeg
from escnet.errors import WeightsError
from escnet.weights.catalog import CATALOG, existing_path, origin_of, require_local
from escnet.weights.config_file import refuse_unusable
from escnet.weights.install import install_module, install_tower
from escnet.weights.tensor_file import check_shapes, check_values, read_tensors

Shapes = dict[str, tuple[int, ...]]

_CLIP = "sem_seg_head.predictor.clip_model."
_HEAD = "sem_seg_head.predictor.transformer."
_PRESET_OF_WIDTH = {768: "vit-b-16", 1024: "vit-l-14"}  # by the width of the image tower
_GRID = 24  # patches along one side, in all published checkpoints
_HEAD_WIDTH = 64  # of both towers' attentions, in every CLIP
_TOKENIZER = "tokenizer.json"
_CURE = "give CAT-Seg's model_final.pth with CLIP ViT-B/16 or ViT-L/14@336px"

# Our names -> the published ones. Applied in this order.
_RENAMES = (
    (r"^embed\.", _HEAD + "conv1."),
    (r"^to_guidance\.", _HEAD + "guidance_projection.0."),
    (r"^to_text_guidance\.", _HEAD + "text_guidance_projection.0."),
    (r"^decoder\.stages\.0\.grow_skip\.", "upsample1."),
    (r"^decoder\.stages\.1\.grow_skip\.", "upsample2."),
    (r"^decoder\.stages\.(\d)\.project\.", _HEAD + r"decoder_guidance_projection.\1.0."),
    (r"^decoder\.stages\.0\.", _HEAD + "decoder1."),
    (r"^decoder\.stages\.1\.", _HEAD + "decoder2."),
    (r"^decoder\.head\.", _HEAD + "head."),
    (r"(\.decoder\d)\.grow\.", r"\1.up."),
    (r"(\.decoder\d)\.conv1\.", r"\1.conv.double_conv.0."),
    (r"(\.decoder\d)\.norm1\.", r"\1.conv.double_conv.1."),
    (r"(\.decoder\d)\.conv2\.", r"\1.conv.double_conv.3."),
    (r"(\.decoder\d)\.norm2\.", r"\1.conv.double_conv.4."),
    (r"^layers\.(\d+)\.guidance_norm\.", _HEAD + r"layers.\1.swin_block.guidance_norm."),
    (r"^layers\.(\d+)\.first\.", _HEAD + r"layers.\1.swin_block.block_1."),
    (r"^layers\.(\d+)\.second\.", _HEAD + r"layers.\1.swin_block.block_2."),
    (r"(\.block_\d)\.(q|k|v)(?:uery|ey|alue)\.", r"\1.attn.\2."),
    (r"(\.block_\d)\.out\.", r"\1.attn.proj."),
    (r"(\.block_\d)\.ffn\.lin(\d)\.", r"\1.mlp.fc\2."),
    (r"^layers\.(\d+)\.classes\.", _HEAD + r"layers.\1.attention."),
    (r"(\d\.attention)\.(q|k|v)(?:uery|ey|alue)\.", r"\1.attention.\2."),
    (r"(\d\.attention)\.lin1\.", r"\1.MLP.0."),
    (r"(\d\.attention)\.lin2\.", r"\1.MLP.2."),
    (r"(\d\.attention)\.padding_state$", r"\1.padding_tokens"),
    (r"(\d\.attention)\.padding_text$", r"\1.padding_guidance"),
)

# Published names of a tower's blocks -> the hub's.
_BLOCK_RENAMES = (
    (r"\bln_(\d)\.", r"layer_norm\1."),
    (r"\bmlp\.c_fc\.", "mlp.fc1."),
    (r"\bmlp\.c_proj\.", "mlp.fc2."),
    (r"\battn\.out_proj\.", "self_attn.out_proj."),
    (r"\battn\.([qkv])_proj_weight$", r"self_attn.\1_proj.weight"),
)


def read_catseg(path: str | Path) -> CatSeg:
    """The network of a published checkpoint, in float32 and evaluation mode.

    Raises:
        WeightsError: If the file is missing, damaged, or its tensors are not exactly those of a
            CAT-Seg network.
    """
    path = require_local(path)
    if path.is_dir():
        raise WeightsError(f"{path} is a folder: {_CURE}")
    stored = read_tensors(path)
    shapes = {name: tuple(tensor.shape) for name, tensor in stored.items()}
    with refuse_unusable(path), torch.device("meta"):  # for the names and shapes
        config = config_from_shapes(shapes)
        expected = catseg_shapes(CatSeg(config))
    check_shapes(str(path), shapes, expected, cure=_CURE)
    check_values(str(path), stored)
    tensors = {name: tensor.float() for name, tensor in stored.items()}
    network = CatSeg(config)
    install_tower(network.vision.tower, dict(_vision_of(tensors)), str(path))
    install_tower(network.text.tower, dict(_text_of(tensors)), str(path))
    own = {
        name: tensors[_published(name)].reshape(value.shape).clone()
        for name, value in network.state_dict().items()
        if not name.startswith(("vision.", "text."))
    }
    install_module(network, own, str(path), partly=True)
    network.config.origins = (origin_of(path, part="CAT-Seg").to_dict(),)
    return network.eval()


def catseg_shapes(network: CatSeg) -> Shapes:
    """The shape of each tensor of a published checkpoint with this network's sizes."""
    config = network.config
    shapes = {
        _published(name): (1, 1, *value.shape) if ".padding_" in name else tuple(value.shape)
        for name, value in network.state_dict().items()
        if not name.startswith(("vision.", "text."))
    }
    if config.grid_size > config.window:  # a constant that the file holds, computed here anew
        num_windows, length = (config.grid_size // config.window) ** 2, config.window**2
        for index in range(config.num_layers):
            name = f"{_HEAD}layers.{index}.swin_block.block_2.attn_mask"
            shapes[name] = (num_windows, length, length)
    return shapes | _clip_shapes(config.vision_config, config.text_config, config.joint_dim)


def config_from_shapes(shapes: Mapping[str, tuple[int, ...]]) -> CatSegConfig:
    """The settings of the network that has tensors of these shapes.

    A published one is known by the width of its image tower. Of another, all that shapes can tell
    is read from them; where they do not tell, it is taken for the smallest published one, and the
    check that follows names what is amiss.
    """
    patches = shapes.get(_CLIP + "visual.conv1.weight", (768,))
    if patches[0] in _PRESET_OF_WIDTH:
        return CATSEG_PRESETS[_PRESET_OF_WIDTH[patches[0]]]()
    try:
        return _measured(shapes)
    except (KeyError, IndexError):
        return CATSEG_PRESETS["vit-b-16"]()


def tokenizer_folder(clip: str | None = None) -> Path:
    """The folder with the tokenizer of CLIP, which the published file does not hold.

    Args:
        clip: A folder of any of OpenAI's CLIPs, or its hub identifier; None looks for one in the
            hub's cache. All have the same tokenizer.

    Raises:
        WeightsError: If there is none.
    """
    if clip is not None and not _cached_tokenizer(clip):
        folder = require_local(clip)
        if not (folder / _TOKENIZER).is_file():
            raise WeightsError(
                f"no {_TOKENIZER} in {folder}: give the folder of a CLIP that has one"
            )
        return folder
    known = [name for name in CATALOG if name.startswith("openai/clip-")]
    for name in known if clip is None else [clip]:
        if path := _cached_tokenizer(name):
            return path.parent
    raise WeightsError(
        f"no tokenizer of CLIP in the hub's cache (looked for {', '.join(known)}): "
        f"pass --clip FOLDER, with CLIP's {_TOKENIZER} in it"
    )


def _cached_tokenizer(repository: str) -> Path | None:
    if repository.count("/") != 1 or existing_path(repository) is not None:
        return None
    try:
        path = try_to_load_from_cache(repository, _TOKENIZER)
    except HFValidationError:  # of a folder that is not there, perhaps
        return None
    return Path(path) if isinstance(path, str) else None


def _published(name: str) -> str:
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _clip_shapes(vision: Mapping[str, Any], text: Mapping[str, Any], joint: int) -> Shapes:
    """Of both towers, by OpenAI's names."""
    width, patch = vision["hidden_size"], vision["patch_size"]
    tokens = (vision["image_size"] // patch) ** 2 + 1
    shapes: Shapes = {
        "visual.class_embedding": (width,),
        "visual.positional_embedding": (tokens, width),
        "visual.proj": (width, joint),
        "visual.conv1.weight": (width, 3, patch, patch),
        **_with_bias("visual.ln_pre", (width,)),
        **_with_bias("visual.ln_post", (width,)),
    }
    for index in range(vision["num_hidden_layers"]):
        shapes |= _block_shapes(f"visual.transformer.resblocks.{index}", width)
    width = text["hidden_size"]
    shapes |= {
        "token_embedding.weight": (text.get("vocab_size", 49408), width),
        "positional_embedding": (text.get("max_position_embeddings", 77), width),
        "text_projection": (width, joint),
        "logit_scale": (),  # of no use here
        **_with_bias("ln_final", (width,)),
    }
    for index in range(text["num_hidden_layers"]):
        shapes |= _block_shapes(f"transformer.resblocks.{index}", width)
    return {_CLIP + name: shape for name, shape in shapes.items()}


def _block_shapes(name: str, width: int) -> Shapes:
    shapes: Shapes = {f"{name}.attn.{part}_proj_weight": (width, width) for part in "qkv"}
    return {
        **shapes,
        f"{name}.attn.in_proj_bias": (3 * width,),
        **_with_bias(f"{name}.attn.out_proj", (width, width)),
        **_with_bias(f"{name}.ln_1", (width,)),
        **_with_bias(f"{name}.ln_2", (width,)),
        **_with_bias(f"{name}.mlp.c_fc", (4 * width, width)),
        **_with_bias(f"{name}.mlp.c_proj", (width, 4 * width)),
    }


def _with_bias(name: str, weight: tuple[int, ...]) -> Shapes:
    return {f"{name}.weight": weight, f"{name}.bias": weight[:1]}


def _vision_of(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The image tower by the hub's names."""
    visual, model = _CLIP + "visual.", "vision_model."
    embeddings = model + "embeddings."
    yield embeddings + "class_embedding", tensors[visual + "class_embedding"]
    yield embeddings + "position_embedding.weight", tensors[visual + "positional_embedding"]
    yield embeddings + "patch_embedding.weight", tensors[visual + "conv1.weight"]
    for end in ("weight", "bias"):
        yield f"{model}pre_layrnorm.{end}", tensors[f"{visual}ln_pre.{end}"]  # sic
        yield f"{model}post_layernorm.{end}", tensors[f"{visual}ln_post.{end}"]
    yield "visual_projection.weight", tensors[visual + "proj"].T
    yield from _blocks_of(tensors, visual + "transformer.resblocks.", model + "encoder.layers.")


def _text_of(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The text tower by the hub's names."""
    model = "text_model."
    embeddings = model + "embeddings."
    yield embeddings + "token_embedding.weight", tensors[_CLIP + "token_embedding.weight"]
    yield embeddings + "position_embedding.weight", tensors[_CLIP + "positional_embedding"]
    for end in ("weight", "bias"):
        yield f"{model}final_layer_norm.{end}", tensors[f"{_CLIP}ln_final.{end}"]
    yield "text_projection.weight", tensors[_CLIP + "text_projection"].T
    yield from _blocks_of(tensors, _CLIP + "transformer.resblocks.", model + "encoder.layers.")


def _blocks_of(
    tensors: Mapping[str, Tensor], prefix: str, hub_prefix: str
) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in tensors.items():
        if not name.startswith(prefix):
            continue
        rest = hub_prefix + name.removeprefix(prefix)
        if rest.endswith(".attn.in_proj_bias"):
            block = rest.removesuffix("attn.in_proj_bias")
            for part, bias in zip("qkv", tensor.chunk(3), strict=True):
                yield f"{block}self_attn.{part}_proj.bias", bias
            continue
        for pattern, replacement in _BLOCK_RENAMES:
            rest = re.sub(pattern, replacement, rest)
        yield rest, tensor


def _measured(shapes: Mapping[str, tuple[int, ...]]) -> CatSegConfig:
    """Settings read from the shapes; heads and taps follow the published networks."""
    width, _, patch, _ = shapes[_CLIP + "visual.conv1.weight"]
    tokens = shapes[_CLIP + "visual.positional_embedding"][0]
    joint = shapes[_CLIP + "visual.proj"][1]
    vocabulary, text_width = shapes[_CLIP + "token_embedding.weight"]
    depth = _count(shapes, _CLIP + "visual.transformer.resblocks.")
    hidden, templates, kernel, _ = shapes[_HEAD + "conv1.weight"]
    vision = {
        **_tower(width, depth, joint),
        "image_size": round((tokens - 1) ** 0.5) * patch,
        "patch_size": patch,
    }
    text = {
        **_tower(text_width, _count(shapes, _CLIP + "transformer.resblocks."), joint),
        "vocab_size": vocabulary,
        "max_position_embeddings": shapes[_CLIP + "positional_embedding"][0],
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
    }
    projections = [shapes[f"{_HEAD}decoder_guidance_projection.{i}.0.weight"] for i in (0, 1)]
    return CatSegConfig(
        vision_config=vision,
        text_config=text,
        taps=(depth // 3 - 1, 2 * depth // 3 - 1),
        image_size=_GRID * patch,
        joint_dim=joint,
        num_templates=templates,
        hidden_dim=hidden,
        guidance_dim=shapes[_HEAD + "guidance_projection.0.weight"][0],
        num_layers=_count(shapes, _HEAD + "layers."),
        embed_kernel=kernel,
        skip_channels=[shape[1] for shape in projections],
        skip_dims=[shape[0] for shape in projections],
        decoder_dims=[shapes[f"{_HEAD}decoder{i}.conv.double_conv.0.weight"][0] for i in (1, 2)],
    )


def _tower(width: int, depth: int, joint: int) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": depth,
        "num_attention_heads": max(1, width // _HEAD_WIDTH),
        "projection_dim": joint,
    }


def _count(shapes: Mapping[str, tuple[int, ...]], prefix: str) -> int:
    """How many blocks there are, by their numbers in the names."""
    return len({n.removeprefix(prefix).split(".")[0] for n in shapes if n.startswith(prefix)})
