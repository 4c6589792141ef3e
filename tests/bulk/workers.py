"""What workers do in tests: a model of colours that loads in no time, and tasks that die."""

import os
import signal
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from escnet.bulk.cluster import Answer, Workforce
from escnet.bulk.segment_job import BulkSegmentJob
from escnet.inference.segmenter import Reference, Segmenter
from escnet.vocabulary import Vocabulary
from tests.colour_method import colour_segmenter

ROOT = Path(__file__).parents[2]
NAMES = ["red", "green", "blue"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ColourReference(Reference):
    """Gives the model of colours, and notes each time that it is loaded."""

    notes: str = ""

    def load(self, *, threads: int | None = None) -> Segmenter:
        if self.notes:
            with Path(self.notes).open("a") as file:
                file.write(f"{os.getpid()} {threads}\n")
        return colour_segmenter()


def segmenter_of_colours(notes: str = "") -> Segmenter:
    """The model of colours as workers load it."""
    segmenter = colour_segmenter()
    segmenter.reference = ColourReference(
        model="colours",
        device="cpu",
        dtype="float32",
        memory_budget=1,
        share_prior=None,
        weights_hash="0" * 64,
        notes=notes,
    )
    return segmenter


class DyingTask:
    """Answers parts with what they are, and is killed by some."""

    def start(self, threads: int) -> Answer:
        def answer(part: Any, is_second: bool) -> Any:
            if part == "deadly" or (part == "deadly once" and not is_second):
                os.kill(os.getpid(), signal.SIGKILL)
            if part == "wrong":
                raise ZeroDivisionError("a bug of ours")
            return part, threads

        return answer


def draw_pictures(folder: Path, number: int, side: int = 24) -> list[Path]:
    """Pictures of random squares of the model's colours."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(0)
    colours = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255)], np.uint8)
    paths = []
    for i in range(number):
        squares = colours[chance.integers(0, 3, (side // 8, side // 8))]
        path = folder / f"p{i:04}.png"
        Image.fromarray(squares.repeat(8, 0).repeat(8, 1)).save(path)
        paths.append(path)
    return paths


def segment_folder(pictures: str, out: str, *, resume: bool) -> None:
    """Segment a folder on workers started here, as a process of its own does to be killed."""
    job = BulkSegmentJob.plan(
        sorted(Path(pictures).iterdir()),
        Vocabulary.of(NAMES),
        out=out,
        formats=("labels", "json"),
        workforce=Workforce(workers=2, threads=1),
        resume=resume,
    )
    report = job.run(segmenter_of_colours())
    sys.stdout.write(f"{Counter(one.status for one in report.pictures)}\n")
