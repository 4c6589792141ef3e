"""A branch for thin and small things, whose cost the class names do not add to.

The decoder works on every class by itself, so it has to be narrow, and the image nets are mostly
frozen: poles and people far away are lost. This branch sees the picture once for all classes: a
convolutional net of its own with a feature pyramid down to half the picture's resolution, told by
the rest of the network what there is in the picture, gives every place a pixel embedding. Its
product with a linear map of the class name's text embedding is added to the logits, so that names
never trained have an answer, too. As in BiSeNet, detail and meaning are seen apart (Yu et al.,
ECCV 2018); pixel and text embeddings meet as in LSeg (Li et al., ICLR 2022). Not in the paper; see
docs/paper-notes.md, note 29.

Sizes: B pictures, N class names, D joint space, V the ViT's layers, E pixel embedding, H x W
pixels.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from escnet.mini.efficientnet_lite import (
    EIGHTH_CHANNELS,
    HALF_CHANNELS,
    QUARTER_CHANNELS,
    SIXTEENTH_CHANNELS,
    EfficientNetTrunk,
)
from escnet.mini.ridge import ridge_weight
from escnet.model.chunks import class_chunks
from escnet.model.decoder import norm_groups
from escnet.towers.resize import resized

_NUM_STAGES = 5  # to stride 16; what is deeper, the rest of the network sees
_WIDTHS = (96, 96, 64, 32)  # of the pyramid, from stride 16 to stride 2
_PYRAMID = (SIXTEENTH_CHANNELS, EIGHTH_CHANNELS, QUARTER_CHANNELS, HALF_CHANNELS)
_PIXEL_DIM = 32  # E
_RIDGE = 1e-3  # against the squared length of one text, 1


class DetailBranch(nn.Module):
    """A picture to pixel embeddings.

    Args:
        vit_channels: V.
        joint_dim: D.
    """

    def __init__(self, *, vit_channels: int, joint_dim: int) -> None:
        super().__init__()
        self.net = EfficientNetTrunk(_NUM_STAGES)
        self.of_vit = nn.Conv2d(vit_channels, _WIDTHS[0], 1)
        self.of_joint = nn.Conv2d(joint_dim, _WIDTHS[0], 1, bias=False)
        self.laterals = nn.ModuleList(
            nn.Conv2d(channels, width, 1) for channels, width in zip(_PYRAMID, _WIDTHS, strict=True)
        )
        self.mix = _convolution(_WIDTHS[0], _WIDTHS[0])
        coarse, eighth, quarter, half = _WIDTHS
        self.stages = nn.ModuleList(
            [
                _convolution(coarse, eighth),
                nn.Sequential(_convolution(eighth, eighth), _convolution(eighth, quarter)),
                nn.Sequential(_convolution(quarter, quarter), _convolution(quarter, half)),
                nn.Sequential(nn.ReLU(), _convolution(half, half), _convolution(half, half)),
            ]
        )
        self.pixel = nn.Conv2d(_WIDTHS[-1], _PIXEL_DIM, 1)
        for parameter in self.pixel.parameters():
            nn.init.zeros_(parameter)

    @property
    def is_begun(self) -> bool:
        """Whether it was trained; until then it adds nothing to the logits."""
        return bool(self.pixel.weight.any())

    def begin_fit(self, net: EfficientNetTrunk) -> None:
        """Start from the trained net of the tower."""
        own, trained = self.net.state_dict(), net.state_dict()
        self.net.load_state_dict({name: trained[name] for name in own})

    def forward(
        self,
        image: Float[Tensor, "B 3 H W"],
        vit: Float[Tensor, "B V _ _"],
        joint: Float[Tensor, "B D _ _"],
    ) -> Float[Tensor, "B E _ _"]:
        """Pixel embeddings on a grid of half the picture's resolution.

        Args:
            image: Normalised as the net wants it.
            vit: The ViT's layers of the same part of the picture, normalised, on any grid.
            joint: Patch embeddings of it, on any grid, of any length.
        """
        half, quarter, eighth, _, sixteenth = self.net.stages(image)
        # of length sqrt(D), so that a channel is about as large as one of the ViT's
        unit = F.normalize(joint, dim=1) * joint.shape[1] ** 0.5
        x = resized(self.of_vit(vit) + self.of_joint(unit), _grid_of(sixteenth))
        x = F.relu(x + self.laterals[0](sixteenth))
        x = self.stages[0](x + self.mix(x))
        for lateral, stage, seen in zip(
            self.laterals[1:], self.stages[1:], (eighth, quarter, half), strict=True
        ):
            x = stage(resized(x, _grid_of(seen)) + lateral(seen))
        return self.pixel(x)


class DetailLogits(nn.Module):
    """What pixel embeddings say of class names.

    Args:
        joint_dim: D.
    """

    def __init__(self, *, joint_dim: int) -> None:
        super().__init__()
        self.query = nn.Linear(joint_dim, _PIXEL_DIM)
        self.shift = nn.Linear(joint_dim, 1)
        nn.init.normal_(self.query.weight)
        for parameter in (self.query.bias, *self.shift.parameters()):
            nn.init.zeros_(parameter)

    def forward(
        self, pixel: Float[Tensor, "B E H W"], text_embedding: Float[Tensor, "#B N D"]
    ) -> Float[Tensor, "B N H W"]:
        """What the logits of every class name gain at every place.

        Args:
            pixel: Pixel embeddings.
            text_embedding: One embedding for each class name, of any length.
        """
        text = F.normalize(text_embedding, dim=2)
        query = self.query(text) / _PIXEL_DIM**0.5
        return torch.einsum("bkyx,bnk->bnyx", pixel, query) + self.shift(text)[..., None]

    @torch.no_grad()
    def centre(self, text_embedding: Float[Tensor, "M D"]) -> None:
        """Shift everything by what these names gain on average, which is 0 at every place then.

        Every name loses the same at a place, so none wins where another did (but for the share
        prior); and a confidence keeps its level, below which a pixel is of none of the names.

        Args:
            text_embedding: Of M names, of any length.
        """
        mean = F.normalize(text_embedding, dim=1).mean(dim=0, keepdim=True)
        self.query.bias.sub_(self.query(mean)[0])
        self.shift.bias.sub_(self.shift(mean)[0])

    @torch.no_grad()
    def weaken(self, text_embedding: Float[Tensor, "M D"], share: Float[Tensor, " M"]) -> None:
        """Leave of what these texts gain at every place a share of each.

        Both linear maps are fitted anew by ridge regression, so that a text between them gains
        something between.

        Args:
            text_embedding: Of M texts, of any length.
            share: What is left, in [0, 1].
        """
        text = F.normalize(text_embedding, dim=1)
        gained = torch.cat([self.query(text), self.shift(text)], dim=1)
        known = torch.cat([text, torch.ones_like(text[:, :1])], dim=1)  # a bias is a weight, too
        wanted = gained.double() * share.double()[:, None]
        weight = ridge_weight(known.double(), wanted, _RIDGE)
        self.query.load_state_dict({"weight": weight[:-1, :-1], "bias": weight[:-1, -1]})
        self.shift.load_state_dict({"weight": weight[-1:, :-1], "bias": weight[-1:, -1]})

    def add_to(
        self,
        logits: Float[Tensor, "B N H W"],
        pixel: Float[Tensor, "B E _ _"],
        text_embedding: Float[Tensor, "#B N D"],
        class_chunk: int | None = None,
    ) -> Float[Tensor, "B N H W"]:
        """The logits with what they gain, some classes at a time.

        Args:
            logits: On any grid.
            pixel: As in `forward`.
            text_embedding: As in `forward`.
            class_chunk: Classes worked on at a time; None for all.
        """
        size = _grid_of(logits)
        parts = [
            logits[:, chunk] + resized(self(pixel, text_embedding[:, chunk]), size)
            for chunk in class_chunks(logits.shape[1], class_chunk)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _convolution(width: int, channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, channels, 3, padding=1, bias=False),
        nn.GroupNorm(norm_groups(channels), channels),
        nn.ReLU(),
    )


def _grid_of(x: Float[Tensor, "B _ h w"]) -> tuple[int, int]:
    return x.shape[2], x.shape[3]
