"""The structures of the paper's Figure 1 with the same towers: accuracy, seconds, memory.

    python benchmarks/structures.py FOLDER DECODER EMBEDDINGS --encoder ONNX --structure NAME
        --records RECORDS --out RESULTS.jsonl [--every 3]
    python benchmarks/structures.py FOLDER DECODER EMBEDDINGS --encoder ONNX --structure NAME
        --time 6 --out RESULTS.jsonl

FOLDER is a folder dataset, DECODER a file with SAM's prompt encoder and mask decoder, EMBEDDINGS a
folder of what SAM's image encoder (ONNX) makes of each picture, filled where it lacks one. The
first form scores one structure and goes on with the RECORDS of a stopped run. The second asks it
about a few pictures, SAM's image encoder included, and keeps the median time and the peak of
memory; it is a process of its own so that the peak is its own. Times are of the processor, with one
thread (set OMP_NUM_THREADS=1), so that they hold on a busy machine.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from escnet import Segmenter, Vocabulary
from escnet.data.folder import FolderDataset
from escnet.data.labelled_picture import LabelledPicture
from escnet.evaluation.evaluate import Predict
from escnet.evaluation.result import ModelUsed
from escnet.evaluation.run import Evaluation
from escnet.evaluation.target import EvalTarget, folder_targets
from escnet.inference.machine.process_memory import peak_memory
from escnet.inference.methods.esc_method import EscMethod
from escnet.inference.methods.load import load_method
from escnet.inference.methods.method import Method
from escnet.inference.methods.model_name import ModelName
from escnet.inference.methods.training_free import load_training_free
from escnet.inference.sam.masks import TrainingFreeSam
from escnet.inference.sam.prompting import Sam
from escnet.inference.sam.proposals import MaskProposals
from escnet.weights.catalog import require_local
from escnet.weights.checkpoint import weights_hash
from escnet.weights.sam_model import load_sam_decoder

MODEL = "mini"


class StoredEncoder:
    """SAM's image encoder, asked once for every picture; `stem` says which it is shown."""

    def __init__(self, folder: Path, encoder: Path, *, is_stored: bool) -> None:
        self._folder = folder
        self._encoder = encoder
        self._is_stored = is_stored
        self._session: Any = None
        self.stem = ""

    def __call__(self, image: Tensor) -> Tensor:
        path = self._folder / f"{self.stem}.npy"
        if self._is_stored and path.is_file():
            return torch.from_numpy(np.load(path)).float()
        embedding = self._run(image.numpy())
        if self._is_stored:
            np.save(path, embedding.astype(np.float16))
        return torch.from_numpy(embedding)

    def _run(self, image: np.ndarray) -> np.ndarray:
        import onnxruntime  # noqa: PLC0415 -- not needed where all is stored

        if self._session is None:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            self._session = onnxruntime.InferenceSession(
                str(self._encoder), options, providers=["CPUExecutionProvider"]
            )
        embedding: np.ndarray = self._session.run(None, {"input": image})[0]
        return embedding


def _base() -> Method:
    return load_training_free(
        ModelName.parse(f"training-free:{MODEL}"), device="cpu", dtype="float32"
    )[0]


def _sam(arguments: argparse.Namespace, encoder: StoredEncoder) -> Sam:
    return Sam(load_sam_decoder(arguments.decoder), image_encoder=encoder)


MakeSam = Callable[[], Sam]

STRUCTURES: dict[str, Callable[[MakeSam], Method]] = {
    "esc-net": lambda _: load_method(MODEL, device="cpu").method,
    "correlation": lambda _: _base(),
    "correlation+sam": lambda sam: TrainingFreeSam(_base(), sam()),
    "correlation+sam, share 0.5": lambda sam: TrainingFreeSam(_base(), sam(), share=0.5),
    "proposals": lambda sam: MaskProposals(_base(), sam()),
    "proposals, crops": lambda sam: MaskProposals(_base(), sam(), classified_by="crop"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("decoder", type=Path)
    parser.add_argument("embeddings", type=Path)
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--structure", choices=list(STRUCTURES), required=True)
    parser.add_argument("--sources", nargs="+", default=["voc20", "coco80"])
    parser.add_argument("--every", type=int, default=3, help="take every n-th picture")
    parser.add_argument("--records", type=Path)
    parser.add_argument("--time", type=int, metavar="PICTURES")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    about = {
        "structure": arguments.structure,
        "model": MODEL,
        "weights_hash": weights_hash(require_local(MODEL)),
    }
    encoder = StoredEncoder(
        arguments.embeddings, arguments.encoder, is_stored=arguments.time is None
    )
    method = STRUCTURES[arguments.structure](partial(_sam, arguments, encoder))
    share_prior = method.network.config.share_prior if isinstance(method, EscMethod) else 0.0
    segmenter = Segmenter(
        method,
        model=f"{arguments.structure} of {MODEL}",
        weights_hash="",
        share_prior=share_prior,
    )
    targets = [
        replace(target, items=target.items[:: arguments.every])
        for target in folder_targets(FolderDataset.read(arguments.folder))
        if target.name in arguments.sources
    ]
    if arguments.time is not None:
        lines = [timed(segmenter, encoder, targets, arguments.time)]
    else:
        lines = scored(segmenter, encoder, targets, arguments.records / arguments.structure)
    with arguments.out.open("a") as file:
        file.writelines(json.dumps({**about, **line}) + "\n" for line in lines)


def scored(
    segmenter: Segmenter, encoder: StoredEncoder, targets: list[EvalTarget], records: Path
) -> list[dict]:
    """Accuracy on each target."""
    lines = []
    for target in targets:
        evaluation = Evaluation(
            target=target,
            model=ModelUsed(
                name=segmenter.model,
                method=segmenter.method.name,
                weights_hash=segmenter.weights_hash,
                settings=dict(segmenter.settings),
            ),
            predict=predict_with(segmenter, encoder),
            protocol=target.paper,
            out=records,
        )
        result = evaluation.run(resume=True)
        if result is None:
            raise SystemExit("run it as one process")
        lines.append(
            {
                "source": target.name,
                "pictures": result.data.num_pictures,
                "scores": result.scores,
                "intervals": result.intervals,
                "settings": result.model.settings,
            }
        )
    return lines


def timed(
    segmenter: Segmenter, encoder: StoredEncoder, targets: list[EvalTarget], num_pictures: int
) -> dict:
    """Median time of the pictures of all targets, after one that is not counted, and memory."""
    seconds = []
    for target in targets:
        vocabulary = Vocabulary.of(list(target.classes))
        predict = predict_with(segmenter, encoder)
        for number, item in enumerate(target.items[: num_pictures // len(targets) + 1]):
            start = time.process_time()
            predict(item, vocabulary)
            if number:  # the first also reads the names
                seconds.append(time.process_time() - start)
    return {
        "seconds": round(statistics.median(seconds), 3),
        "timed": len(seconds),
        "peak_megabytes": round((peak_memory() or 0) / 1e6),
    }


def predict_with(segmenter: Segmenter, encoder: StoredEncoder) -> Predict:
    def predict(item: LabelledPicture, vocabulary: Vocabulary) -> np.ndarray:
        encoder.stem = item.stem
        return segmenter.segment(item.image_path, vocabulary).label_map

    return predict


if __name__ == "__main__":
    main()
