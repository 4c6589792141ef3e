"""The built-in model's network: ESC-Net on towers of its own, its logits refined.

Sizes: B pictures, N class names, D joint space.
"""

from jaxtyping import Float
from torch import Tensor

from escnet.inference.names.glued_words import WORDS_FILE
from escnet.mini.config import MiniConfig
from escnet.mini.detail import DetailLogits
from escnet.mini.presence import Presence, presence_gain
from escnet.mini.text import SentenceText
from escnet.mini.upsampling import GuidedUpsampling
from escnet.mini.vision import MiniPatches, PairedVision
from escnet.model.escnet import EscNet
from escnet.towers.patches import Patches
from escnet.towers.tower import Towers


class Mini(EscNet):
    """ESC-Net with two image nets, a sentence encoder, and three parts behind the decoder."""

    config_class = MiniConfig
    config: MiniConfig
    base_model_prefix = "mini"
    tokenizer_files = (*EscNet.tokenizer_files, WORDS_FILE)
    vision: PairedVision
    text: SentenceText

    def __init__(self, config: MiniConfig) -> None:
        vision = PairedVision(
            config.vision_config,
            layers=config.layers,
            joint_dim=config.joint_dim,
            head_dim=config.head_dim,
            patch_size=config.patch_size,
            has_detail=config.detail,
            gives_inner=config.sam_input == "tower",
        )
        super().__init__(
            config, Towers(vision, SentenceText(config.text_config, joint_dim=config.joint_dim))
        )
        self.upsampling: GuidedUpsampling | None = None
        if config.upsampling == "guided":
            self.upsampling = GuidedUpsampling(
                fine_channels=vision.edge_channels, coarse_channels=vision.skip_channels[1]
            )
        self.presence: Presence | None = None
        if config.presence:
            self.presence = Presence(
                summary_dim=vision.summary_channels, joint_dim=config.joint_dim
            )
        self.detail = DetailLogits(joint_dim=config.joint_dim) if config.detail else None
        self.post_init()

    def likely_logits(
        self,
        evidence: Float[Tensor, "B N h w"],
        patches: Patches,
        text_embedding: Float[Tensor, "#B N D"],
    ) -> Float[Tensor, "B N h w"]:
        """The maps, less what the picture does not seem to show.

        Raises:
            TypeError: If the patches are another tower's.
        """
        if self.presence is None:
            return evidence
        presence = self.presence(_own(patches).summary, text_embedding)
        return evidence + presence_gain(presence)[..., None, None]

    def refine_logits(
        self,
        logits: Float[Tensor, "B N _ _"],
        patches: Patches,
        text_embedding: Float[Tensor, "#B N D"],
        class_chunk: int | None,
    ) -> Float[Tensor, "B N _ _"]:
        """Enlarged along edges, less what the picture does not seem to show, and with detail.

        Raises:
            TypeError: If the patches are another tower's.
        """
        patches = _own(patches)
        if self.upsampling is not None:
            logits = self.upsampling(logits, patches.edges, patches.skips[1], class_chunk)
        if self.presence is not None:
            presence = self.presence(patches.summary, text_embedding)
            logits = logits + presence_gain(presence)[..., None, None]
        if self.detail is not None and patches.detail is not None:
            logits = self.detail.add_to(logits, patches.detail, text_embedding, class_chunk)
        return logits


def _own(patches: Patches) -> MiniPatches:
    if not isinstance(patches, MiniPatches):
        raise TypeError("the patches are not of this network's own image side")
    return patches
