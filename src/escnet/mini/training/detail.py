"""The stage that trains the detail branch behind the network (docs/paper-notes.md, note 29).

Everything else stays as it is. Parts of the pictures are shown; the network's logits of the same
parts are cut out of those of the whole picture, and the branch learns what to add to them.

Sizes: n class names of a picture, M texts, D joint space.
"""

from dataclasses import replace
from itertools import count
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from escnet.errors import ConfigError
from escnet.mini.detail import DetailBranch, DetailLogits
from escnet.mini.network import Mini
from escnet.mini.training.coarse import CoarseNetwork
from escnet.mini.training.data import MiniData, check_sources
from escnet.mini.training.detail_part import DetailPart, disturbed, pasted
from escnet.mini.training.map_loss import summed_binary_loss
from escnet.mini.training.parameters import decay_of
from escnet.mini.training.recipe import DetailSection
from escnet.mini.training.text_space import with_noise
from escnet.mini.training.views import PartView, ReadPart
from escnet.training.broken_files import first_sound
from escnet.training.chance import Purpose, chance
from escnet.training.loss import cross_loss, overlap_loss
from escnet.training.processes import Share
from escnet.training.sampler import PictureIndex, Sampler
from escnet.training.stage import Batches, Microbatch, Stage, groups_by_kind
from escnet.training.targets import target_of_names

_BRANCH, _NET = "branch", "tower"  # kinds of rate
_PIXELS_PER_LABEL = 2  # the branch's own grid
_NOISE = 0.3  # length of what blurs a text embedding of length 1, for words never met
_PARTNERS = 5  # between the seeds of the samplers


class DetailStage(Stage):
    """The branch and its text maps; an untrained branch starts from the tower's convolutional net.

    Args:
        network: Of the built-in model's kind, with a detail.
        data: What it is trained on.
        section: The recipe's settings of the stage.
        seed: Of the stage.

    Raises:
        ConfigError: If the network has no detail, or a source is named that there is not.
    """

    name = "detail"

    def __init__(self, network: Mini, data: MiniData, section: DetailSection, *, seed: int) -> None:
        vision = network.vision
        if vision.detail is None or network.detail is None:
            raise ConfigError(
                "a stage trains the detail branch, which is off: set model.settings.detail = true"
            )
        self._network, self._data, self._seed = network, data, seed
        self._vision, self._branch, self._logits = vision, vision.detail, network.detail
        self.schedule = self._section = section
        self.rates = {_BRANCH: 1.0, _NET: section.tower_rate}
        self.groups = groups_by_kind(network, self._kind_of, decay_of(section.weight_decay))
        self._weights = data.weights_of(section.source_weights)
        if section.harder is not None:
            check_sources("harder", section.harder, data.sources)

    def _kind_of(self, name: str) -> str | None:
        if name.startswith("vision.detail.net."):
            return _NET if self._section.tower_rate else None
        return _BRANCH if name.startswith(("vision.detail.", "detail.")) else None

    def begin(self) -> "DetailLoss":
        """The loss; an untrained branch gets its first weights."""
        section, data = self._section, self._data
        if not self._branch.is_begun:
            self._branch.begin_fit(self._vision.net)
        self._branch.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        text = self._network.text
        with torch.no_grad():
            sentences = data.sentences.to(text.to_joint.weight.device)
            self._embedding = text.to_joint(sentences).cpu()
        self.coarse = CoarseNetwork(
            self._network,
            self._embedding,
            data.names,
            most_names=section.most_names,
            folder=data.cache / "coarse",
        )
        self._read = ReadPart(section.views, section.side, section.side // _PIXELS_PER_LABEL)
        self._feed = data.feed(
            self._read,
            source_weights=section.source_weights,
            rarity=section.rarity,
            seed=self._seed,
        )
        self._partners = [
            Sampler([len(source.pictures)], [1.0], self._seed + _PARTNERS)
            for source in data.sources.sources
        ]
        return DetailLoss(self._network, self._branch, self._logits, section)

    def set_mode(self) -> None:
        """The norms of all nets stay as they are."""
        self._network.eval()

    def batches(self, start: int, share: Share) -> Batches:
        """One microbatch a picture."""
        places = share.of(self.schedule.batch_size)
        for examples in self._feed.batches(share.numbers(self.schedule, start)):
            yield [
                Microbatch(place, self._batch(one.place, one.view, one.number).on(share.device))
                for place, one in zip(places, examples, strict=True)
            ]

    def _batch(self, place: PictureIndex, view: PartView, number: int) -> DetailPart:
        """A part, perhaps made harder."""
        section = self._section
        random = chance(self._seed, Purpose.HARDER, number)
        part = self._part(place, view)
        source = self._data.sources.sources[place.source]
        if section.harder is None or source.name in section.harder:
            if random.random() < section.pasted:
                part = pasted(part, self._partner(place.source, number, random), random)
            if random.random() < section.disturbed:
                part = replace(part, logits=disturbed(part.logits, random))
        return part

    def _partner(self, source: int, number: int, random: np.random.Generator) -> DetailPart:
        """A part of another picture of the same source."""
        own, sampler = self._data.sources.sources[source], self._partners[source]
        row, view, _ = first_sound(
            (sampler.place_of(number, attempt).row for attempt in count()),
            lambda row: self._read(own, row, random),
        )
        return self._part(PictureIndex(source, row), view)

    def _part(self, place: PictureIndex, view: PartView) -> DetailPart:
        answer = self.coarse.of(self._data.sources.sources[place.source], place.row)
        grid = self._section.side // self._network.config.patch_size
        target = target_of_names(view.target, answer.names, len(self._data.sources.names))
        return DetailPart(
            names=answer.names,
            image=cast("Tensor", view.image)[0],
            target=target,
            logits=view.part.of(answer.logits, target.shape[0]),
            vit=view.part.of(answer.vit, grid),
            joint=view.part.of(answer.joint, grid),
            shift=answer.shift,
            text=self._embedding[answer.rows],
            share=1 / self._section.batch_size,
        )

    def finish(self) -> None:
        """Make what the branch adds 0 on average over all class names, then less for rare ones.

        What is learnt of a name from few pictures does not hold for others. So where the recipe
        says how many are enough such a name keeps only a share of what it gains, and one that no
        picture shows nothing.
        """
        wordings, section = self._data.names.wordings, self._section
        device = self._logits.query.weight.device
        self._logits.centre(self._embedding[[rows[0] for rows in wordings]].to(device))
        share = np.full(len(wordings), section.most_kept)
        if section.enough_pictures:
            share *= (self._num_pictures() / section.enough_pictures).clip(max=1.0)
        if (share == 1.0).all():
            return
        rows = np.concatenate(wordings).astype(int)
        of_row = torch.from_numpy(np.repeat(share, [len(own) for own in wordings])).float()
        self._logits.weaken(self._embedding[rows].to(device), of_row.to(device))

    def _num_pictures(self) -> np.ndarray:
        """Of how many of the pictures that are drawn each of the class names has pixels."""
        number = np.zeros(len(self._data.sources.names), np.int64)
        for source, weight in zip(self._data.sources.sources, self._weights, strict=True):
            if weight:
                number[: source.presence.shape[1]] += source.presence.sum(axis=0)
        return number


class DetailLoss(nn.Module):
    """From a part of a picture to a loss.

    The binary cross-entropy is of the logits themselves, so that a confidence keeps its meaning.
    Where names compete, in the cross-entropy and the overlap, the share prior has its say, nearly
    as it will when pixels are labelled: here the shares are those that the network's own logits
    give to the whole picture.

    Args:
        network: With a detail.
        branch: Its half of pictures.
        logits: Its half of class names.
        section: Weights of the parts of the loss.
    """

    def __init__(
        self, network: Mini, branch: DetailBranch, logits: DetailLogits, section: DetailSection
    ) -> None:
        super().__init__()
        self.branch, self.logits = branch, logits
        self._network = [network]  # in a list: what else it has is not this module's
        self._section = section

    def forward(self, part: DetailPart) -> Float[Tensor, ""]:
        """The part of the step's loss that this picture has."""
        vision = self._network[0].vision
        image = part.image[None].contiguous(memory_format=torch.channels_last)
        vit, joint = (
            F.dropout2d(maps[None], self._section.dropout) for maps in (part.vit, part.joint)
        )
        pixel = vision.look_closely(image, vit, joint)
        text, weights = with_noise(part.text, _NOISE), self._section
        with torch.autocast(image.device.type, enabled=False):
            logits = part.logits + self.logits(pixel.float(), text[None])[0]
            logits, target = logits[None], part.target[None]
            shifted = logits + part.shift[:, None, None]
            loss = weights.binary_weight * summed_binary_loss(logits, target)
            loss = loss + weights.cross_weight * cross_loss(shifted, target)
            loss = loss + weights.overlap_weight * overlap_loss(shifted, target)
        return loss[0] * part.share
