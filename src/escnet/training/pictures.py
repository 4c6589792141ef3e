"""Labelled pictures as a step sees them: drawn, read, augmented, loaded by other processes.

The number of a picture in the run decides everything about it, so that neither the number of
processes nor that of workers changes what is trained on.

Sizes: B pictures, s the network's side, c the side of the label map.
"""

import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from escnet.errors import EscnetError
from escnet.towers.resize import resized
from escnet.training.augmentation import augmented
from escnet.training.broken_files import BrokenFiles, first_sound
from escnet.training.data_config import AugmentationSection
from escnet.training.loss import UNKNOWN
from escnet.training.mixture import Mixture
from escnet.training.sources import Sources
from escnet.training.stopping import STOP_SIGNALS

_AUGMENTATION = 2  # a kind of chance, beside those of `mixture.py`


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledView:
    """One picture of a step.

    Attributes:
        number: In the run.
        place: Index of its source, and its index there.
        image: In [0, 1].
        target: For each pixel an index into the vocabulary, or a value of `escnet.training.loss`.
        broken: For the place of each picture that it replaces, what was wrong with it.
    """

    number: int
    place: tuple[int, int]
    image: Float[Tensor, "3 s s"]
    target: Int[Tensor, "c c"]
    broken: dict[tuple[int, int], str]


class LabelledPictures(Dataset[LabelledView]):
    """A run's series of pictures, by number.

    Args:
        sources: Where they come from.
        mixture: Which one comes when.
        augmentation: What is done to them.
        image_size: s.
        seed: Of the augmentation.
    """

    def __init__(
        self,
        sources: Sources,
        mixture: Mixture,
        augmentation: AugmentationSection,
        *,
        image_size: int,
        seed: int,
    ) -> None:
        self.sources = sources
        self._mixture = mixture
        self._augmentation = augmentation
        self._image_size = image_size
        self._seed = seed

    @property
    def num_pictures(self) -> int:
        """Of all sources."""
        return sum(len(source.pictures) for source in self.sources.sources)

    def __getitem__(self, number: int) -> LabelledView:
        """The picture of that number; a broken one is replaced by another of its source.

        Raises:
            DatasetError: If many in a row are broken.
        """
        drawn = (self._mixture.place_of(number, attempt) for attempt in count())
        place, (picture, labels), broken = first_sound(
            ((one.source, one.row), partial(self.sources.sources[one.source].read, one.row))
            for one in drawn
        )
        random = np.random.default_rng([self._seed, _AUGMENTATION, number])
        pixels, target = augmented(picture, labels, self._augmentation, random, beyond=UNKNOWN)
        return LabelledView(
            number=number,
            place=place,
            image=_as_seen(pixels, self._image_size),
            target=torch.from_numpy(target),
            broken=broken,
        )


def _as_seen(pixels: np.ndarray, side: int) -> Float[Tensor, "3 s s"]:
    image = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
    return resized(image[None], (side, side))[0].contiguous()


class PictureFeed:
    """Batches of pictures for one process, and how long it waited for them.

    Args:
        pictures: The run's series.
        workers: Processes that read them ahead; 0 reads in between.

    Attributes:
        broken: What was met of broken files.
        waited: Seconds spent waiting for pictures.
    """

    def __init__(self, pictures: LabelledPictures, workers: int) -> None:
        self._pictures = pictures
        self._workers = workers
        self.broken = BrokenFiles(pictures.num_pictures)
        self.waited = 0.0

    def batches(self, numbers: Sequence[Sequence[int]]) -> Iterator[list[LabelledView]]:
        """The pictures of these numbers, a list for each of the lists.

        Raises:
            DatasetError: If more than one in a hundred are broken, or many in a row.
        """
        loader = DataLoader(
            _Sent(self._pictures),
            batch_sampler=[list(batch) for batch in numbers],
            num_workers=self._workers,
            collate_fn=_as_they_are,
            # Of its own: the loader would take a number from the generator that the network uses.
            generator=torch.Generator().manual_seed(0),
            worker_init_fn=_start_worker if self._workers else None,
        )
        iterator = iter(loader)
        try:
            while True:
                start = time.perf_counter()
                sent = next(iterator, None)
                self.waited += time.perf_counter() - start
                if sent is None:
                    return
                views = [_unpacked(one) for one in sent]
                for view in views:
                    self.broken.count(view.place, view.broken)
                yield views
        finally:
            del iterator  # an error's traceback would keep it, and with it the workers


class _Sent(Dataset[LabelledView | EscnetError]):
    """The series with errors as values: raised in a worker, they come as a traceback's text."""

    def __init__(self, pictures: LabelledPictures) -> None:
        self._pictures = pictures

    def __getitem__(self, number: int) -> LabelledView | EscnetError:
        try:
            return self._pictures[number]
        except EscnetError as error:
            return error


def _unpacked(sent: LabelledView | EscnetError) -> LabelledView:
    if isinstance(sent, EscnetError):
        raise sent
    return sent


def _as_they_are(sent: list[LabelledView | EscnetError]) -> list[LabelledView | EscnetError]:
    return sent


def _start_worker(worker: int) -> None:
    """One thread, and deaf to what asks a whole group of processes to stop.

    The process that trains hears it, finishes the step, which needs its pictures, and saves the
    state. Its workers end when it lets go of the loader, or when it is gone.
    """
    del worker
    torch.set_num_threads(1)
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
