"""The presence of class names in a whole picture, fitted to label maps behind a finished network.

What a label map shows is present, what its source annotates and it does not show is absent. The
rest of the network stays as it is, so every picture is summed up once.

Sizes: P pictures, S channels of a summary, M texts, D joint space, N class names.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from escnet.data.folder import FolderDataset
from escnet.data.label_map import read_label_map
from escnet.errors import ConfigError
from escnet.model.escnet import EscNet
from escnet.model.presence import Presence
from escnet.training.examples import shared_classes
from escnet.training.features import whole_views_read
from escnet.training.frozen_towers import worded
from escnet.weights.assemble import paired_towers

_DROPOUT, _WEIGHT_DECAY, _RATE = 0.7, 0.05, 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentNames:
    """What the pictures are known to show.

    Attributes:
        present: Whether a picture's label map shows the class name.
        is_known: Whether it does, or its source annotates the name.
    """

    present: Bool[np.ndarray, "P N"]
    is_known: Bool[np.ndarray, "P N"]


def shown_names(dataset: FolderDataset) -> PresentNames:
    """What the label maps of a folder say of whole pictures.

    Raises:
        DatasetError: If its sources do not share their N class names.
    """
    present = np.zeros((len(dataset), len(shared_classes(dataset))), bool)
    is_known = np.zeros_like(present)
    for row, item in enumerate(dataset):
        labels = np.unique(read_label_map(item.mask_path)).astype(np.int64)
        unused = (dataset.ignore_index, dataset.background_index)
        present[row, labels[~np.isin(labels, unused)]] = True
        is_known[row, dataset.source(item.source).annotated] = True
    return PresentNames(present=present, is_known=is_known | present)


@torch.inference_mode()
def summaries(
    network: EscNet, dataset: FolderDataset, tell: Callable[[int], None] = lambda _: None
) -> Float[Tensor, "P S"]:
    """What the tower makes of every whole picture.

    Args:
        network: Of the built-in model's kind.
        dataset: The pictures.
        tell: Called with the number of pictures that are done.

    Raises:
        ImageError: If a picture cannot be read.
    """
    vision, _ = paired_towers(network)
    done, parts = 0, []
    for maps in whole_views_read(vision, list(dataset), network.config.image_size):
        with torch.autocast("cpu", torch.bfloat16):
            parts.append(cast("Tensor", vision.project(maps).summary).float())
        done += len(parts[-1])
        tell(done)
    return torch.cat(parts).clone()


def fit_presence(
    network: EscNet,
    summary: Float[Tensor, "P S"],
    shown: PresentNames,
    texts: Float[Tensor, "M D"],
    wordings: Sequence[Sequence[int]],
    *,
    passes: int = 12,
    batch_size: int = 64,
    seed: int = 0,
) -> float:
    """Fit the network's `presence` in place, which starts anew.

    Args:
        network: With a `presence`.
        summary: Of every picture.
        shown: What the pictures are known to show.
        texts: Text embeddings of all texts that may stand for a name.
        wordings: For each of the N class names its rows in `texts`, its own first.
        passes: Over the pictures.
        batch_size: Pictures for each step.
        seed: Of everything that is random.

    Returns:
        The loss of the last tenth of the steps: binary cross-entropy, summed over the names.

    Raises:
        ConfigError: If the network has no `presence`.
    """
    if network.presence is None:
        raise ConfigError("the network has no presence: set model.settings.presence")
    random = np.random.default_rng(seed)
    mean = summary.mean(dim=0)
    present = torch.from_numpy(shown.present).float()
    is_known = torch.from_numpy(shown.is_known).float()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        fresh = Presence(summary_dim=summary.shape[1], joint_dim=texts.shape[1])
        fresh.begin_fit()
        fresh.norm.running_mean = mean
        fresh.norm.running_var = summary.var(dim=0, correction=0)
        fresh.eval()  # its norm keeps the statistics of all pictures
        dropout = nn.Dropout(_DROPOUT)
        num_steps = max(2, passes * len(summary) // batch_size)
        optimiser = torch.optim.AdamW(fresh.parameters(), weight_decay=_WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=num_steps)
        losses = []
        for _ in range(num_steps):
            rows = random.integers(len(summary), size=batch_size)
            words = worded(np.arange(len(wordings)), wordings, random)
            seen = mean + dropout(summary[rows] - mean)  # what is left out counts as its mean
            loss = F.binary_cross_entropy_with_logits(
                fresh(seen, texts[words]),
                present[rows],
                weight=is_known[rows],
                reduction="sum",
            )
            loss = loss / batch_size
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
    network.presence.load_state_dict(fresh.state_dict())
    return float(np.mean(losses[-max(1, num_steps // 10) :]))
