"""The friendly layer: a picture and any names in, a label map out.

`Segmenter` owns what a method must not know: files, the picture's own size, labels and synonyms,
which text embeddings are at hand.
"""

import warnings
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt, UInt8
from PIL import Image
from torch import Tensor

from escnet.data.image import MAX_PIXELS, read_image
from escnet.errors import ConfigError, NamesWarning
from escnet.inference.labelling import label_pixels
from escnet.inference.load import load_method
from escnet.inference.memory import DEFAULT_BUDGET
from escnet.inference.method import Method
from escnet.inference.near_names import (
    near_names,
    near_names_told,
    unread_names,
    unread_names_told,
)
from escnet.inference.outputs import source_of
from escnet.inference.windowed_scores import WindowedScores, label_windows
from escnet.inference.windows import Windows
from escnet.segmentation import Segmentation
from escnet.towers.checks import check_share_prior
from escnet.vocabulary import Vocabulary

Picture = str | Path | Image.Image | np.ndarray
Names = Vocabulary | str | Iterable[str] | Mapping[str, str | Iterable[str]]
Maps = tuple[UInt[np.ndarray, "H W"], Float[np.ndarray, "H W"]]  # labels, confidence

_CACHED_VOCABULARIES = 8


class Segmenter:
    """A method with its weights, ready for pictures.

    Attributes:
        method: What gives the logits.
        model: The name it was loaded by.
        weights_hash: SHA-256 of its weights.
        share_prior: How much a label counts by the share of the picture that it seems to cover,
            where the picture is seen as a whole; of windows no one sees the share.

    Raises:
        ConfigError: If that is not a number from 0 on.
    """

    _text_lock = Lock()  # of all segmenters, as one of its own could not be copied with each

    def __init__(
        self, method: Method, *, model: str, weights_hash: str, share_prior: float = 0.0
    ) -> None:
        check_share_prior(share_prior)
        self.method = method
        self.share_prior = float(share_prior)
        self.model = model
        self.weights_hash = weights_hash
        self._is_prior_asked = False
        self._text_cache: OrderedDict[tuple[str, ...], Tensor] = OrderedDict()

    @classmethod
    def load(
        cls,
        model: str | Path = "mini",
        *,
        device: str = "auto",
        dtype: str = "float32",
        memory_budget: int = DEFAULT_BUDGET,
        share_prior: float | None = None,
    ) -> "Segmenter":
        """A segmenter from weights.

        Args:
            model: "mini", the built-in model; a folder; a hub identifier; or what else
                `escnet.inference.load` names.
            device: auto (the best there is), cpu, cuda or mps.
            dtype: What matrix products are computed in: float32, bfloat16 or float16.
            memory_budget: Bytes of working memory for the class names; it bounds the memory and
                does not change the result.
            share_prior: How much a label counts by the share of the picture that it seems to
                cover, 0 for not at all; None for what the checkpoint says. One that is asked for
                here is refused beside windows, where a checkpoint's own does not count.

        Raises:
            WeightsError: If the weights are not here, damaged, or of another kind.
            ConfigError: If the device is not there, the dtype unknown, or the prior negative.
        """
        if share_prior is not None:
            check_share_prior(share_prior)  # before anything large is read
        loaded = load_method(model, device=device, dtype=dtype, memory_budget=memory_budget)
        segmenter = cls(
            loaded.method,
            model=str(model),
            weights_hash=loaded.weights_hash,
            share_prior=loaded.share_prior if share_prior is None else share_prior,
        )
        segmenter._is_prior_asked = share_prior is not None
        return segmenter

    @property
    def settings(self) -> dict[str, object]:
        """What moves a pixel, besides the weights and the names."""
        return {
            "method": self.method.name,
            "template": self.method.template,
            "image_size": self.method.view_size,
            "share_prior": self.share_prior,
            **self.method.settings,
        }

    def result_settings(
        self, vocabulary: Vocabulary, *, void_below: float = 0.0, windows: Windows | None = None
    ) -> dict[str, object]:
        """What results of these names say in their settings.

        Args:
            vocabulary: The class names.
            void_below: As in `segment`.
            windows: As in `segment`.

        Raises:
            ConfigError: If `void_below` is not between 0 and 1, or `load` was asked for a share
                prior and there are windows.
        """
        if not 0 <= void_below <= 1:
            raise ConfigError(f"void_below {void_below} is not a confidence: give 0 to 1")
        if windows is not None and self._is_prior_asked and self.share_prior:
            raise ConfigError(
                f"share_prior {self.share_prior:g} needs pictures seen as a whole: "
                "leave out the windows, or load without it"
            )
        settings = {
            **self.settings,
            "void_below": void_below,
            "background": vocabulary.has_background,
            "synonyms": {
                label: list(queries)
                for label, queries in vocabulary.queries_by_label.items()
                if queries != (label,)
            },
        }
        if windows is None:
            return settings
        return {**settings, "windows": windows.as_settings(), "share_prior": 0.0}

    def segment(
        self,
        picture: Picture,
        names: Names,
        *,
        void_below: float = 0.0,
        background: bool = False,
        windows: Windows | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> Segmentation:
        """One label for every pixel of a picture.

        Args:
            picture: A file, a PIL image, or an array of bytes.
            names: Class names; a string is read as "road, car=car|truck".
            void_below: Pixels whose confidence is lower get no label.
            background: Add a class for what no name fits.
            windows: How the picture is cut into windows; None sees it as a whole.
            max_pixels: Larger pictures are refused.

        Raises:
            ImageError: If the picture cannot be read.
            VocabularyError: If the names are empty, repeated or too long.
            ConfigError: As in `result_settings`.
        """
        vocabulary = Vocabulary.of(names, has_background=background)
        # before the pixels, so that of a file replaced in between it is not the new one's
        source = source_of(Path(picture)) if isinstance(picture, str | Path) else None
        pixels = read_image(picture, max_pixels=max_pixels)
        result = self.segment_batch([pixels], vocabulary, void_below=void_below, windows=windows)[0]
        if isinstance(picture, str | Path):
            return replace(result, stem=Path(picture).stem, source=source)
        return result

    def segment_batch(
        self,
        pictures: Iterable[UInt8[np.ndarray, "_ _ 3"]],
        names: Names,
        /,
        *,
        void_below: float = 0.0,
        background: bool = False,
        windows: Windows | None = None,
    ) -> list[Segmentation]:
        """One result for each picture; the same as one by one.

        Args:
            pictures: Arrays of bytes, as `escnet.data.image.read_image` gives them.
            names: As in `segment`.
            void_below: As in `segment`.
            background: As in `segment`.
            windows: As in `segment`.

        Raises:
            VocabularyError: If the names are empty, repeated or too long.
            ConfigError: As in `result_settings`.
        """
        pictures = list(pictures)
        vocabulary = Vocabulary.of(names, has_background=background)
        settings = self.result_settings(vocabulary, void_below=void_below, windows=windows)
        if not pictures:
            return []
        text_embedding = self.text_embedding(vocabulary)
        results = []
        options = {"void_below": void_below, "background": vocabulary.has_background}
        maps = (
            self._whole(pictures, text_embedding, vocabulary, options)
            if windows is None
            else self._windowed(pictures, text_embedding, vocabulary, options, windows)
        )
        for pixels, (label_map, confidence) in zip(pictures, maps, strict=True):
            results.append(
                Segmentation(
                    label_map=label_map,
                    confidence=confidence,
                    names=vocabulary.result_names,
                    picture=pixels,
                    model=self.model,
                    weights_hash=self.weights_hash,
                    settings=settings,
                )
            )
        return results

    def _whole(
        self,
        pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]],
        text_embedding: Float[Tensor, "N D"],
        vocabulary: Vocabulary,
        options: Mapping[str, Any],
    ) -> Iterator[Maps]:
        found = self.method.logits(pictures, text_embedding)
        for pixels, (logits, kept) in zip(pictures, found, strict=True):
            # A label none of whose queries were kept has no logits and cannot win.
            owner = [vocabulary.owner[query] for query in kept]
            yield label_pixels(
                logits,
                owner,
                len(vocabulary),
                pixels.shape[:2],
                share_prior=self.share_prior,
                **options,
            )

    def _windowed(
        self,
        pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]],
        text_embedding: Float[Tensor, "N D"],
        vocabulary: Vocabulary,
        options: Mapping[str, Any],
        windows: Windows,
    ) -> Iterator[Maps]:
        for pixels in pictures:
            scores = WindowedScores(self.method, pixels, text_embedding, vocabulary.owner, windows)
            yield label_windows(scores, len(vocabulary), pixels.shape[:2], **options)

    @torch.inference_mode()
    def text_embedding(self, vocabulary: Vocabulary) -> Float[Tensor, "N D"]:
        """The text embedding of every query, kept for the vocabularies that were used last.

        Threads may ask at the same time.

        Raises:
            VocabularyError: If a name has more tokens than the text tower reads.

        Warns:
            NamesWarning: If labels are one to the text tower, or it cannot read a name.
        """
        texts = vocabulary.templated(self.method.template)
        with self._text_lock:
            if texts in self._text_cache:
                self._text_cache.move_to_end(texts)
                return self._text_cache[texts]
        embedding = self.method.encode_text(texts)  # takes long: others need not wait for it
        self._warn_of_names(vocabulary, embedding)
        with self._text_lock:
            self._text_cache[texts] = embedding
            if len(self._text_cache) > _CACHED_VOCABULARIES:
                self._text_cache.popitem(last=False)
        return embedding

    def _warn_of_names(self, vocabulary: Vocabulary, embedding: Float[Tensor, "N D"]) -> None:
        """Warn once for each vocabulary of what its results cannot show."""
        if near := near_names(self.method, vocabulary, embedding):
            warnings.warn(near_names_told(near, self.model), NamesWarning, stacklevel=2)
        if unread := unread_names(self.method, vocabulary.queries):
            warnings.warn(unread_names_told(unread, self.model), NamesWarning, stacklevel=2)
