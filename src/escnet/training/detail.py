"""The detail branch trained behind a finished network (docs/paper-notes.md, note 29).

Everything else stays as it is. Parts of the pictures are shown; the network's logits of the same
parts are cut out of those of the whole picture, and the branch learns what to add to them.

Sizes: n class names of a picture, M texts, D joint space, V the ViT's layers, s side of a view.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from escnet.data.folder import FolderDataset
from escnet.errors import ConfigError
from escnet.mini.detail import DetailBranch, DetailLogits
from escnet.mini.network import Mini
from escnet.training.config import DataSection, TrainingSection
from escnet.training.detail_content import DetailContent, disturbed, pasted
from escnet.training.examples import ExampleSource, Views, check_sources
from escnet.training.finished import FinishedNetwork
from escnet.training.frozen_towers import groups_by_kind, identity_of
from escnet.training.loss import partial_label_loss
from escnet.training.task import Batches, ParameterGroups, Portion, Share
from escnet.training.text_space import blurred

_BRANCH, _NET = "branch", "tower"  # kinds of rate
_PIXELS_PER_LABEL = 2  # the branch's own grid
_NOISE = 0.3  # length of what blurs a text embedding of length 1, for words never met


class DetailParts(NamedTuple):
    """The two halves of a network's detail: of pictures, and of class names."""

    branch: DetailBranch
    logits: DetailLogits


def detail_parts(network: Mini) -> DetailParts:
    """Both halves.

    Raises:
        ConfigError: If the network has no detail.
    """
    vision = network.vision
    if vision.detail is None or network.detail is None:
        raise ConfigError("data.detail trains a part that is off: set model.settings.detail = true")
    return DetailParts(vision.detail, network.detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailData:
    """What is shown, and what it is called.

    Attributes:
        dataset: The pictures.
        embedding: Text embedding of every text that stands for a class name.
        wordings: For each of the dataset's class names its rows in `embedding`, its own first.
        section: The recipe's settings of the data.
        cache: Where the finished network's answers are kept.
    """

    dataset: FolderDataset
    embedding: Float[Tensor, "M D"]
    wordings: Sequence[Sequence[int]]
    section: DataSection
    cache: Path


class DetailTask:
    """The branch's training; see `escnet.training.task.Task`.

    Args:
        network: Of the built-in model's kind, with a detail; where that is untrained it starts from
            the tower's convolutional net.
        data: What it is trained on.
        training: The schedule.

    Attributes:
        data: The same.
        finished: What the rest of the network says of a picture.

    Raises:
        ConfigError: If the network has no detail, or a setting does not fit the data.
        DatasetError: If the data are not what they must be.
        OutputError: If nothing can be written to the cache.
    """

    def __init__(self, network: Mini, data: DetailData, training: TrainingSection) -> None:
        section = data.section
        detail, views = section.detail, section.views
        if detail is None or views is None:  # which a recipe is refused for
            raise RuntimeError("no settings for the detail")
        self._harder = data.dataset.sources if detail.harder is None else detail.harder
        check_sources("data.detail.harder", self._harder, data.dataset)
        parts = detail_parts(network)
        vision = network.vision
        if not parts.branch.is_begun:
            parts.branch.begin_fit(vision.net)
        parts.branch.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network = network
        self.num_steps = training.steps
        self.divides = training.batch_size
        self.groups = detail_groups(network, training)
        self.loss = DetailLoss(network, training)
        self.data, self._training, self._detail = data, training, detail
        self._patch_size = network.config.patch_size
        self.finished = FinishedNetwork(
            network,
            data.embedding,
            data.wordings,
            most_names=detail.most_names,
            folder=data.cache,
        )
        self._examples = ExampleSource(
            data.dataset,
            side=detail.side // _PIXELS_PER_LABEL,
            source_weights=section.source_weights,
            withheld=section.withheld,
            rarity=section.rarity,
            views=Views(settings=views, side=detail.side),
        )

    def identity(self) -> Mapping[str, Any]:
        """The network, its frozen weights, and the pictures."""
        return identity_of(self.network, self.groups, self.data.dataset)

    def phase_of(self, step: int) -> tuple[str, int, int]:
        """There is one."""
        del step
        return "detail", 0, self.num_steps

    def begin(self, step: int) -> None:
        """The norms of all nets stay as they are."""
        del step
        self.network.eval()

    def rate_factors(self, step: int) -> Mapping[str, float]:
        """The branch's net, which was trained before, learns more slowly."""
        del step
        return {_BRANCH: 1.0, _NET: self._training.tower_rate}

    def finish(self) -> None:
        """Make what the branch adds 0 on average over all class names, then less for rare ones.

        What is learnt of a name from few pictures does not hold for others. So where the recipe
        says how many are enough such a name keeps only a share of what it gains, and one that no
        picture shows nothing.
        """
        logits, wordings, detail = (
            detail_parts(self.network).logits,
            self.data.wordings,
            self._detail,
        )
        device = logits.query.weight.device
        logits.centre(self.data.embedding[[rows[0] for rows in wordings]].to(device))
        share = np.full(len(wordings), detail.most_kept)
        if detail.enough_pictures:
            share *= (self._examples.num_pictures() / detail.enough_pictures).clip(max=1.0)
        if (share == 1.0).all():
            return
        rows = np.concatenate(wordings).astype(int)
        of_row = torch.from_numpy(np.repeat(share, [len(own) for own in wordings])).float()
        logits.weaken(self.data.embedding[rows].to(device), of_row.to(device))

    def batches(self, start: int, share: Share) -> Batches:
        """One portion a picture."""
        size = self._training.batch_size
        for step in range(start, self.num_steps):
            yield [
                Portion(place, self._content(step, place, share.device)) for place in share.of(size)
            ]

    def _content(self, step: int, place: int, device: torch.device) -> DetailContent:
        random = np.random.default_rng([self._training.seed, step, place])
        content, source = self._part(random)
        if source in self._harder:
            if random.random() < self._detail.pasted:
                content = pasted(content, self._part(random, source)[0], random)
            if random.random() < self._detail.disturbed:
                content = replace(content, logits=disturbed(content.logits, random))
        return content.on(device)

    def _part(
        self, random: np.random.Generator, source: str | None = None
    ) -> tuple[DetailContent, str]:
        """A part of a picture, and of which source that is."""
        example = self._examples.draw(random, None, source)
        finished = self.finished.of(example.item, example.names)
        example = example.of_names(np.flatnonzero(np.isin(example.names, finished.names)))
        image = cast("Tensor", example.image)
        grid, part = self._detail.side // self._patch_size, example.part
        content = DetailContent(
            names=finished.names,
            image=image,
            target=example.target,
            logits=part.of(finished.logits, example.target.shape[0]),
            vit=part.of(finished.vit, grid),
            joint=part.of(finished.joint, grid),
            shift=finished.shift,
            text=self.data.embedding[finished.rows],
            share=1 / self._training.batch_size,
        )
        return content, example.item.source


class DetailLoss(nn.Module):
    """From a part of a picture to a loss.

    The binary cross-entropy is of the logits themselves, so that a confidence keeps its meaning.
    Where names compete, in the cross-entropy and the overlap, the share prior has its say, nearly
    as it will when pixels are labelled: here the shares are those that the finished network's own
    logits give to the whole picture.

    Args:
        network: With a detail.
        training: Weights of the parts of the loss.
    """

    def __init__(self, network: Mini, training: TrainingSection) -> None:
        super().__init__()
        self.network = network
        self._training = training

    def forward(self, content: DetailContent) -> Float[Tensor, ""]:
        """The part of the step's loss that this picture has."""
        vision = self.network.vision
        image = content.image[None].contiguous(memory_format=torch.channels_last)
        vit, joint = (
            F.dropout2d(maps[None], self._training.dropout) for maps in (content.vit, content.joint)
        )
        pixel = vision.look_closely(image, vit, joint)
        text = blurred(content.text, _NOISE)
        with torch.autocast(image.device.type, enabled=False):
            gain = detail_parts(self.network).logits(pixel.float(), text)[0]
            logits = content.logits + gain
            loss = partial_label_loss(
                logits,
                content.target,
                binary_weight=self._training.binary_weight,
                cross_weight=0.0,
            ) + partial_label_loss(
                logits + content.shift[:, None, None],
                content.target,
                binary_weight=0.0,
                cross_weight=self._training.cross_weight,
                balance=self._training.balance,
                overlap_weight=self._training.overlap_weight,
            )
        return loss * content.share


def detail_groups(network: Mini, training: TrainingSection) -> ParameterGroups:
    """The detail's parameters by kind of rate and weight decay; everything else is frozen here.

    Args:
        network: With a detail.
        training: The schedule.
    """

    def kind_of(name: str) -> str | None:
        if name.startswith("vision.detail.net."):
            return _NET
        return _BRANCH if name.startswith(("vision.detail.", "detail.")) else None

    return groups_by_kind(network, kind_of, training.weight_decay)
