"""Labelled pictures as a step sees them: drawn, read, changed, loaded by other processes.

The number of a picture in its stage decides everything about it, so that neither the number of
processes nor that of workers changes what is trained on.
"""

import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from escnet.errors import EscnetError
from escnet.training.broken_files import BrokenFiles, first_sound
from escnet.training.chance import Purpose, chance
from escnet.training.sampler import PictureIndex, Sampler
from escnet.training.sources import Source, Sources
from escnet.training.stopping import STOP_SIGNALS

AnyView = TypeVar("AnyView")
ReadView = Callable[[Source, int, np.random.Generator], AnyView]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example(Generic[AnyView]):
    """One picture of a step.

    Attributes:
        number: In the stage.
        place: Index of its source, and its index there.
        view: What is seen of it, and what its pixels say.
        broken: For the place of each picture that it replaces, what was wrong with it.
    """

    number: int
    place: PictureIndex
    view: AnyView
    broken: dict[PictureIndex, str]


class Examples(Dataset[Example[AnyView]]):
    """A stage's series of pictures, by number.

    Args:
        sources: Where they come from.
        sampler: Which one comes when.
        read_view: From a source, the index of a picture there, and chance to what is seen of it. It
            raises an EscnetError where the picture is broken.
        seed: Of what is seen.
    """

    def __init__(
        self, sources: Sources, sampler: Sampler, read_view: ReadView[AnyView], *, seed: int
    ) -> None:
        self.sources = sources
        self._sampler = sampler
        self._read_view = read_view
        self._seed = seed

    def __getitem__(self, number: int) -> Example[AnyView]:
        """The picture of that number; a broken one is replaced by another of its source.

        Raises:
            DatasetError: If many in a row are broken.
        """
        random = chance(self._seed, Purpose.VIEW, number)
        place, view, broken = first_sound(
            (self._sampler.place_of(number, attempt) for attempt in count()),
            lambda one: self._read_view(self.sources.sources[one.source], one.row, random),
        )
        return Example(number=number, place=place, view=view, broken=broken)


class ExampleFeed(Generic[AnyView]):
    """Batches of examples for one process.

    Args:
        examples: The stage's series.
        workers: Processes that read them ahead; 0 reads in between.

    Attributes:
        broken: What was met of broken files.
    """

    def __init__(self, examples: Examples[AnyView], workers: int) -> None:
        self._examples = examples
        self._workers = workers
        self.broken = BrokenFiles(examples.sources.num_pictures)

    def batches(self, numbers: Sequence[Sequence[int]]) -> Iterator[list[Example[AnyView]]]:
        """The examples of these numbers, a list for each of the lists.

        Raises:
            DatasetError: If more than one in a hundred are broken, or many in a row.
        """
        loader: DataLoader[Any] = DataLoader(
            _ErrorsAsValues(self._examples),
            batch_sampler=[list(batch) for batch in numbers],
            num_workers=self._workers,
            collate_fn=_as_they_are,
            # Of its own: the loader would take a number from the generator that the network uses.
            generator=torch.Generator().manual_seed(0),
            worker_init_fn=_start_worker if self._workers else None,
        )
        iterator = iter(loader)
        try:
            for sent in iterator:
                examples = [_unpacked(one) for one in sent]
                for example in examples:
                    self.broken.count(example.place, example.broken)
                yield examples
        finally:
            del iterator  # an error's traceback would keep it, and with it the workers


class _ErrorsAsValues(Dataset[Any]):
    """The series with errors as values: raised in a worker, they come as a traceback's text."""

    def __init__(self, examples: Examples[Any]) -> None:
        self._examples = examples

    def __getitem__(self, number: int) -> Example[Any] | EscnetError:
        try:
            return self._examples[number]
        except EscnetError as error:
            return error


def _unpacked(sent: Example[AnyView] | EscnetError) -> Example[AnyView]:
    if isinstance(sent, EscnetError):
        raise sent
    return sent


def _as_they_are(sent: list[Any]) -> list[Any]:
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
