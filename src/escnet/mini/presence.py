"""Which class names a picture shows at all, judged by the whole of it.

A patch that could be a cup or a vase is a cup where the picture is one of a kitchen table. Here a
summary of the whole picture is compared with the class names, in the joint space, so that names
never trained have an answer, too; a name that is taken for absent loses logits everywhere. Not in
the paper; see docs/paper-notes.md, note 28.

Sizes: B pictures, N class names, D joint space, S channels of the summary.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

_FIRST_SCALE = 8.0
_SURELY_PRESENT, _MOSTLY_ABSENT = 12.0, -4.0  # shifts, before any look at pictures
_LARGEST_LOSS = 8.0  # of logits, so that no name is ruled out by the summary alone


class Presence(nn.Module):
    """A logit for each class name and picture.

    Until it is fitted, every name is taken for present, so that it changes nothing.

    Args:
        summary_dim: S.
        joint_dim: D.
    """

    def __init__(self, *, summary_dim: int, joint_dim: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(summary_dim, affine=False)
        self.to_joint = nn.Linear(summary_dim, joint_dim)
        self.shift = nn.Linear(joint_dim, 1)
        self.scale = nn.Parameter(torch.tensor(_FIRST_SCALE))
        for parameter in (*self.to_joint.parameters(), self.shift.weight):
            nn.init.zeros_(parameter)
        nn.init.constant_(self.shift.bias, _SURELY_PRESENT)

    @property
    def is_begun(self) -> bool:
        """Whether it was fitted; until then it changes nothing."""
        return bool(self.to_joint.weight.any())

    def begin_fit(self) -> None:
        """Random weights, from which a fit can start; most names are absent from most pictures."""
        self.to_joint.reset_parameters()
        self.shift.reset_parameters()
        nn.init.constant_(self.shift.bias, _MOSTLY_ABSENT)

    def forward(
        self, summary: Float[Tensor, "B S"], text_embedding: Float[Tensor, "#B N D"]
    ) -> Float[Tensor, "B N"]:
        """The logit that a picture shows a class name.

        Args:
            summary: Of the whole picture, as the tower gives it.
            text_embedding: One embedding for each class name, of any length.
        """
        text = F.normalize(text_embedding, dim=2)
        picture = F.normalize(self.to_joint(self.norm(summary)), dim=1)
        fit = torch.einsum("bd,bnd->bn", self.scale * picture, text)
        return fit + self.shift(text)[..., 0]


def presence_gain(presence: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
    """What the logits of a class name gain by its presence: the logarithm of its probability.

    It is never positive, and bounded.
    """
    return F.logsigmoid(presence).clamp(min=-_LARGEST_LOSS)
