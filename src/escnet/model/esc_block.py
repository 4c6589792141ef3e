"""ESC-Block: pseudo prompts, SAM block, fusion (Sec. 3.1, Fig. 2).

Sizes: B pictures, N class names, C hidden width, S SAM's width, D joint space, h x w patches.
"""

from typing import NamedTuple

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from escnet.model.correlation import class_state
from escnet.model.fusion import Fusion
from escnet.model.prompt_encoder import PromptEncoder
from escnet.model.pseudo_prompt import PseudoPromptGenerator
from escnet.model.sam_block import SamBlock


class BlockAnswer(NamedTuple):
    """What a block leaves to the next one.

    Attributes:
        state: Class states, refined.
        appearance: Refined by SAM, or as it was.
        drawn: Each class's map as its masks draw it; None where no masks are read off SAM.
    """

    state: Float[Tensor, "B N h w C"]
    appearance: Float[Tensor, "B h w S"]
    drawn: Float[Tensor, "B N h w"] | None


class EscBlock(nn.Module):
    """One round: the maps prompt SAM, its appearance guides the class states.

    Args:
        generator: Reads the prompts off the maps.
        sam: None leaves the appearance as it is and needs no prompts (Table 2a).
        fusion: Vision and language attention.
        embed_mask: From a class's map as its masks draw it to C channels, where SAM has masks.
    """

    def __init__(
        self,
        generator: PseudoPromptGenerator,
        sam: SamBlock | None,
        fusion: Fusion,
        embed_mask: nn.Conv2d | None = None,
    ) -> None:
        super().__init__()
        self.generator = generator
        self.sam = sam
        self.fusion = fusion
        self.embed_mask = embed_mask

    def forward(
        self,
        state: Float[Tensor, "B N h w C"],
        appearance: Float[Tensor, "B h w S"],
        evidence: Float[Tensor, "B N h w"],
        text_embedding: Float[Tensor, "#B N D"],
        prompt_encoder: PromptEncoder | None,
        class_chunk: int | None = None,
        with_sam: bool = True,
        listed: Float[Tensor, "#B _ D"] | None = None,
    ) -> BlockAnswer:
        """The refined class states, the refined appearance, and what the masks draw.

        Args:
            state: Class states, as the block before left them.
            appearance: What the block before made of the image embedding, or that itself.
            evidence: One map for each class, which the prompts are read off.
            text_embedding: One for each class name.
            prompt_encoder: SAM's, the same for all blocks; None where there is no SAM block.
            class_chunk: Classes worked on at a time; None for all.
            with_sam: False drops SAM's answer to the prompts, to show what it is good for: the
                SAM block then passes on its residual alone.
            listed: As in `Fusion.forward`.
        """
        drawn = None
        if self.sam is not None and not with_sam:
            appearance = self.sam.keep(appearance)
        elif self.sam is not None and prompt_encoder is not None:
            prompt = self.generator(evidence)
            answer = self.sam(
                rearrange(appearance, "B h w S -> B (h w) S"),
                prompt,
                prompt_encoder,
                text_embedding,
                evidence,
                class_chunk,
            )
            appearance = answer.appearance.unflatten(1, appearance.shape[1:3])
            drawn = answer.drawn
            if self.embed_mask is not None and drawn is not None:
                state = state + class_state(self.embed_mask, drawn[:, :, None], class_chunk)
        state = self.fusion(state, appearance, text_embedding, class_chunk, listed)
        return BlockAnswer(state, appearance, drawn)
