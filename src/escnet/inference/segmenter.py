"""The friendly layer: a picture and any names in, a label map out.

`Segmenter` owns what a method must not know: files, the picture's own size, labels and synonyms,
which text embeddings are at hand.
"""

import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, SupportsIndex, Unpack

import numpy as np
from jaxtyping import Float, Float16, Float32, UInt, UInt8

from escnet.data.arrays import Channels, is_one_picture
from escnet.data.image import Picture, Pictures, read_any
from escnet.data.picture_file import PictureFile
from escnet.errors import ConfigError, ImageError, NamesWarning, WeightsError, setting
from escnet.inference.calibration import Calibrated, Calibration
from escnet.inference.label_maps.canvas import Canvas
from escnet.inference.label_maps.curve import AS_IT_IS, Curve
from escnet.inference.label_maps.labelling import label_pixels, merge_queries, score_maps
from escnet.inference.label_maps.presence import peak_probabilities
from escnet.inference.label_maps.ranking import Ranking
from escnet.inference.label_maps.rest import EVEN, Rest, RestRule
from escnet.inference.label_maps.windowed_scores import WindowedScores, label_windows
from escnet.inference.methods.load import load_method
from escnet.inference.methods.memory import DEFAULT_BUDGET
from escnet.inference.methods.method import EncodedView, Method, ViewLogits
from escnet.inference.names.asked_names import AskedNames, asked_names
from escnet.inference.names.contrast import contrast_to, everyday_names
from escnet.inference.names.embedding_cache import EmbeddingCache
from escnet.inference.names.near_names import (
    near_names,
    near_names_message,
    unread_names,
    unread_names_message,
)
from escnet.inference.options import OptionValues, SegmentOptions
from escnet.segmentation import Segmentation
from escnet.towers.checks import check_share_prior
from escnet.vocabulary import Vocabulary

Names = Vocabulary | str | Iterable[str] | Mapping[str, str | Iterable[str]]

_CACHED_VOCABULARIES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What a segmenter was loaded by, so that another process can load the same."""

    model: str
    device: str
    dtype: str
    memory_budget: int
    share_prior: float | None
    weights_hash: str
    calibration: Calibrated = None

    def load(self, *, threads: int | None = None) -> "Segmenter":
        """The segmenter again.

        Args:
            threads: As `Segmenter.load` takes them.

        Raises:
            WeightsError: If the weights are not here, or are others by now.
            ConfigError: If the device is not on this machine.
        """
        segmenter = Segmenter.load(
            self.model,
            device=self.device,
            dtype=self.dtype,
            memory_budget=self.memory_budget,
            share_prior=self.share_prior,
            calibration=self.calibration,
            threads=threads,
        )
        if segmenter.weights_hash != self.weights_hash:
            raise WeightsError(
                f"model {self.model} has other weights than when the segmenter was sent here: "
                "load it again"
            )
        return segmenter


class WholeLogits(NamedTuple):
    """Logits of a picture as a whole.

    Attributes:
        logits: Of the queries that were kept.
        owner: The label of each, or, from the number of labels on, a contrast query.
        num_owners: How many of these there are.
        rest: When the rest class wins; None for no such class.
    """

    logits: Float32[np.ndarray, "M h w"]
    owner: list[int]
    num_owners: int
    rest: Rest | None

    def of_labels(self) -> tuple[list[int], Float32[np.ndarray, "L h w"]]:
        """Those that have a map, in order, and the highest of their queries' logits."""
        labels = sorted(set(self.owner))
        return labels, merge_queries(self.logits, np.searchsorted(labels, self.owner).tolist())


class _Labelled(NamedTuple):
    """What of a result comes from the model; see `Segmentation`."""

    label_map: UInt[np.ndarray, "H W"]
    confidence: Float[np.ndarray, "H W"]
    presence: Float32[np.ndarray, " N"]
    scores: Float16[np.ndarray, "L h w"] | None = None


class Segmenter:
    """A method with its weights, ready for pictures.

    One that `load` made can be pickled: it is loaded again where it arrives.

    Args:
        method: What gives the logits.
        model: The name it was loaded by.
        weights_hash: SHA-256 of its weights.
        share_prior: The model's own; see `SegmentOptions`.
        asked_prior: What the caller set in its place, for pictures that are seen as a whole; None
            if the model's own counts.
        embedding_cache: Where text embeddings are kept for later processes; None for nowhere. The
            hash must be that of the weights, then.
        rest_rule: When pixels are the rest; None where a probability of one half decides, as the
            model's are not known to be reliable.
        calibration: The model's own; it counts where the model is asked as it was fitted.
        asked_calibration: What the caller set in its place, for pictures that are seen as it was
            fitted; None if the model's own counts.

    Raises:
        ConfigError: If a prior is not a number from 0 on.
        WeightsError: If a calibration is of other weights.
    """

    _text_lock = Lock()  # of all segmenters, as one of its own could not be copied with each

    def __init__(
        self,
        method: Method,
        *,
        model: str,
        weights_hash: str,
        share_prior: float = 0.0,
        asked_prior: float | None = None,
        embedding_cache: EmbeddingCache | None = None,
        rest_rule: RestRule | None = None,
        calibration: Calibration | None = None,
        asked_calibration: Calibration | None = None,
    ) -> None:
        for one in (calibration, asked_calibration):
            if one is not None:
                one.check(weights_hash)
        for prior in (share_prior, asked_prior):
            if prior is not None:
                check_share_prior(prior)
        self.method = method
        self.model = model
        self.weights_hash = weights_hash
        self.asked_prior = asked_prior
        self.share_prior = float(share_prior if asked_prior is None else asked_prior)
        self.rest_rule = rest_rule
        self.calibration = calibration
        self.asked_calibration = asked_calibration
        self.reference: Reference | None = None
        self.embedding_cache = embedding_cache
        self._text_cache: OrderedDict[tuple[str, ...], np.ndarray] = OrderedDict()
        self._everyday: np.ndarray | None = None  # embeddings of the contrast names
        self._latest_view: tuple[object, EncodedView] | None = None

    @classmethod
    def load(
        cls,
        model: str | Path = "mini",
        *,
        device: str = "auto",
        dtype: str = "float32",
        memory_budget: int = DEFAULT_BUDGET,
        share_prior: float | None = None,
        calibration: Calibrated | str | Path = None,
        threads: int | None = None,
    ) -> "Segmenter":
        """A segmenter from weights.

        Args:
            model: "mini", the built-in model; a folder; a hub identifier; or what else
                `escnet.inference.methods.model_name` reads.
            device: "auto" (the best there is), or as PyTorch names it: "cpu", "cuda:1", "mps".
            dtype: What matrix products are computed in: float32, bfloat16 or float16.
            memory_budget: Bytes of working memory for the class names; it bounds the memory and
                does not change the result.
            share_prior: For all pictures that are seen as a whole; see `SegmentOptions`.
            calibration: What confidences are by: a file of `escnet calibrate`, or "none" for the
                model's probabilities as they are; None for the model's own, if it has one.
            threads: CPU threads to compute with, PyTorch's in this whole process; None for as many
                as this process may use.

        Raises:
            WeightsError: If the weights are not here, damaged, or of another kind.
            ConfigError: If the device is not there, the dtype unknown, or the prior negative; or if
                the environment's size of the cache is no number.

        Warns:
            CalibrationWarning: If a calibration beside the weights is of others, or damaged.
        """
        SegmentOptions(share_prior=share_prior)  # before anything large is read
        asked = Calibration.of(calibration)
        embedding_cache = EmbeddingCache.of_environment()
        loaded = load_method(
            model, device=device, dtype=dtype, memory_budget=memory_budget, threads=threads
        )
        segmenter = cls(
            loaded.method,
            model=str(model),
            weights_hash=loaded.weights_hash,
            share_prior=loaded.share_prior,
            asked_prior=share_prior,
            embedding_cache=embedding_cache,
            rest_rule=loaded.rest_rule,
            calibration=None if asked == "none" else loaded.calibration,
            asked_calibration=asked if isinstance(asked, Calibration) else None,
        )
        segmenter.reference = Reference(
            model=str(model),
            device=device,
            dtype=dtype,
            memory_budget=memory_budget,
            share_prior=share_prior,
            calibration=asked,
            weights_hash=loaded.weights_hash,
        )
        return segmenter

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        if self.reference is not None:
            return self.reference.load, ()
        return super().__reduce_ex__(protocol)

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

    def resolved(self, options: SegmentOptions) -> SegmentOptions:
        """The options with this segmenter's own values where they say None.

        Raises:
            ConfigError: If `load` was asked for a share prior and there are windows, or for a
                calibration that was fitted with other options.
        """
        if options.share_prior is None:
            options = replace(options, share_prior=self.asked_prior)  # refuses it beside windows
        if options.share_prior is None:
            prior = 0.0 if options.windows else self.share_prior
            options = replace(options, share_prior=prior)
        if self.asked_calibration is not None:
            difference = self.asked_calibration.difference(self.how_asked(options))
            if difference is not None:
                raise ConfigError(
                    f"the calibration is for {difference}: fit one for that with escnet calibrate, "
                    f"or leave {setting('calibration')} out"
                )
        return options

    def how_asked(self, options: SegmentOptions) -> dict[str, object]:
        """What probabilities depend on besides weights, names and picture.

        Args:
            options: As `resolved` gives them.
        """
        windows = options.windows
        return {
            "template": self.method.template,
            "share_prior": options.share_prior,
            "windows": None if windows is None else windows.as_settings(),
        }

    def calibration_for(self, options: SegmentOptions) -> Calibration | None:
        """The calibration that counts; None where probabilities stay as the model has them.

        Raises:
            ConfigError: If `load` was asked for one that was fitted with other options.
        """
        options = self.resolved(options)
        if self.asked_calibration is not None:
            return self.asked_calibration
        own = self.calibration
        if own is None or own.difference(self.how_asked(options)) is not None:
            return None
        return own

    def curve(self, options: SegmentOptions) -> Curve:
        """From the model's probabilities to confidences.

        Raises:
            ConfigError: If `load` was asked for a calibration that was fitted with other options.
        """
        calibration = self.calibration_for(options)
        return AS_IT_IS if calibration is None else calibration.confidence

    def result_settings(self, vocabulary: Vocabulary, options: SegmentOptions) -> dict[str, object]:
        """The settings that results of these names hold.

        Raises:
            ConfigError: If `load` was asked for a share prior and there are windows.
        """
        options = self.resolved(options)
        settings = {
            **self.settings,
            "share_prior": options.share_prior,
            "rejection": [] if options.exact else list(self.method.rejection),
            "void_below": options.void_below,
            "background": vocabulary.has_background,
            "synonyms": {
                label: list(queries)
                for label, queries in vocabulary.queries_by_label.items()
                if queries != (label,)
            },
            **_settings_of_details(vocabulary, self.weights_hash),
        }
        if vocabulary.has_background:
            rule = self.rest_rule
            settings["rest"] = {"floor": EVEN} if rule is None else rule.as_settings()
        if options.level:
            settings["level"] = options.level
        if options.is_tidy:
            settings |= {"min_area": options.min_area, "fill_holes": options.fill_holes}
        if options.depth is not None:
            settings["depth"] = options.depth
        if options.windows is not None:
            settings["windows"] = options.windows.as_settings()
        if (calibration := self.calibration_for(options)) is not None:
            settings["calibration"] = calibration.digest
        return settings

    def segment(
        self,
        picture: Picture,
        names: Names,
        *,
        background: bool = False,
        channels: Channels | None = None,
        **options: Unpack[OptionValues],
    ) -> Segmentation:
        """One label for every pixel of a picture.

        Args:
            picture: The path of a file, its content as bytes or as an open binary file, a PIL
                image, an array or a tensor; see `escnet.data.image.read_any`.
            names: Class names; a string is read as "road, car=car|truck".
            background: Add a class for what no name fits.
            channels: Where an array or tensor has its channels, "first" or "last".
            options: void_below, windows, share_prior, max_pixels, depth, min_area, fill_holes,
                exact, top, scores and level, as `SegmentOptions` has them; windows may be the name
                "whole", "paper" or "native".

        Raises:
            ImageError: If the picture cannot be read.
            VocabularyError: If the names are empty, repeated or too long.
            ConfigError: If an option is out of range, or two contradict each other.
        """
        chosen = SegmentOptions.of(**options)
        vocabulary = Vocabulary.of(names, has_background=background)
        self.resolved(chosen)  # refuses, before the picture is read
        vocabulary.names_at(chosen.level)
        return self._segment(picture, vocabulary, chosen, channels)

    def segment_batch(
        self,
        pictures: Pictures,
        names: Names,
        *,
        background: bool = False,
        channels: Channels | None = None,
        **options: Unpack[OptionValues],
    ) -> list[Segmentation]:
        """One result for each picture, as `segment` gives it.

        Args:
            pictures: Each as in `segment`, in a list, or arrays along a first axis.
            names: As in `segment`.
            background: Add a class for what no name fits.
            channels: Where arrays or tensors have their channels.
            options: As in `segment`.

        Raises:
            ImageError: If a picture cannot be read.
            VocabularyError: If the names are empty, repeated or too long.
            ConfigError: If an option is out of range, or two contradict each other.
        """
        chosen = SegmentOptions.of(**options)
        vocabulary = Vocabulary.of(names, has_background=background)
        self.resolved(chosen)
        vocabulary.names_at(chosen.level)
        is_one = isinstance(pictures, str | bytes | Path) or hasattr(pictures, "read")
        if is_one or is_one_picture(pictures) or not isinstance(pictures, Iterable):
            shape = getattr(pictures, "shape", None)
            raise ImageError(
                f"segment_batch takes several pictures, not a {type(pictures).__name__}"
                f"{'' if shape is None else f' of shape {tuple(shape)}'}: "
                "give a list of them, or call segment"
            )
        return [self._segment(picture, vocabulary, chosen, channels) for picture in pictures]

    def _segment(
        self,
        picture: Picture,
        vocabulary: Vocabulary,
        options: SegmentOptions,
        channels: Channels | None,
    ) -> Segmentation:
        if not isinstance(picture, str | Path):
            read = read_any(
                picture, max_pixels=options.max_pixels, channels=channels, depth=options.depth
            )
            result = self.segment_pixels(read.pixels, vocabulary, options)
            return replace(result, reading=read.as_settings())
        with PictureFile(picture, max_pixels=options.max_pixels) as file:
            source, read = file.source, file.read(depth=options.depth)
        result = self.segment_pixels(read.pixels, vocabulary, options)
        return replace(
            result, stem=Path(picture).stem, source=source._asdict(), reading=read.as_settings()
        )

    def segment_pixels(
        self,
        pixels: UInt8[np.ndarray, "H W 3"],
        vocabulary: Vocabulary,
        options: SegmentOptions = SegmentOptions(),  # noqa: B008 -- frozen
    ) -> Segmentation:
        """One label for every pixel of a picture that has been read.

        Raises:
            VocabularyError: If a name has more tokens than the text tower reads.
            ConfigError: If `load` was asked for a share prior and there are windows.
        """
        settings = self.result_settings(vocabulary, options)
        ranking = None
        if options.top:
            size_hw = (pixels.shape[0], pixels.shape[1])
            ranking = Ranking(options.top, len(vocabulary.result_names), size_hw)
        labelled = self._labelled(pixels, vocabulary, self.resolved(options), ranking)
        result = Segmentation(
            **labelled._asdict(),
            names=vocabulary.result_names,
            picture=pixels,
            model=self.model,
            weights_hash=self.weights_hash,
            settings=settings,
            top_names=None if ranking is None else ranking.names,
            top_probabilities=None if ranking is None else ranking.probabilities,
            paths=vocabulary.result_paths,
            own_colours=vocabulary.colours,
        )
        if options.level:
            result = result.at_level(options.level)
        if not options.is_tidy:
            return result
        return result.tidied(min_area=options.min_area, fill_holes=options.fill_holes)

    def _labelled(
        self,
        pixels: UInt8[np.ndarray, "H W 3"],
        vocabulary: Vocabulary,
        options: SegmentOptions,
        ranking: Ranking | None,
    ) -> "_Labelled":
        size_hw = (pixels.shape[0], pixels.shape[1])
        calibration = self.calibration_for(options)
        curve = self.curve(options)
        rule: dict[str, Any] = {
            "void_below": options.void_below,
            "own_void_below": vocabulary.void_below,
            "ranking": ranking,
            "curve": curve,
        }
        if options.windows is not None:
            windowed = self.windowed_scores(pixels, vocabulary, options)
            presence = _presence(windowed.peaks[: len(vocabulary)], vocabulary, calibration)
            return _Labelled(*label_windows(windowed, len(vocabulary), size_hw, **rule), presence)
        whole = self.whole_logits(pixels, vocabulary, options)
        labels, maps = whole.of_labels()
        peaks = peak_probabilities(labels, maps, len(vocabulary))
        scores = score_maps(labels, maps, len(vocabulary), curve) if options.scores else None
        rule |= {"share_prior": options.share_prior or 0.0, "rest": whole.rest}
        return _Labelled(
            *label_pixels(whole.logits, whole.owner, len(vocabulary), size_hw, **rule),
            _presence(peaks, vocabulary, calibration),
            scores,
        )

    def whole_logits(
        self,
        pixels: UInt8[np.ndarray, "H W 3"],
        vocabulary: Vocabulary,
        options: SegmentOptions,
        *,
        rest: Rest | None = None,
    ) -> WholeLogits:
        """What `label_pixels` makes the labels of a picture of that is seen as a whole.

        Args:
            pixels: The picture.
            vocabulary: The class names.
            options: Without windows.
            rest: When the rest class wins, if it is known; None to look for it, if there is one.

        Raises:
            VocabularyError: If a name has more tokens than the text tower reads.
        """
        asked = self.asked(vocabulary)
        view = self.encoded(pixels)
        rejectable = None if options.exact else asked.owner
        answer = self.method.logits([view], asked.embedding, rejectable)[0]
        if rest is None and vocabulary.has_background:
            rest = self.rest(view, vocabulary, answer.logits)
        # A label that was rejected has no logits and cannot win.
        owner = [asked.owner[query] for query in answer.kept]
        return WholeLogits(answer.logits, owner, max(asked.owner) + 1, rest)

    def windowed_scores(
        self,
        picture: UInt8[np.ndarray, "H W 3"] | Canvas,
        vocabulary: Vocabulary,
        options: SegmentOptions,
        *,
        columns: slice | None = None,
    ) -> WindowedScores:
        """The probabilities of a picture's labels in windows, by bands.

        Args:
            picture: In memory, or read piece by piece.
            vocabulary: The class names.
            options: With windows.
            columns: Those of the canvas that are asked for; None for all.

        Raises:
            ConfigError: If the options have no windows.
            VocabularyError: If a name has more tokens than the text tower reads.
        """
        if options.windows is None:
            raise ConfigError("windows are needed here: choose native")

        def find_rest(view: EncodedView, answer: ViewLogits) -> Rest:
            return self.rest(view, vocabulary, answer.logits)

        asked = self.asked(vocabulary)
        return WindowedScores(
            self.method,
            picture,
            asked.embedding,
            asked.owner,
            options.windows,
            exact=options.exact,
            find_rest=find_rest if vocabulary.has_background else None,
            columns=columns,
        )

    def encoded(self, pixels: UInt8[np.ndarray, "H W 3"]) -> EncodedView:
        """What the method's image side says of a picture as a whole.

        The picture before is kept, as people ask for other names of the same picture.
        """
        key = (pixels.shape, sha256(np.ascontiguousarray(pixels).data).digest())
        if (latest := self._latest_view) is None or latest[0] != key:
            latest = self._latest_view = key, self.method.encode_views([pixels])[0]
        return latest[1]

    def rest(
        self, view: EncodedView, vocabulary: Vocabulary, logits: Float32[np.ndarray, "N h w"]
    ) -> Rest:
        """When pixels of a picture are the rest, by what else the picture shows.

        Contrast names are asked by themselves, so they change nothing of what the names get.

        Args:
            view: The picture as a whole, as the method has encoded it.
            vocabulary: The class names.
            logits: What the method said of them.
        """
        rule = self.rest_rule
        if rule is None:
            return Rest()
        if self._everyday is None:
            texts = [self.method.template.replace("{}", name) for name in everyday_names()]
            self._everyday = self.encode_text(texts)
        contrast = contrast_to(
            vocabulary.queries,
            self.asked(vocabulary).embedding,
            self._everyday,
            relative_from=rule.relative_from,
            same_from=rule.same_from,
        )
        if not contrast.names:
            return rule.for_picture(logits, logits[:0], contrast.num_surfaces)
        everyone = range(len(contrast.names))
        answer = self.method.logits([view], contrast.embedding, everyone)[0]
        return rule.for_picture(logits, answer.logits, contrast.num_surfaces)

    def asked(self, vocabulary: Vocabulary) -> AskedNames:
        """What the method is asked: the queries' embeddings, taught vectors, contrast queries.

        Raises:
            VocabularyError: If a name has more tokens than the text tower reads, or a label was
                taught for other weights alone.

        Warns:
            NamesWarning: If labels are one to the text tower, or it cannot read a name.
        """
        embedding = self.text_embedding(vocabulary)
        if not vocabulary.details:
            return AskedNames(embedding, vocabulary.owner, vocabulary.queries)
        contrast = embedding[:0]
        if vocabulary.contrast:
            contrast = self._remembered(
                vocabulary.templated(self.method.template, vocabulary.contrast)
            )
        return asked_names(
            vocabulary, embedding, contrast, model=self.model, weights_hash=self.weights_hash
        )

    def text_embedding(self, vocabulary: Vocabulary) -> Float32[np.ndarray, "N D"]:
        """The text embedding of every query, kept for the vocabularies that were used last.

        Threads may ask at the same time.

        Raises:
            VocabularyError: If a name has more tokens than the text tower reads.

        Warns:
            NamesWarning: If labels are one to the text tower, or it cannot read a name.
        """
        texts = vocabulary.templated(self.method.template)
        return self._remembered(texts, partial(self._warn_of_names, vocabulary))

    def _remembered(
        self,
        texts: tuple[str, ...],
        on_new: Callable[[Float32[np.ndarray, "N D"]], None] | None = None,
    ) -> Float32[np.ndarray, "N D"]:
        """The embeddings of texts; `on_new` is called with those that were not at hand."""
        with self._text_lock:
            if texts in self._text_cache:
                self._text_cache.move_to_end(texts)
                return self._text_cache[texts]
        embedding = self.encode_text(texts)  # takes long: others need not wait for it
        if on_new is not None:
            on_new(embedding)
        with self._text_lock:
            self._text_cache[texts] = embedding
            if len(self._text_cache) > _CACHED_VOCABULARIES:
                self._text_cache.popitem(last=False)
        return embedding

    def encode_text(self, texts: Sequence[str]) -> Float32[np.ndarray, "N D"]:
        """The embeddings of texts that the template has been applied to.

        Those that an earlier process computed are read from disk.

        Raises:
            VocabularyError: If a text has more tokens than the text tower reads.

        Warns:
            CacheWarning: If they cannot be kept for later processes.
        """
        if self.embedding_cache is None:
            return self.method.encode_text(texts)
        return self.embedding_cache.embeddings(
            texts,
            self.method.text_keys(texts),
            self.method.encode_text,
            model=self.model,
            weights_hash=self.weights_hash,
        )

    def _warn_of_names(self, vocabulary: Vocabulary, embedding: Float32[np.ndarray, "N D"]) -> None:
        """Warn of names that the model cannot tell apart or read, once for each vocabulary."""
        if near := near_names(self.method, vocabulary, embedding, self.encode_text):
            warnings.warn(near_names_message(near, self.model), NamesWarning, stacklevel=2)
        if unread := unread_names(self.method, vocabulary.queries):
            warnings.warn(unread_names_message(unread, self.model), NamesWarning, stacklevel=2)


def _settings_of_details(vocabulary: Vocabulary, weights_hash: str) -> dict[str, object]:
    """What of a names file moves pixels; of taught vectors their digests."""
    own = list(zip(vocabulary.labels, vocabulary.details, strict=False))
    taught = {label: vectors for label, one in own if (vectors := one.taught_for(weights_hash))}
    settings: dict[str, dict[str, object]] = {
        "not": {label: list(one.contrast) for label, one in own if one.contrast},
        "own_void_below": {label: one.void_below for label, one in own if one.void_below},
        "taught": {label: vectors.digest for label, vectors in taught.items()},
    }
    return {name: values for name, values in settings.items() if values}


def _presence(
    peaks: Float32[np.ndarray, " L"], vocabulary: Vocabulary, calibration: Calibration | None
) -> Float32[np.ndarray, " N"]:
    """How likely the picture shows each name of the result; NaN for the background."""
    if calibration is not None:
        peaks = np.where(peaks > 0, calibration.presence.of(peaks), peaks)  # 0 was left no chance
    rest = np.full(int(vocabulary.has_background), np.nan, np.float32)
    return np.concatenate([peaks, rest])
