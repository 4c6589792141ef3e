"""CAT-Seg: correlation refined by aggregation (Cho et al., CVPR 2024, arXiv:2303.11797; Fig. 1b).

The structure that ESC-Net is compared with, and whose published weights it can load
(`catseg/conversion.py`). Towers, dense read-out and correlation are those of ESC-Net.

Sizes: B pictures, N class names, P templates, M names kept for a picture, D joint space, C hidden
width, A guidance width, H x W pixels, h x w patches.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from escnet.catseg.aggregation import AggregationLayer
from escnet.catseg.config import CatSegConfig
from escnet.catseg.decoder import CatSegDecoder
from escnet.model.correlation import class_state, correlation_map
from escnet.model.pruning import Rejection, likely_names, of_names
from escnet.towers.clip import ClipText, ClipVision
from escnet.towers.network import Network
from escnet.towers.patches import Patches

_DROPPED = -100.0  # logit of a name that was not kept


class CatSegPrediction(NamedTuple):
    """The logits of the names that are kept, and which names those are.

    Attributes:
        logits: Of the names kept for each picture.
        kept: Which these are, in increasing order.
    """

    logits: Float[Tensor, "B M _ _"]
    kept: Int[Tensor, "B M"]


class CatSeg(Network):
    """Image and text embeddings in, a logit for every class name and place out."""

    config_class = CatSegConfig
    base_model_prefix = "catseg"

    def __init__(self, config: CatSegConfig) -> None:
        super().__init__(config)
        self.vision = ClipVision(config.vision_config, taps=(config.taps[0], config.taps[1]))
        self.text = ClipText(config.text_config)
        kernel = config.embed_kernel
        self.embed = nn.Conv2d(config.num_templates, config.hidden_dim, kernel, padding=kernel // 2)
        self.to_guidance = nn.Conv2d(config.joint_dim, config.guidance_dim, 3, padding=1)
        self.to_text_guidance = nn.Linear(config.joint_dim, config.guidance_dim)
        self.layers = nn.ModuleList(
            AggregationLayer(
                hidden_dim=config.hidden_dim,
                guidance_dim=config.guidance_dim,
                num_heads=config.num_heads,
                window=config.window,
                ffn_ratio=config.ffn_ratio,
                pooling=(config.pooling, config.train_pooling),
                pad_to=config.max_classes,
            )
            for _ in range(config.num_layers)
        )
        self.decoder = CatSegDecoder(
            hidden_dim=config.hidden_dim,
            tower_dim=self.vision.skip_channels[0],
            skip_channels=(config.skip_channels[0], config.skip_channels[1]),
            skip_dims=(config.skip_dims[0], config.skip_dims[1]),
            dims=(config.decoder_dims[0], config.decoder_dims[1]),
        )
        self.post_init()

    def forward(
        self,
        image: Float[Tensor, "B 3 H W"],
        text_embedding: Float[Tensor, "N *P D"],
        class_chunk: int | None = None,
    ) -> Float[Tensor, "B N _ _"]:
        """Logits of every class name on a grid four times as fine as the patches.

        Args:
            image: Pixels in [0, 1], at the size that the tower sees; its normalisation happens
                inside.
            text_embedding: One embedding for each class name, or one for each of P templates.
            class_chunk: Class names worked on at a time, which bounds the memory and does not
                change the result; None for all.

        Returns:
            Names beyond `max_classes` that were dropped for a picture get -100 in it.
        """
        prediction = self.segment(self.vision(image), text_embedding, class_chunk)
        B, M, H, W = prediction.logits.shape
        N = text_embedding.shape[0]
        if M == N:
            return prediction.logits
        logits = prediction.logits.new_full((B, N, H, W), _DROPPED)
        where = prediction.kept[:, :, None, None].expand(-1, -1, H, W)
        return logits.scatter(1, where, prediction.logits)

    def first_maps(
        self, patches: Patches, text_embedding: Float[Tensor, "N D"]
    ) -> Float[Tensor, "B N h w"]:
        """The correlation, which rejection looks at."""
        return correlation_map(patches.joint, text_embedding)

    def segment(
        self,
        patches: Patches,
        text_embedding: Float[Tensor, "N *P D"],
        class_chunk: int | None = None,
        *,
        rejection: Rejection | None = None,
    ) -> CatSegPrediction:
        """The network after its towers.

        Args:
            patches: What the vision tower gave, now or earlier.
            text_embedding: As in `forward`.
            class_chunk: As in `forward`.
            rejection: Which names go on after a look at the correlation; None for CAT-Seg's own
                rule. The aggregation has no maps to look at before its end.
        """
        N, D = text_embedding.shape[0], text_embedding.shape[-1]
        text = F.normalize(text_embedding.reshape(N, -1, D), dim=-1)  # (N, P, D)
        correlation = correlation_map(patches.joint, text.flatten(0, 1))
        correlation = correlation.unflatten(1, (N, -1))  # (B, N, P, h, w)
        maps = correlation.amax(dim=2)  # (B, N, h, w)
        every = torch.arange(N, device=maps.device).expand(maps.shape[0], -1)
        if rejection is None:
            kept = likely_names(maps.amax(dim=(2, 3)), self.config.max_classes)  # (B, M)
        else:
            kept = every if rejection.is_idle(0, N) else rejection.survivors(0, maps, every)
        if kept is not every:
            correlation = of_names(correlation, kept)
        state = class_state(self.embed, correlation, class_chunk)  # (B, M, h, w, C)
        guidance = F.relu(self.to_guidance(patches.joint))
        guidance = rearrange(guidance, "B A h w -> B h w A")
        of_text = F.relu(self.to_text_guidance(F.normalize(text.mean(dim=1), dim=-1)))  # (N, A)
        for layer in self.layers:
            state = layer(state, guidance, of_text[kept], class_chunk)
        return CatSegPrediction(self.decoder(state, patches.skips, class_chunk), kept)
