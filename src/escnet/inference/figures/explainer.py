"""What ESC-Net read off a picture for one class on the way to its answer.

The network runs twice over the same tower output, with its SAM blocks and without; the prompts are
read off the maps between its blocks once more, by the blocks' own generators.

Sizes: N texts, M of them kept, D the width of the joint space, h x w patches, K regions.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from escnet.errors import ConfigError, either
from escnet.inference.figures.explanation import BlockStep, Explanation, FinalMask, Region
from escnet.inference.label_maps.labelling import label_pixels
from escnet.inference.label_maps.probability import sigmoid
from escnet.inference.methods.esc_method import EscMethod, likely_queries
from escnet.inference.methods.memory import class_chunk
from escnet.inference.methods.network_method import as_array, precision
from escnet.inference.methods.training_free import TrainingFreeMethod
from escnet.inference.segmenter import Segmenter
from escnet.model.esc_block import EscBlock
from escnet.model.pseudo_prompt import PseudoPrompt
from escnet.towers.patches import Patches
from escnet.vocabulary import Vocabulary

Pixels = UInt8[np.ndarray, "H W 3"]


class _Trace(NamedTuple):
    """What a method computed on the way to its answer: the maps before and after each block."""

    kept: list[int]
    blocks: list[EscBlock]
    evidence: list[Float[Tensor, "1 M h w"]]
    logits: Float32[np.ndarray, "M _ _"]
    evidence_without: list[Float[Tensor, "1 M h w"]] | None = None
    logits_without: Float32[np.ndarray, "M _ _"] | None = None


@torch.inference_mode()
def explain(
    segmenter: Segmenter, pixels: UInt8[np.ndarray, "H W 3"], vocabulary: Vocabulary, name: str
) -> Explanation:
    """How a class was found in a picture.

    Args:
        segmenter: Of ESC-Net, or training-free, which has a correlation and an answer alone.
        pixels: The picture.
        vocabulary: All class names; the network sees them together.
        name: One of its labels.

    Raises:
        ConfigError: If the method is of another kind, or it drops the class before its work.
        VocabularyError: If a name has more tokens than the text tower reads.
    """
    asked = segmenter.asked(vocabulary)
    trace = _see(segmenter, pixels, asked.embedding)
    label = vocabulary.labels.index(name)
    owner = [asked.owner[query] for query in trace.kept]
    rows = [row for row, its_label in enumerate(owner) if its_label == label]
    if not rows:
        raise ConfigError(
            f"class {name!r} is not among the {len(trace.kept)} of {len(asked.owner)} names "
            f"that the network keeps for this picture: give fewer {either('names', '--classes')}"
        )
    row = _best_row(trace.evidence[0][0], rows)
    rest = None
    if vocabulary.has_background:
        rest = segmenter.rest(segmenter.encoded(pixels), vocabulary, trace.logits)

    def answer(logits: Float32[np.ndarray, "M _ _"]) -> FinalMask:
        size_hw = (pixels.shape[0], pixels.shape[1])
        prior = segmenter.share_prior
        label_map, _ = label_pixels(
            logits, owner, len(vocabulary), size_hw, rest=rest, share_prior=prior
        )
        best = logits[rows].max(axis=0)
        return FinalMask(confidence=sigmoid(best), mask=label_map == label)

    return Explanation(
        picture=pixels,
        name=name,
        query=asked.texts[trace.kept[row]],
        names=vocabulary.result_names,
        own_colours=vocabulary.colours,
        method=segmenter.method.name,
        model=segmenter.model,
        weights_hash=segmenter.weights_hash,
        settings={**segmenter.settings, "background": vocabulary.has_background},
        generator=_settings_of(trace.blocks[0]) if trace.blocks else None,
        correlation=as_array(trace.evidence[0][0, row]),
        blocks=_steps(trace, row, (pixels.shape[0], pixels.shape[1])),
        answer=answer(trace.logits),
        answer_without=None if trace.logits_without is None else answer(trace.logits_without),
    )


def _see(
    segmenter: Segmenter, pixels: Pixels, text_embedding: Float32[np.ndarray, "N D"]
) -> _Trace:
    check_explainable(segmenter)
    method = segmenter.method
    view = segmenter.encoded(pixels)
    if isinstance(method, EscMethod):
        return _see_by_blocks(method, view, text_embedding)
    logits, kept = method.logits([view], text_embedding)[0]
    return _Trace(kept, [], [torch.from_numpy(logits)[None]], logits)


def _see_by_blocks(
    method: EscMethod, patches: Patches, text_embedding: Float32[np.ndarray, "N D"]
) -> _Trace:
    network, config = method.network, method.network.config
    text = torch.from_numpy(text_embedding).to(method.device)
    with precision(method.device, method.dtype):
        kept = likely_queries(patches, text, config.max_classes)
        chunk = class_chunk(config, budget=method.memory_budget)
        full = network.segment(patches, text[kept], chunk)
        trace = _Trace(kept.tolist(), list(network.blocks), full.evidence, as_array(full.logits[0]))
        if config.sam == "none":
            return trace
        without = network.segment(patches, text[kept], chunk, with_sam=False)
    return trace._replace(
        evidence_without=without.evidence, logits_without=as_array(without.logits[0])
    )


def check_explainable(segmenter: Segmenter) -> None:
    """Make sure that the method has something to explain.

    Raises:
        ConfigError: If it has not.
    """
    if not isinstance(segmenter.method, EscMethod | TrainingFreeMethod):
        raise ConfigError(
            f"model {segmenter.model!r} is of the method {segmenter.method.name}, which has no "
            "ESC-Blocks to explain: give an ESC-Net, or training-free for its correlation"
        )


def _best_row(correlation: Float[Tensor, "M h w"], rows: Sequence[int]) -> int:
    """Of a label's queries the one that is best correlated anywhere."""
    peak = correlation[list(rows)].amax(dim=(1, 2))  # (rows,)
    return rows[int(peak.argmax())]


def _steps(trace: _Trace, row: int, size_hw: tuple[int, int]) -> tuple[BlockStep, ...]:
    steps = []
    for index, block in enumerate(trace.blocks):
        before, after = trace.evidence[index : index + 2]
        prompt = block.generator(before)
        without = None
        if trace.evidence_without is not None:
            without = as_array(trace.evidence_without[index + 1][0, row])
        steps.append(
            BlockStep(
                evidence=as_array(before[0, row]),
                probability=as_array(prompt.probability[0, row]),
                region=prompt.region[0, row].cpu().numpy(),
                regions=_regions(prompt, row, size_hw),
                mask_prompt=as_array(prompt.mask[0, row]),
                activation=as_array(after[0, row]),
                activation_without=without,
            )
        )
    return tuple(steps)


def _regions(prompt: PseudoPrompt, row: int, size_hw: tuple[int, int]) -> tuple[Region, ...]:
    """The regions that hold a patch, in pixels of the picture."""
    height, width = size_hw
    region = prompt.region[0, row]
    probability = prompt.probability[0, row]
    regions = []
    for index in range(prompt.point_xy.shape[2]):
        member = region == index
        if not member.any():
            continue
        x, y = prompt.point_xy[0, row, index].tolist()
        x0, y0, x1, y1 = prompt.box_xyxy[0, row, index].tolist()
        regions.append(
            Region(
                point_xy=(x * width, y * height),
                box_xyxy=(x0 * width, y0 * height, x1 * width, y1 * height),
                probability=float(probability[member].max()),
                num_patches=int(member.sum()),
                share=float(member.float().mean()),
            )
        )
    return tuple(regions)


def _settings_of(block: EscBlock) -> dict[str, object]:
    """The generator's settings, and the prompts that the SAM block takes."""
    prompts = [] if block.sam is None else list(block.sam.prompts)
    return {**vars(block.generator), "prompts_used": prompts}
