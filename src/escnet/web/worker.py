"""A worker process: it holds the model, does one task after the other, and can be killed.

What a client sends is parsed here and nowhere else: pictures, lists of names, label maps. Whatever
goes wrong with them ends this process at most, and the service starts another one.
"""

import signal
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from escnet.annotations.top_names import NUM_NAMES
from escnet.errors import EscnetError, NamesWarning
from escnet.inference.options import SegmentOptions
from escnet.segmentation import Segmentation
from escnet.vocabulary import Vocabulary
from escnet.web.answers import answer_of
from escnet.web.limits import Limits
from escnet.web.messages import Asked, ModelAnswer, Names
from escnet.web.names import client_vocabulary
from escnet.web.pictures import read_within
from escnet.web.refusal import Refusal, refusal_of


@runtime_checkable
class Engine(Protocol):
    """What a worker computes with; a `Segmenter` is one."""

    model: str
    weights_hash: str

    @property
    def settings(self) -> dict[str, object]:
        """What moves a pixel, besides the weights and the names."""

    def segment_pixels(
        self,
        pixels: UInt8[np.ndarray, "H W 3"],
        vocabulary: Vocabulary,
        options: SegmentOptions = ...,
    ) -> Segmentation:
        """One label for every pixel of a picture that has been read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentTask:
    """One picture to segment.

    Attributes:
        picture: The content of its file.
        names: As in `client_vocabulary`.
        asked: The rest of the request.
    """

    picture: bytes
    names: Names | bytes
    asked: Asked

    def run(self, engine: Engine, limits: Limits) -> bytes:
        """The answer's JSON."""
        vocabulary = client_vocabulary(self.names, limits, background=self.asked.background)
        pixels = read_within(self.picture, limits)
        options = SegmentOptions.of(
            void_below=self.asked.void_below,
            windows=self.asked.windows,
            min_area=self.asked.min_area,
            fill_holes=self.asked.fill_holes,
            exact=self.asked.exact,
            level=self.asked.level,
            top=NUM_NAMES if "top" in self.asked.answer else 0,
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", NamesWarning)
            result = engine.segment_pixels(pixels, vocabulary, options)
        told = [str(one.message) for one in caught if issubclass(one.category, NamesWarning)]
        return answer_of(result, self.asked, told).model_dump_json().encode()


@dataclass(frozen=True, slots=True)
class NamesTask:
    """A list of names to check; its answer is each label's queries."""

    names: Names | bytes

    def run(self, _: Engine, limits: Limits) -> dict[str, list[str]]:
        """For each label its queries."""
        vocabulary = client_vocabulary(self.names, limits, background=False)
        return {label: list(own) for label, own in vocabulary.queries_by_label.items()}


@runtime_checkable
class Task(Protocol):
    """Something that a worker does."""

    def run(self, engine: Engine, limits: Limits, /) -> Any:
        """What comes of it; an `EscnetError` or a `Refusal` is the client's."""


def work(pipe: Connection, load: Callable[[], Engine], limits: Limits) -> None:
    """The main function of a worker process; it ends as the pipe does.

    Each task that comes is answered by a pair: "done" and its value, "refused" and the refusal, or
    "failed" and a traceback for the service's log.

    Args:
        pipe: To the service.
        load: Makes what computes.
        limits: The service's.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # the service ends its workers itself
        signal.signal(number, signal.SIG_IGN)
    try:
        engine = load()
    except EscnetError as error:
        pipe.send(("refused", Refusal(500, error.for_command_line())))
        return
    about = ModelAnswer(
        name=engine.model, weights_hash=engine.weights_hash, settings=engine.settings
    )
    pipe.send(("done", about))
    while True:
        try:
            task: Task = pipe.recv()
        except EOFError:
            return
        pipe.send(_answered(task, engine, limits))


def _answered(task: Task, engine: Engine, limits: Limits) -> tuple[str, Any]:
    try:
        return "done", task.run(engine, limits)
    except Refusal as refusal:
        return "refused", refusal
    except EscnetError as error:
        return "refused", refusal_of(error)
    except MemoryError:
        return "refused", Refusal(413, "picture and names do not fit into memory: give less")
    except Exception:  # noqa: BLE001 -- a bug of ours must not end the others' service
        return "failed", traceback.format_exc()
