"""SAM block: every class's prompts refine the image embedding (Sec. 3.4, Eq. 2).

The prompts of each class go through SAM's two-way transformer together with the patches; the
classes' refined patches are merged into one appearance, the same for all. The merge is a sum over
classes, so classes can be worked off in chunks without changing the result. With a mask head, each
class's own mask is read off as well.

Sizes: B pictures, N class names, K regions, T tokens, S SAM's width, D the joint space,
h x w patches, P = h * w.
"""

from typing import Literal, NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from escnet.model.chunks import chunk_in_cache, class_chunks
from escnet.model.mask_head import NUM_OUTPUT_TOKENS, MaskHead, drawn_by_masks
from escnet.model.prompt_encoder import MaskEmbedding, PromptEncoder
from escnet.model.pseudo_prompt import PseudoPrompt
from escnet.model.two_way import SharedPatches, TwoWayTransformer

Merge = Literal["mean", "evidence"]
PromptKind = Literal["point", "box", "mask"]

# Of SAM's image embeddings, over the channels of a patch. SAM's prompts are made for this scale: a
# mask's embedding deviates by 0.02 (docs/paper-notes.md, note 9).
IMAGE_DEVIATION = 0.085
_FIRST_CHANGE = 0.5  # how much of the refined patches the appearance takes up at the start


class SamAnswer(NamedTuple):
    """What SAM makes of the prompts of all classes.

    Attributes:
        appearance: Refined, the same for all classes.
        drawn: Each class's map as its masks draw it; None without a mask head.
    """

    appearance: Float[Tensor, "B P S"]
    drawn: Float[Tensor, "B N h w"] | None


class SamBlock(nn.Module):
    """The appearance refined by the pseudo prompts of all classes.

    Args:
        two_way: One or two layers of SAM's transformer.
        mask_head: Reads a mask off for each class; None merges the patches alone (note 7).
        width: S.
        prompts: Which kinds of prompts are used (Table 3).
        merge: How classes are weighted (docs/paper-notes.md, note 10): all alike, or by a softmax
            over the classes' highest correlations.
        text_dim: D if the text embedding joins the tokens (note 8), else None.
    """

    def __init__(
        self,
        two_way: TwoWayTransformer,
        mask_head: MaskHead | None = None,
        *,
        width: int,
        prompts: tuple[PromptKind, ...],
        merge: Merge,
        text_dim: int | None = None,
    ) -> None:
        super().__init__()
        self.prompts = prompts
        self.merge = merge
        self.two_way = two_way
        self.mask_head = mask_head
        self.output_tokens = nn.Parameter(torch.randn(NUM_OUTPUT_TOKENS, width))
        self.text_token = None if text_dim is None else nn.Linear(text_dim, width)
        self.keep = nn.Linear(width, width, bias=False)
        self.take = nn.Linear(width, width, bias=False)
        nn.init.eye_(self.keep.weight)
        nn.init.eye_(self.take.weight)
        with torch.no_grad():
            self.take.weight.mul_(_FIRST_CHANGE)

    def forward(
        self,
        appearance: Float[Tensor, "B P S"],
        prompt: PseudoPrompt,
        prompt_encoder: PromptEncoder,
        text_embedding: Float[Tensor, "#B N D"],
        evidence: Float[Tensor, "B N h w"],
        class_chunk: int | None = None,
    ) -> SamAnswer:
        """The refined appearance, and each class's map as its masks draw it.

        Args:
            appearance: The patches, in reading order.
            prompt: What the generator read off the classes' maps.
            prompt_encoder: SAM's.
            text_embedding: One for each class name.
            evidence: The maps that the prompts were read off, which pass no gradient: they weigh
                the classes in the merge "evidence", and the masks of a class.
            class_chunk: Classes worked on at a time; None for all.
        """
        N, h, w = evidence.shape[1:]
        evidence = evidence.detach()
        position = prompt_encoder.image_position(h, w)  # (P, S)
        has_mask = "mask" in self.prompts
        offset = prompt_encoder.mask_offset() if has_mask else prompt_encoder.no_mask()
        base = appearance + offset
        shared = self.two_way.share(base, position)
        peak = evidence.amax(dim=(2, 3))  # (B, N)
        weight = torch.full_like(peak, 1 / N) if self.merge == "mean" else peak.softmax(dim=1)
        drawn = []
        refined = torch.zeros_like(appearance)
        for chunk in class_chunks(N, chunk_in_cache(class_chunk, appearance.device)):
            code, basis = None, None
            if has_mask:
                dense = self._encode_masks(prompt.mask[:, chunk], prompt_encoder)
                code, basis = dense.code, dense.basis
            token = self._tokens(prompt, prompt_encoder, text_embedding, chunk)
            result = self.two_way(SharedPatches(base, code, basis), shared, token)
            image = result.image
            # (B, n, P, S) to (B, P, S)
            refined = refined + torch.einsum("bnps,bn->bps", image, weight[:, chunk].to(image))
            if self.mask_head is not None:
                logits = self.mask_head(result, token, position, (h, w))
                drawn.append(drawn_by_masks(logits, evidence[:, chunk]))
        appearance = self.keep(appearance) + self.take(refined)
        return SamAnswer(appearance, torch.cat(drawn, dim=1) if drawn else None)

    def _encode_masks(
        self, mask: Float[Tensor, "B n J _ _"], prompt_encoder: PromptEncoder
    ) -> MaskEmbedding:
        """Each class's dense prompt embedding; the mean over its masks where it has several.

        The last layer is linear, so the mean of the codes is the code of the mean.
        """
        B, n, J = mask.shape[:3]
        masks = prompt_encoder.encode_masks(rearrange(mask, "B n J H W -> (B n J) H W"))
        code = rearrange(masks.code, "(B n J) P M -> B n J P M", B=B, n=n, J=J).mean(dim=2)
        return MaskEmbedding(code, masks.basis, masks.offset)

    def _tokens(
        self,
        prompt: PseudoPrompt,
        prompt_encoder: PromptEncoder,
        text_embedding: Float[Tensor, "#B N D"],
        chunk: slice,
    ) -> Float[Tensor, "B n T S"]:
        """SAM's output tokens, then each class's sparse prompt embedding."""
        is_valid = prompt.is_valid[:, chunk]
        B, n = is_valid.shape[:2]
        tokens = [self.output_tokens.expand(B, n, -1, -1)]
        if "point" in self.prompts:
            tokens.append(prompt_encoder.encode_points(prompt.point_xy[:, chunk], is_valid))
            if "box" not in self.prompts:
                tokens.append(prompt_encoder.padding_token().expand(B, n, -1, -1))
        if "box" in self.prompts:
            tokens.append(prompt_encoder.encode_boxes(prompt.box_xyxy[:, chunk], is_valid))
        if self.text_token is not None:
            text = self.text_token(text_embedding[:, chunk])[:, :, None]
            tokens.append(text.expand(B, -1, -1, -1))
        return torch.cat([token.to(tokens[0].dtype) for token in tokens], dim=2)
