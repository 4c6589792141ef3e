"""ESC-Net: Figure 2, top to bottom (Lee et al., CVPR 2025, arXiv:2411.14723).

Sizes: B pictures, N class names, D joint space, S SAM's width, C hidden width, H x W pixels,
h x w patches.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, cast

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from escnet.model.build import (
    build_blocks,
    build_decoder,
    build_detail,
    build_embedding,
    build_presence,
    build_prompt_encoder,
    build_sam_width,
    build_text,
    build_upsampling,
    build_vision,
)
from escnet.model.config import EscNetConfig
from escnet.model.correlation import class_state, correlation_map
from escnet.model.esc_block import EscBlock
from escnet.model.presence import presence_gain
from escnet.model.prompt_encoder import ChannelNorm
from escnet.model.resize import resized
from escnet.model.sam_block import IMAGE_DEVIATION
from escnet.towers.network import Network
from escnet.towers.patches import Patches

_FIRST_SCALE, _FIRST_SHIFT = 10.0, -2.0  # so that a cosine of 0.2 starts at even odds
_MASK_SHARE = 0.5  # of a class's map, the rest is the correlation's (docs/paper-notes.md, note 7)


class Prediction(NamedTuple):
    """What one pass yields.

    Attributes:
        logits: Of every class name.
        evidence: The map of every class before each ESC-Block, which reads its prompts off it, and
            after the last, as logits: the scaled correlation first.
        appearance: The appearance after each ESC-Block.
    """

    logits: Float[Tensor, "B N _ _"]
    evidence: list[Float[Tensor, "B N h w"]]
    appearance: list[Float[Tensor, "B h w S"]]


class EscNet(Network):
    """Image and text embeddings in, a logit for every class name and place out."""

    config_class = EscNetConfig
    base_model_prefix = "escnet"
    supports_gradient_checkpointing = True

    def __init__(self, config: EscNetConfig) -> None:
        super().__init__(config)
        self.vision = build_vision(config)
        self.text = build_text(config)
        self.logit_scale = nn.Parameter(torch.tensor(_FIRST_SCALE))
        self.logit_shift = nn.Parameter(torch.tensor(_FIRST_SHIFT))
        self.to_sam_width = build_sam_width(config, self.vision)
        self.sam_norm = ChannelNorm(config.sam_dim)
        self.embed = build_embedding(config)
        self.prompt_encoder = build_prompt_encoder(config)
        self.blocks = build_blocks(config)
        read_out = [nn.Linear(config.hidden_dim, 1) for _ in range(config.num_blocks)]
        self.read_out = nn.ModuleList(read_out)
        self.decoder = build_decoder(config, self.vision.skip_channels)
        self.upsampling = build_upsampling(config, self.vision)
        self.presence = build_presence(config, self.vision)
        self.detail = build_detail(config)
        for layer in read_out:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self._start_at_sam_scale()
        if config.correlation_residual:  # so that training starts from the correlation's own answer
            for parameter in self.decoder.head.parameters():
                nn.init.zeros_(parameter)
        self.gradient_checkpointing = False
        self.post_init()

    def _start_at_sam_scale(self) -> None:
        """The appearance begins as large as SAM's image embeddings are; the fusion sees it as 1."""
        nn.init.constant_(self.sam_norm.weight, IMAGE_DEVIATION)
        with torch.no_grad():
            for block in self.blocks:
                cast("EscBlock", block).fusion.to_guidance.weight.div_(IMAGE_DEVIATION)

    def forward(
        self,
        image: Float[Tensor, "B 3 H W"],
        text_embedding: Float[Tensor, "N D"],
        class_chunk: int | None = None,
    ) -> Float[Tensor, "B N _ _"]:
        """Logits of every class name on a grid four times as fine as the patches (Fig. 2).

        Guided upsampling makes it eight times.

        Args:
            image: Pixels in [0, 1]; the tower's normalisation happens inside.
            text_embedding: One embedding for each class name, as the text tower gives it.
            class_chunk: Class names worked on at a time, which bounds the memory and does not
                change the result; None for all.
        """
        return self.segment(self.vision(image), text_embedding, class_chunk).logits

    def segment(
        self,
        patches: Patches,
        text_embedding: Float[Tensor, "N D"],
        class_chunk: int | None = None,
        *,
        with_sam: bool = True,
    ) -> Prediction:
        """The network after its towers: logits, and what the blocks saw on the way.

        Args:
            patches: What the vision tower gave, now or earlier.
            text_embedding: One embedding for each class name, as the text tower gives it.
            class_chunk: As in `forward`.
            with_sam: As in `EscBlock.forward`.
        """
        correlation = self.correlate(patches, text_embedding)  # (B, N, h, w)
        first = self.sam_norm(self.to_sam_width(self.sam_input(patches)))
        first = rearrange(first, "B S h w -> B h w S")
        state = self._embed(correlation, class_chunk)  # (B, N, h, w, C)
        evidence, appearance = [correlation], [first]
        for block, read_out in zip(self.blocks, self.read_out, strict=True):
            seen = appearance[-1] if self.config.appearance == "chain" else first
            if self.config.state == "scalar" and len(evidence) > 1:
                state = self._embed(evidence[-1], class_chunk)
            arguments = (
                state,
                seen,
                evidence[-1],
                text_embedding,
                self.prompt_encoder,
                class_chunk,
                with_sam,
            )
            if self.gradient_checkpointing and self.training:
                answer = checkpoint(
                    block, *arguments, use_reentrant=False, context_fn=_same_attention
                )
            else:
                answer = block(*arguments)
            state = answer.state
            appearance.append(answer.appearance)
            known = correlation
            if answer.drawn is not None:
                known = torch.lerp(correlation, answer.drawn.to(correlation), _MASK_SHARE)
            evidence.append(known + read_out(state)[..., 0])
        logits = self.decoder(state, patches.skips, class_chunk)
        if self.config.correlation_residual:
            logits = logits + resized(evidence[-1], (logits.shape[2], logits.shape[3]))
        if self.upsampling is not None:  # which no tower without edges is built with
            edges = cast("Tensor", patches.edges)
            logits = self.upsampling(logits, edges, patches.skips[1], class_chunk)
        if self.presence is not None:  # which no tower without a summary is built with
            presence = self.presence(cast("Tensor", patches.summary), text_embedding)
            logits = logits + presence_gain(presence)[..., None, None]
        if self.detail is not None and patches.detail is not None:
            logits = self.detail.added(logits, patches.detail, text_embedding, class_chunk)
        return Prediction(logits, evidence, appearance[1:])

    def sam_input(self, patches: Patches) -> Float[Tensor, "B _ h w"]:
        """What is brought to SAM's width: the joint embeddings, or what they were made of."""
        # No tower is built for the second that does not give it.
        is_joint = self.config.sam_input == "joint"
        return patches.joint if is_joint else cast("Tensor", patches.inner)

    def correlate(
        self, patches: Patches, text_embedding: Float[Tensor, "N D"]
    ) -> Float[Tensor, "B N h w"]:
        """The image-text correlation (Eq. 1) as logits: scaled and shifted by two learned numbers.

        The prompt generator does not see the difference, as it rescales every map.
        """
        return self.logit_scale * correlation_map(patches.joint, text_embedding) + self.logit_shift

    def _embed(
        self, evidence: Float[Tensor, "B N h w"], class_chunk: int | None
    ) -> Float[Tensor, "B N h w C"]:
        """A class state from one map for each class."""
        return class_state(self.embed, evidence[:, :, None], class_chunk)


def _same_attention() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """For a block and for its second computation, which has to choose the attention of the first.

    The second one happens in the backward pass, outside of what the caller of `segment` set.
    """
    is_on = {
        SDPBackend.MATH: torch.backends.cuda.math_sdp_enabled(),
        SDPBackend.FLASH_ATTENTION: torch.backends.cuda.flash_sdp_enabled(),
        SDPBackend.EFFICIENT_ATTENTION: torch.backends.cuda.mem_efficient_sdp_enabled(),
        SDPBackend.CUDNN_ATTENTION: torch.backends.cuda.cudnn_sdp_enabled(),
    }
    return nullcontext(), sdpa_kernel([backend for backend, on in is_on.items() if on])
