"""The friendly layer: a picture and any names in, a label map out.

`Segmenter` owns what the network must not know: files, devices, the picture's own size, which text
embeddings are at hand, how many class names fit into memory.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from escnet.data.image import MAX_PIXELS, read_image
from escnet.errors import ConfigError
from escnet.inference.labelling import label_pixels
from escnet.inference.memory import DEFAULT_BUDGET, class_chunk
from escnet.inference.pruning import likely_queries
from escnet.inference.tokens import Tokenize, byte_tokenizer, load_tokenizer
from escnet.model.config import preset
from escnet.model.escnet import EscNet
from escnet.model.vision import Patches
from escnet.segmentation import Segmentation
from escnet.vocabulary import Vocabulary
from escnet.weights.catalog import require_local
from escnet.weights.checkpoint import load_checkpoint, weights_hash

Picture = str | Path | Image.Image | np.ndarray
Names = Vocabulary | str | Iterable[str] | Mapping[str, str | Iterable[str]]

TINY = "tiny"  # a small random network, for tests
DEVICES = ("auto", "cpu", "cuda", "mps")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

_CACHED_VOCABULARIES = 8
_TEXTS_AT_ONCE = 256
_SIGLIP_TOKENS = 64
_DEFAULT_TOKENS = 77


class Segmenter:
    """A network with its tokenizer on a device, ready for pictures.

    Attributes:
        network: The network, in evaluation mode.
        model: The name it was loaded by.
        weights_hash: SHA-256 of its weights.
    """

    def __init__(
        self,
        network: EscNet,
        tokenize: Tokenize,
        *,
        model: str,
        weights_hash: str,
        device: str = "auto",
        dtype: str = "float32",
        memory_budget: int = DEFAULT_BUDGET,
    ) -> None:
        if dtype not in DTYPES:
            raise ConfigError(f"dtype {dtype!r} is unknown: choose from {', '.join(DTYPES)}")
        self.model = model
        self.weights_hash = weights_hash
        self.device = _device(device)
        self.dtype = dtype
        self.memory_budget = memory_budget
        self.network = network.eval().to(self.device)
        self._tokenize = tokenize
        self._text_cache: OrderedDict[tuple[str, ...], Tensor] = OrderedDict()

    @classmethod
    def load(
        cls,
        model: str | Path = "mini",
        *,
        device: str = "auto",
        dtype: str = "float32",
        memory_budget: int = DEFAULT_BUDGET,
    ) -> "Segmenter":
        """A segmenter from weights.

        Args:
            model: "mini", the built-in model; a folder; a hub identifier; or "tiny", a random
                network for tests.
            device: auto (the best there is), cpu, cuda or mps.
            dtype: What matrix products are computed in: float32, bfloat16 or float16.
            memory_budget: Bytes of working memory for the class names; it bounds the memory and
                does not change the result.

        Raises:
            WeightsError: If the weights are not here, damaged, or of another kind.
            ConfigError: If the device is not there, or the dtype unknown.
        """
        options: dict[str, Any] = {
            "model": str(model), "device": device, "dtype": dtype, "memory_budget": memory_budget,
        }  # fmt: skip
        if model == TINY:
            return cls(*_tiny(), weights_hash=sha256(TINY.encode()).hexdigest(), **options)
        _device(device)  # before anything large is read
        folder = require_local(model)
        network = load_checkpoint(folder)
        tokenize = _tokenizer_of(network, folder)
        return cls(network, tokenize, weights_hash=weights_hash(folder), **options)

    @property
    def settings(self) -> dict[str, object]:
        """What moves a pixel, besides the weights and the names."""
        config = self.network.config
        return {
            "template": config.template,
            "image_size": config.image_size,
            "max_classes": config.max_classes,
            "dtype": self.dtype,
        }

    def segment(
        self,
        picture: Picture,
        names: Names,
        *,
        void_below: float = 0.0,
        background: bool = False,
        max_pixels: int = MAX_PIXELS,
    ) -> Segmentation:
        """One label for every pixel of a picture.

        Args:
            picture: A file, a PIL image, or an array of bytes.
            names: Class names; a string is read as "road, car=car|truck".
            void_below: Pixels whose confidence is lower get no label.
            background: Add a class for what no name fits.
            max_pixels: Larger pictures are refused.

        Raises:
            ImageError: If the picture cannot be read.
            VocabularyError: If the names are empty, repeated or too long.
            ConfigError: If `void_below` is not between 0 and 1.
        """
        vocabulary = Vocabulary.of(names, has_background=background)
        pixels = read_image(picture, max_pixels=max_pixels)
        result = self.segment_batch([pixels], vocabulary, void_below=void_below)[0]
        if isinstance(picture, str | Path):
            object.__setattr__(result, "stem", Path(picture).stem)
        return result

    def segment_batch(
        self,
        pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]],
        names: Names,
        /,
        *,
        void_below: float = 0.0,
        background: bool = False,
    ) -> list[Segmentation]:
        """One result for each picture; the same as one by one.

        Args:
            pictures: Arrays of bytes, as `escnet.data.image.read_image` gives them.
            names: As in `segment`.
            void_below: As in `segment`.
            background: As in `segment`.

        Raises:
            VocabularyError: If the names are empty, repeated or too long.
            ConfigError: If `void_below` is not between 0 and 1.
        """
        if not 0 <= void_below <= 1:
            raise ConfigError(f"void_below {void_below} is not a confidence: give 0 to 1")
        vocabulary = Vocabulary.of(names, has_background=background)
        if not pictures:
            return []
        text_embedding = self.text_embedding(vocabulary)
        settings = {
            **self.settings, "void_below": void_below, "background": vocabulary.has_background,
        }  # fmt: skip
        results = []
        for pixels, (logits, kept) in zip(
            pictures, self._logits(pictures, text_embedding), strict=True
        ):
            # A label none of whose queries were kept has no logits and cannot win.
            owner = [vocabulary.owner[query] for query in kept]
            label_map, confidence = label_pixels(
                logits,
                owner,
                len(vocabulary),
                pixels.shape[:2],
                void_below=void_below,
                background=vocabulary.has_background,
            )
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

    @torch.inference_mode()
    def text_embedding(self, vocabulary: Vocabulary) -> Float[Tensor, "N D"]:
        """The text embedding of every query, computed once for each vocabulary.

        Raises:
            VocabularyError: If a name has more tokens than the text tower reads.
        """
        texts = vocabulary.templated(self.network.config.template)
        if texts in self._text_cache:
            self._text_cache.move_to_end(texts)
            return self._text_cache[texts]
        parts = []
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            tokens = self._tokenize(texts[start : start + _TEXTS_AT_ONCE])
            parts.append(
                self.network.encode_text(
                    tokens.token.to(self.device), tokens.is_token.to(self.device)
                )
            )
        embedding = torch.cat(parts)
        self._text_cache[texts] = embedding
        if len(self._text_cache) > _CACHED_VOCABULARIES:
            self._text_cache.popitem(last=False)
        return embedding

    @torch.inference_mode()
    def _logits(
        self,
        pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]],
        text_embedding: Float[Tensor, "N D"],
    ) -> list[tuple[Float[Tensor, "M H4 W4"], list[int]]]:
        """Of each picture the logits of the queries that were kept, and which these are."""
        config = self.network.config
        image = torch.stack([_to_tensor(pixels, config.image_size) for pixels in pictures])
        chunk = class_chunk(config, budget=self.memory_budget)
        found = []
        with torch.autocast(self.device.type, DTYPES[self.dtype], enabled=self.dtype != "float32"):
            patches = self.network.vision(image.to(self.device))
            for index in range(len(pictures)):
                one = Patches(
                    patches.joint[index : index + 1],
                    tuple(skip[index : index + 1] for skip in patches.skips),
                )
                kept = likely_queries(one.joint, text_embedding, config.max_classes)
                logits = self.network.segment(one, text_embedding[kept], chunk).logits[0]
                found.append((logits, kept.tolist()))
        return found


def _to_tensor(pixels: UInt8[np.ndarray, "H W 3"], side: int) -> Float[Tensor, "3 side side"]:
    """The whole picture as the network's square input, in [0, 1]."""
    small = Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.asarray(small, np.float32)).permute(2, 0, 1) / 255


def _device(name: str) -> torch.device:
    if name not in DEVICES:
        raise ConfigError(f"device {name!r} is unknown: choose from {', '.join(DEVICES)}")
    has_cuda, has_mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        name = "cuda" if has_cuda else "mps" if has_mps else "cpu"
    elif (name == "cuda" and not has_cuda) or (name == "mps" and not has_mps):
        raise ConfigError(f"device {name!r} is not on this machine: use auto or cpu")
    return torch.device(name)


def _tiny() -> tuple[EscNet, Tokenize]:
    config = preset(TINY)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = EscNet(config)
    text = config.text_config
    return network, byte_tokenizer(
        text["bos_token_id"], text["eos_token_id"], text["max_position_embeddings"]
    )


def _tokenizer_of(network: EscNet, folder: Path) -> Tokenize:
    config = network.config
    most = config.text_config.get("max_position_embeddings", _DEFAULT_TOKENS)
    if config.text == "siglip":
        most = min(most, _SIGLIP_TOKENS)
        return load_tokenizer(folder, most, padded_to=most)
    return load_tokenizer(folder, most)
