"""What the network says of whole pictures without its detail, computed once and kept on disk.

The detail branch (`detail.py`) is trained behind a network that no longer changes. That network's
logits and feature maps cost many times what the branch costs, so a picture's are computed when it
is first drawn, for some of the class names, and read from then on: about 4 MB for each at 448
pixels. A name is always asked for by one of its wordings, which chance chose at the first time.

Sizes: n class names, h x w patches, D joint space, V the ViT's layers, M texts,
H x W pixels.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from escnet.data.check import pair_checksum
from escnet.data.image import read_image
from escnet.inference.label_maps.labelling import share_shift
from escnet.inference.label_maps.published_resize import square_image
from escnet.inference.methods.memory import class_chunk
from escnet.mini.network import Mini
from escnet.mini.presence import presence_gain
from escnet.mini.training.picture_cache import PictureCache, quick_precision, short_hash
from escnet.mini.training.texts import NameTexts
from escnet.mini.vision import MiniPatches
from escnet.training.sources import Source
from escnet.weights.tensor_file import tensors_hash

_PEAK = 20  # patches that stand for a map where the likeliest names are looked for
_LIKELY = 2 / 3  # of the names that a picture does not show; chance gives the others


class CoarseAnswer(NamedTuple):
    """What the network says of a whole picture.

    Attributes:
        names: The class names, in order.
        rows: Of the texts that they were asked for by.
        logits: Of each of them, without detail.
        vit: The ViT's layers.
        joint: Patch embeddings.
        shift: What the share prior adds to each name's logits.
    """

    names: Int[np.ndarray, " n"]
    rows: Int[np.ndarray, " n"]
    logits: Float[Tensor, "n _ _"]
    vit: Float[Tensor, "V h w"]
    joint: Float[Tensor, "D h w"]
    shift: Float[Tensor, " n"]


class CoarseNetwork:
    """A network of the built-in model's kind without its detail, and its answers.

    Args:
        network: The network; its detail is left out.
        embedding: Text embedding of every text that stands for a class name.
        names: What the class names are called, by rows in `embedding`.
        most_names: Class names that are asked for: those that the picture shows and others of its
            source, most of them likely ones.
        folder: Where the answers are kept; networks and pictures of all kinds may share it.

    Raises:
        OutputError: If nothing can be written there.
    """

    def __init__(
        self,
        network: Mini,
        embedding: Float[Tensor, "M D"],
        names: NameTexts,
        *,
        most_names: int,
        folder: Path,
    ) -> None:
        self._network = network.eval()  # in training, norms would take note of what it is shown
        self._embedding, self._names = embedding, names
        self._vision = network.vision
        self._most_names = most_names
        own = {n: v for n, v in network.state_dict().items() if "detail." not in n}
        weights = tensors_hash({**own, "texts": embedding})
        config = {**network.config.to_dict(), "detail": None, "trained_on": None}
        self._cache = PictureCache(folder, f"{weights} {config} {most_names} {names.wordings}")

    def of(self, source: Source, row: int) -> CoarseAnswer:
        """The answers for a picture, for names that its source annotates.

        Args:
            source: Of the picture.
            row: Of it there.

        Raises:
            ImageError: If it cannot be read.
            DatasetError: If its label map cannot be read.
            OutputError: If the answers cannot be written.
        """
        image_path = source.pictures[row].image_path
        names = np.array(sorted(source.annotated), np.int64)
        labels = source.read_labels(row)
        content = pair_checksum(image_path, labels)
        name = short_hash(f"{content} {names.tolist()}")
        if name not in self._cache:
            random = np.random.default_rng(int(name, 16))
            answer = self._answer(read_image(image_path), names, np.isin(names, labels), random)
            self._cache.write(name, _arrays_of(answer))
        arrays = self._cache.read(name)
        tensors = (torch.from_numpy(arrays[one]).float() for one in CoarseAnswer._fields[2:])
        return CoarseAnswer(arrays["names"], arrays["rows"], *tensors)

    @torch.inference_mode()
    def _answer(
        self,
        pixels: UInt8[np.ndarray, "H W 3"],
        names: Int[np.ndarray, " n"],
        is_shown: Bool[np.ndarray, " n"],
        random: np.random.Generator,
    ) -> CoarseAnswer:
        network = self._network
        device = network.logit_scale.device
        square = square_image(pixels, network.config.image_size)
        image = torch.from_numpy(square)[None].to(device)
        rows = np.array(self._names.draw(names.tolist(), random))
        text = self._embedding[rows].to(device)
        with quick_precision(device):
            maps = self._vision.read(image)
            patches = self._vision.project(maps)
            kept = np.arange(len(names))
            if len(names) > self._most_names:
                kept = self._some_of(is_shown, self._likelihood(patches, text), random)
            chunk = class_chunk(network.config)
            logits = network.segment(patches, text[kept], chunk).logits[0].float()
        shift = share_shift(logits.cpu().numpy(), network.config.share_prior)
        return CoarseAnswer(
            names[kept],
            rows[kept],
            logits,
            maps.vit[0],
            patches.joint[0],
            torch.zeros(len(kept)) if shift is None else torch.from_numpy(shift),
        )

    def _likelihood(
        self, patches: MiniPatches, text: Float[Tensor, "n D"]
    ) -> Float[np.ndarray, " n"]:
        """How likely the picture shows each name, by its best patches and the whole of it."""
        correlation = self._network.correlate(patches, text)[0].flatten(1).float()  # (n, h*w)
        peak = correlation.topk(min(_PEAK, correlation.shape[1]), dim=1).values.mean(dim=1)
        if self._network.presence is not None:
            presence = self._network.presence(patches.summary, text[None])
            peak = peak + presence_gain(presence)[0]
        return peak.float().cpu().numpy()

    def _some_of(
        self,
        is_shown: Bool[np.ndarray, " n"],
        likelihood: Float[np.ndarray, " n"],
        random: np.random.Generator,
    ) -> Int[np.ndarray, " _"]:
        """The names shown, the likeliest of the others, and some by chance; in order."""
        shown = random.permutation(np.flatnonzero(is_shown))[: self._most_names]
        others = np.argsort(-likelihood)
        others = others[~is_shown[others]]
        room = self._most_names - len(shown)
        num_likely = int(room * _LIKELY)
        rest = random.permutation(others[num_likely:])[: room - num_likely]
        return np.sort(np.concatenate([shown, others[:num_likely], rest]))


def _arrays_of(answer: CoarseAnswer) -> dict[str, np.ndarray]:
    """Those of an answer, in half precision."""
    tensors = answer._asdict()
    names = {name: tensors.pop(name) for name in ("names", "rows")}
    return names | {name: tensor.half().cpu().numpy() for name, tensor in tensors.items()}
