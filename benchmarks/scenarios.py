"""What is measured: each scenario is a name and a function that prepares one run.

The function sets everything up and returns the work to be timed. Weights are random, since no time
depends on them; pictures, prompts and weights follow from the seed.
"""

import tempfile
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from transformers import SamConfig, SamModel
from transformers.models.sam.configuration_sam import SamMaskDecoderConfig, SamVisionConfig

from escnet.catseg.config import CATSEG_PRESETS
from escnet.catseg.network import CatSeg
from escnet.inference.methods.esc_method import likely_queries
from escnet.model.config import preset
from escnet.model.escnet import EscNet
from escnet.model.prompt_encoder import PromptEncoder
from escnet.model.pruning import Rejection
from escnet.model.pseudo_prompt import PseudoPrompt, PseudoPromptGenerator
from escnet.model.sam_block import SamBlock
from escnet.model.two_way import TwoWayTransformer
from escnet.weights.quiet import quiet_transformers
from escnet.weights.sam import read_sam_parts

SEED = 0
NUM_NAMES = (20, 150, 847)
_LONG_LISTS = (150, 847)
_MANY_NAMES = (*_LONG_LISTS, 10_000)

_GRID = 24  # patches along a side, as in the paper
_SAM_WIDTH, _SAM_HEADS, _SAM_MLP_WIDTH = 256, 8, 2048
_SAM_PIXELS = 1024  # side of the picture in whose pixels transformers' SAM counts
_NUM_REGIONS = 5
_CLASS_CHUNK = 32

Work = Callable[[], object]


def sam_block(num_names: int) -> Work:
    """Our SAM block: prompts of all names through the two-way transformer, merged."""
    ours, _, prompt, appearance = _sam_pair(num_names)
    return partial(ours, prompt, appearance)


def sam_block_of_transformers(num_names: int, class_chunk: int | None = None) -> Work:
    """The same by transformers' SAM, each name as one picture of a batch.

    A plain use gives it all names at once; `class_chunk` of them at a time spares it the most of
    its memory traffic. First checks that the output is the same.
    """
    ours, plain, prompt, appearance = _sam_pair(num_names)
    theirs = partial(plain, class_chunk=class_chunk or num_names)
    expected, found = theirs(prompt, appearance), ours(prompt, appearance)
    difference = float((found - expected).abs().max() / expected.abs().max())
    if difference > 1e-5:
        raise AssertionError(f"the two SAM blocks differ by {difference:.1e} of the largest value")
    return partial(theirs, prompt, appearance)


def pseudo_prompts(num_names: int) -> Work:
    """Pseudo points and masks off one picture's correlation maps."""
    config = preset("vit-b-16")
    generator = PseudoPromptGenerator(
        num_regions=config.regions_per_class,
        softmax=config.softmax,
        sharpness=config.sharpness,
        threshold=config.threshold,
        kmeans_steps=config.kmeans_steps,
        empty_region=config.empty_region,
        mask_prompt=config.mask_prompt,
        mask_scale=config.mask_scale,
    )
    correlation = _smooth_maps(num_names)
    return partial(generator, correlation)


def forward(num_names: int) -> Work:
    """One picture through the whole of vit-b-16, text embeddings given."""
    network, image = _vit_b_16()
    text_embedding = torch.randn(num_names, network.config.joint_dim)
    return partial(network, image, text_embedding, _CLASS_CHUNK)


def pruned_forward(num_names: int) -> Work:
    """As `forward`, by the likeliest names alone, as exact work does it."""
    network, image = _vit_b_16()
    text_embedding = torch.randn(num_names, network.config.joint_dim)
    max_classes = preset("vit-b-16").max_classes

    def work() -> object:
        patches = network.vision(image)
        kept = likely_queries(patches, text_embedding, max_classes)
        return network.segment(patches, text_embedding[kept], _CLASS_CHUNK)

    return work


def rejecting_forward(num_names: int) -> Work:
    """As `forward`, names rejected early, as `segment` does it."""
    return _rejecting(*_vit_b_16(), num_names)


def catseg_forward(num_names: int) -> Work:
    """One picture through the whole of CAT-Seg's vit-b-16, by its own rule of 256 names."""
    network, image = _catseg_vit_b_16()
    text_embedding = torch.randn(num_names, network.config.joint_dim)
    return partial(network, image, text_embedding, _CLASS_CHUNK)


def rejecting_catseg_forward(num_names: int) -> Work:
    """As `catseg_forward`, names rejected early."""
    return _rejecting(*_catseg_vit_b_16(), num_names)


def vision_tower() -> Work:
    """The CLIP tower of vit-b-16 alone, with its dense read-out."""
    network, image = _vit_b_16()
    return partial(network.vision, image)


SCENARIOS: dict[str, Callable[[], Work]] = {
    "pseudo_prompts/150": partial(pseudo_prompts, 150),
    **{f"sam_block/{n}": partial(sam_block, n) for n in NUM_NAMES},
    **{f"sam_block_of_transformers/{n}": partial(sam_block_of_transformers, n) for n in NUM_NAMES},
    **{
        f"sam_block_of_transformers_in_chunks/{n}": partial(
            sam_block_of_transformers, n, _CLASS_CHUNK
        )
        for n in NUM_NAMES
    },
    "vision_tower/vit-b-16": vision_tower,
    **{f"forward/vit-b-16/{n}": partial(forward, n) for n in NUM_NAMES},
    "pruned_forward/vit-b-16/847": partial(pruned_forward, 847),
    **{f"rejecting_forward/vit-b-16/{n}": partial(rejecting_forward, n) for n in _MANY_NAMES},
    **{f"catseg_forward/vit-b-16/{n}": partial(catseg_forward, n) for n in _LONG_LISTS},
    **{
        f"rejecting_catseg_forward/vit-b-16/{n}": partial(rejecting_catseg_forward, n)
        for n in _LONG_LISTS
    },
}


def _vit_b_16() -> tuple[EscNet, Tensor]:
    config = preset("vit-b-16")
    config.max_classes = 0  # all names count
    return EscNet(config).eval(), torch.rand(1, 3, config.image_size, config.image_size)


def _catseg_vit_b_16() -> tuple[CatSeg, Tensor]:
    config = CATSEG_PRESETS["vit-b-16"]()
    return CatSeg(config).eval(), torch.rand(1, 3, config.image_size, config.image_size)


def _rejecting(network: EscNet | CatSeg, image: Tensor, num_names: int) -> Work:
    text_embedding = torch.randn(num_names, network.config.joint_dim)
    rejection = Rejection(network.config.rejection)

    def work() -> object:
        patches = network.vision(image)
        return network.segment(patches, text_embedding, _CLASS_CHUNK, rejection=rejection)

    return work


def _smooth_maps(num_names: int) -> Tensor:
    """Maps with a few hills each, as correlation maps are."""
    coarse = torch.rand(1, num_names, 5, 5)
    return torch.nn.functional.interpolate(coarse, size=(_GRID, _GRID), mode="bicubic")


def _sam_pair(
    num_names: int,
) -> tuple[Callable[..., Tensor], Callable[..., Tensor], PseudoPrompt, Tensor]:
    """Our SAM block, transformers' in its place, and the prompts and appearance for both."""
    # The image encoder is not run. The norms' epsilon is the authors', from which transformers
    # deviates.
    vision = SamVisionConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    decoder = SamMaskDecoderConfig(layer_norm_eps=1e-5)
    config = SamConfig(vision_config=vision.to_dict(), mask_decoder_config=decoder.to_dict())
    model = SamModel(config).eval()
    with tempfile.TemporaryDirectory() as folder, quiet_transformers():
        model.save_pretrained(folder)
        parts = read_sam_parts(folder)
    prompt_encoder = PromptEncoder(_SAM_WIDTH).eval()
    prompt_encoder.load_state_dict(dict(parts.prompt_encoder))
    two_way = TwoWayTransformer(width=_SAM_WIDTH, num_heads=_SAM_HEADS, mlp_width=_SAM_MLP_WIDTH)
    two_way.load_state_dict(dict(parts.two_way))
    block = SamBlock(two_way, width=_SAM_WIDTH, prompts=("point", "mask"), merge="mean").eval()
    block.output_tokens.data = parts.output_tokens

    prompt = PseudoPrompt(
        point_xy=torch.rand(1, num_names, _NUM_REGIONS, 2),
        box_xyxy=torch.zeros(1, num_names, _NUM_REGIONS, 4),
        is_valid=torch.ones(1, num_names, _NUM_REGIONS, dtype=torch.bool),
        mask=2 * torch.rand(1, num_names, 1, 4 * _GRID, 4 * _GRID) - 1,
        probability=torch.rand(1, num_names, _GRID, _GRID),
        region=torch.zeros(1, num_names, _GRID, _GRID, dtype=torch.int64),
    )
    appearance = torch.randn(1, _GRID * _GRID, _SAM_WIDTH)
    unused_text = torch.zeros(1, num_names, 1)
    unused_evidence = torch.zeros(1, num_names, _GRID, _GRID)

    def ours(prompt: PseudoPrompt, appearance: Tensor) -> Tensor:
        return block(
            appearance, prompt, prompt_encoder, unused_text, unused_evidence, _CLASS_CHUNK
        ).appearance

    def theirs(prompt: PseudoPrompt, appearance: Tensor, class_chunk: int) -> Tensor:
        return _plain_sam_block(model, block, prompt, appearance, class_chunk)

    return ours, theirs, prompt, appearance


def _plain_sam_block(
    model: SamModel,
    block: SamBlock,
    prompt: PseudoPrompt,
    appearance: Tensor,
    class_chunk: int,
) -> Tensor:
    """Each name as one picture of a batch."""
    num_names = prompt.point_xy.shape[1]
    grid = (_GRID, _GRID)
    position = _image_position(model)
    image = appearance.transpose(1, 2).unflatten(2, grid)  # (1, S, h, w)
    total = torch.zeros_like(appearance)
    for start in range(0, num_names, class_chunk):
        chunk = slice(start, start + class_chunk)
        pixel_xy = prompt.point_xy[0, chunk, None] * _SAM_PIXELS - 0.5  # (n, 1, K, 2)
        label = torch.ones(pixel_xy.shape[:3])
        sparse, dense = model.prompt_encoder(pixel_xy, label, None, prompt.mask[0, chunk])
        output_tokens = block.output_tokens.expand(len(sparse), 1, -1, -1)
        _, keys = model.mask_decoder.transformer(
            point_embeddings=torch.cat([output_tokens, sparse], dim=2),
            image_embeddings=image + dense,
            image_positional_embeddings=position.expand(len(sparse), -1, -1, -1),
            attention_similarity=None,
        )
        total = total + keys[:, 0].sum(dim=0) / num_names
    return block.keep(appearance) + block.take(total)


def _image_position(model: SamModel) -> Tensor:
    centre = (torch.arange(_GRID) + 0.5) / _GRID
    y, x = torch.meshgrid(centre, centre, indexing="ij")
    return model.shared_image_embedding(torch.stack([x, y], dim=-1)).permute(2, 0, 1)[None]
