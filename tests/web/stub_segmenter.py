"""What worker processes of the tests compute with: no network, but what networks get wrong."""

import os
import time
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from escnet.errors import WeightsError
from escnet.inference.options import SegmentOptions
from escnet.segmentation import Segmentation
from escnet.vocabulary import Vocabulary

PLACE = "/srv/models/weights.bin"


class StubSegmenter:
    """Labels a pixel by its red value; names ask for trouble."""

    model: str = "stub"
    weights_hash: str = "0" * 64

    def __init__(self) -> None:
        self.settings: dict[str, object] = {"method": "stub"}

    def segment_pixels(
        self,
        pixels: UInt8[np.ndarray, "H W 3"],
        vocabulary: Vocabulary,
        options: SegmentOptions = SegmentOptions(),  # noqa: B008 -- frozen
    ) -> Segmentation:
        for name in vocabulary.labels:
            self._trouble(name)
        names = vocabulary.result_names
        red = pixels[:, :, 0]
        label_map = (red.astype(np.int64) % len(names)).astype(
            np.uint8 if len(names) <= 254 else np.uint16
        )
        confidence = (red / 255).astype(np.float16)
        label_map[confidence < options.void_below] = 255 if len(names) <= 254 else 65535
        top = [(red.astype(np.int64) + rank) % len(names) for rank in range(options.top)]
        return Segmentation(
            label_map=label_map,
            confidence=confidence,
            names=names,
            picture=pixels,
            model=self.model,
            weights_hash=self.weights_hash,
            paths=vocabulary.result_paths,
            own_colours=vocabulary.colours,
            top_names=np.stack(top).astype(label_map.dtype) if top else None,
            top_probabilities=np.stack([confidence] * len(top)) if top else None,
        )

    def _trouble(self, name: str) -> None:
        if name.startswith("sleep "):
            time.sleep(float(name.removeprefix("sleep ")))
        elif name == "hunger":
            self.eaten = [np.ones(2**23) for _ in range(100)]
        elif name == "crash":
            os._exit(3)
        elif name == "bug":
            raise RuntimeError(f"{PLACE} is missing")


@dataclass(frozen=True)
class LoadStub:
    """Makes one in a worker process."""

    error: str = ""

    def __call__(self) -> StubSegmenter:
        if self.error:
            raise WeightsError(self.error)
        return StubSegmenter()
