"""ESC-Net: Figure 2, top to bottom (Lee et al., CVPR 2025, arXiv:2411.14723).

Sizes: B pictures, N class names, D joint space, S SAM's width, C hidden width, H x W pixels,
h x w patches.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, cast

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from escnet.model.build import (
    build_blocks,
    build_decoder,
    build_embedding,
    build_prompt_encoder,
    build_sam_width,
    build_towers,
)
from escnet.model.config import EscNetConfig
from escnet.model.correlation import class_state, correlation_map
from escnet.model.esc_block import BlockAnswer, EscBlock
from escnet.model.prompt_encoder import ChannelNorm
from escnet.model.pruning import Rejection, of_names
from escnet.model.sam_block import IMAGE_DEVIATION
from escnet.towers.network import Network
from escnet.towers.patches import Patches
from escnet.towers.resize import resized
from escnet.towers.tower import Towers

_FIRST_SCALE, _FIRST_SHIFT = 10.0, -2.0  # so that a cosine of 0.2 starts at even odds
_MASK_SHARE = 0.5  # of a class's map, the rest is the correlation's (docs/paper-notes.md, note 7)


class Prediction(NamedTuple):
    """The logits, and the maps that the ESC-Blocks saw and left on the way to them.

    Attributes:
        logits: Of every class name; where some were rejected, of those that are left.
        evidence: The map of every class before each ESC-Block, which reads its prompts off it, and
            after the last, as logits: the scaled correlation first. Rejection leaves fewer of them
            from block to block.
        appearance: The appearance after each ESC-Block.
        place: The places in the list of the class names that the logits are of, in their order.
    """

    logits: Float[Tensor, "B N _ _"]
    evidence: list[Float[Tensor, "B _ h w"]]
    appearance: list[Float[Tensor, "B h w S"]]
    place: Int[Tensor, "B N"]


class _Names(NamedTuple):
    """All that is known of the class names that are left.

    Attributes:
        place: Their places in the list.
        text: Their embeddings; the same of every picture until some names are rejected.
        correlation: Their first maps.
        evidence: Their latest maps.
        state: Their class states; None before the first.
    """

    place: Int[Tensor, "B N"]
    text: Float[Tensor, "#B N D"]
    correlation: Float[Tensor, "B N h w"]
    evidence: Float[Tensor, "B N h w"]
    state: Float[Tensor, "B N h w C"] | None = None

    def some(self, position: Int[Tensor, "B M"]) -> "_Names":
        """Some of them for each picture."""
        return _Names(
            place=of_names(self.place, position),
            text=of_names(self.text, position),
            correlation=of_names(self.correlation, position),
            evidence=of_names(self.evidence, position),
            state=None if self.state is None else of_names(self.state, position),
        )


class EscNet(Network):
    """Image and text embeddings in, a logit for every class name and place out."""

    config_class = EscNetConfig
    base_model_prefix = "escnet"
    supports_gradient_checkpointing = True

    def __init__(self, config: EscNetConfig, towers: Towers | None = None) -> None:
        """A network with random weights.

        Args:
            config: Its settings.
            towers: Its towers; None for those that the settings name.
        """
        super().__init__(config)
        self.vision, self.text = towers or build_towers(config)
        self.logit_scale = nn.Parameter(torch.tensor(_FIRST_SCALE))
        self.logit_shift = nn.Parameter(torch.tensor(_FIRST_SHIFT))
        self.to_sam_width = build_sam_width(config, self.vision.sam_channels)
        self.sam_norm = ChannelNorm(config.sam_dim)
        self.embed = build_embedding(config)
        self.prompt_encoder = build_prompt_encoder(config)
        self.blocks = build_blocks(config)
        read_out = [nn.Linear(config.hidden_dim, 1) for _ in range(config.num_blocks)]
        self.read_out = nn.ModuleList(read_out)
        self.decoder = build_decoder(config, self.vision.skip_channels)
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
        rejection: Rejection | None = None,
        with_sam: bool = True,
    ) -> Prediction:
        """The network after its towers: logits, and what the blocks saw on the way.

        Args:
            patches: What the vision tower gave, now or earlier.
            text_embedding: One embedding for each class name, as the text tower gives it.
            class_chunk: As in `forward`.
            rejection: Which names go on before each block and before the decoder; None for all.
            with_sam: As in `EscBlock.forward`.
        """
        names = self._all_names(patches, text_embedding)
        appearance = [self._at_sam_width(patches)]  # (B, h, w, S)
        evidence = []
        for look, (block, read_out) in enumerate(zip(self.blocks, self.read_out, strict=True)):
            names = self._left(names, patches, rejection, look)
            evidence.append(names.evidence)
            answer = self._run(
                block,
                self._entering_state(names, class_chunk),
                self._entering_appearance(appearance),
                names.evidence,
                names.text,
                self.prompt_encoder,
                class_chunk,
                with_sam,
                text_embedding[None],
            )
            appearance.append(answer.appearance)
            drawn = _with_masks(names.correlation, answer.drawn)
            latest = drawn + read_out(answer.state)[..., 0]
            names = names._replace(evidence=latest, state=answer.state)
        names = self._left(names, patches, rejection, len(self.blocks))
        logits = self.decoder(cast("Tensor", names.state), patches.skips, class_chunk)
        logits = self._with_residual(logits, names.evidence)
        logits = self.refine_logits(logits, patches, names.text, class_chunk)
        return Prediction(logits, [*evidence, names.evidence], appearance[1:], names.place)

    def first_maps(
        self, patches: Patches, text_embedding: Float[Tensor, "N D"]
    ) -> Float[Tensor, "B N h w"]:
        """What the first look at the names sees: the correlation, as far as logits follow it."""
        evidence = self.correlate(patches, text_embedding)
        return self.likely_logits(evidence, patches, text_embedding[None])

    def _all_names(self, patches: Patches, text_embedding: Float[Tensor, "N D"]) -> _Names:
        correlation = self.correlate(patches, text_embedding)  # (B, N, h, w)
        B, N = correlation.shape[:2]
        place = torch.arange(N, device=correlation.device).expand(B, -1)
        return _Names(place, text_embedding[None], correlation, evidence=correlation)

    def _left(
        self, names: _Names, patches: Patches, rejection: Rejection | None, look: int
    ) -> _Names:
        """The names that are left after a look at their latest maps."""
        if rejection is None or rejection.is_idle(look, names.place.shape[1]):
            return names
        maps = self.likely_logits(names.evidence, patches, names.text)
        return names.some(rejection.survivors(look, maps, names.place))

    def likely_logits(
        self,
        evidence: Float[Tensor, "B N h w"],
        patches: Patches,  # noqa: ARG002 -- for networks that extend this one
        text_embedding: Float[Tensor, "#B N D"],  # noqa: ARG002
    ) -> Float[Tensor, "B N h w"]:
        """What the maps so far let the logits be: names are rejected by it.

        Args:
            evidence: The latest maps.
            patches: As in `segment`.
            text_embedding: Of the names of the maps.
        """
        return evidence

    def refine_logits(
        self,
        logits: Float[Tensor, "B N _ _"],
        patches: Patches,  # noqa: ARG002 -- for networks that extend this one
        text_embedding: Float[Tensor, "#B N D"],  # noqa: ARG002
        class_chunk: int | None,  # noqa: ARG002
    ) -> Float[Tensor, "B N _ _"]:
        """The logits as they are: the one place where a network that extends this one steps in.

        Args:
            logits: Of the decoder.
            patches: As in `segment`.
            text_embedding: As in `segment`.
            class_chunk: As in `forward`.
        """
        return logits

    def correlate(
        self, patches: Patches, text_embedding: Float[Tensor, "N D"]
    ) -> Float[Tensor, "B N h w"]:
        """The image-text correlation (Eq. 1) as logits: scaled and shifted by two learned numbers.

        The prompt generator does not see the difference, as it rescales every map.
        """
        return self.logit_scale * correlation_map(patches.joint, text_embedding) + self.logit_shift

    def _at_sam_width(self, patches: Patches) -> Float[Tensor, "B h w S"]:
        """What SAM's blocks see of the picture, at SAM's width and scale (note 9)."""
        return rearrange(self.sam_norm(self.to_sam_width(patches.sam_input)), "B S h w -> B h w S")

    def _entering_state(self, names: _Names, class_chunk: int | None) -> Float[Tensor, "B N h w C"]:
        """The class states of the block before, or new ones of the last map (note 12)."""
        if names.state is None or self.config.state == "scalar":
            return class_state(self.embed, names.evidence[:, :, None], class_chunk)
        return names.state

    def _entering_appearance(
        self, appearance: list[Float[Tensor, "B h w S"]]
    ) -> Float[Tensor, "B h w S"]:
        """The appearance that a block gets: that of the one before, or the picture's (note 11)."""
        return appearance[-1] if self.config.appearance == "chain" else appearance[0]

    def _run(self, block: nn.Module, *arguments: Any) -> BlockAnswer:
        """What a block says; in training computed twice where memory is short."""
        if not (self.gradient_checkpointing and self.training):
            return block(*arguments)
        return checkpoint(block, *arguments, use_reentrant=False, context_fn=_same_attention)

    def _with_residual(
        self, logits: Float[Tensor, "B N _ _"], evidence: Float[Tensor, "B N h w"]
    ) -> Float[Tensor, "B N _ _"]:
        """The logits, with the last map where the settings want a residual (note 25)."""
        if not self.config.correlation_residual:
            return logits
        return logits + resized(evidence, (logits.shape[2], logits.shape[3]))


def _with_masks(
    correlation: Float[Tensor, "B N h w"], drawn: Float[Tensor, "B N h w"] | None
) -> Float[Tensor, "B N h w"]:
    """The correlation, half and half with what SAM's masks draw where there are any (note 7)."""
    if drawn is None:
        return correlation
    return torch.lerp(correlation, drawn.to(correlation), _MASK_SHARE)


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
