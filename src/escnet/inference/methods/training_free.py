"""Training-free: two towers alone, its correlation with the names taken as the answer.

Of an ESC-Net checkpoint its own correlation is taken. A CLIP or SigLIP has choices:
`training-free:CLIP?attention=sclip&templates=single`. attention is clip, maskclip, sclip or naclip
(escnet.towers.self_attention), templates is subset or single; an ESC-Net checkpoint has no choices.

Sizes: N texts, D the width of the joint space, B views, h x w patches.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast, get_args

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int
from torch import Tensor, nn

from escnet.errors import ConfigError
from escnet.inference.label_maps.published_resize import View, square_image
from escnet.inference.machine.device import chosen_device, chosen_dtype
from escnet.inference.methods.esc_method import EscMethod, tiny_esc_method
from escnet.inference.methods.memory import DEFAULT_BUDGET
from escnet.inference.methods.method import EncodedView, ViewLogits
from escnet.inference.methods.model_name import TINY, ModelName
from escnet.inference.methods.network_method import (
    as_array,
    num_tokens_of,
    precision,
    tower_settings,
)
from escnet.inference.methods.tokens import Tokenize, encode_in_parts, load_tokenizer, text_keys
from escnet.model.correlation import correlation_map
from escnet.model.escnet import EscNet
from escnet.structures import STRUCTURES, structure_of
from escnet.towers.patches import Patches
from escnet.towers.self_attention import ATTENTIONS
from escnet.towers.tower import TextTower, Towers
from escnet.weights.catalog import require_local
from escnet.weights.checkpoint import model_type_of
from escnet.weights.config_file import model_type_in
from escnet.weights.tower_folder import TowerFolder

Templates = Literal["subset", "single"]

_TEMPLATES: dict[str, tuple[str, ...]] = {
    "single": ("a photo of a {}.",),
    "subset": (  # the seven of the eighty for ImageNet that CLIP's authors found to do as well
        "itap of a {}.",
        "a bad photo of the {}.",
        "a origami {}.",
        "a photo of the large {}.",
        "a {} in a video game.",
        "art of the {}.",
        "a photo of the small {}.",
    ),
}
_SCALE = 40.0  # of SCLIP and NACLIP
_TEXTS_AT_ONCE = 32


class Choices(NamedTuple):
    """How a CLIP or SigLIP is read out."""

    attention: str | None = None  # the towers' usual one
    templates: Templates = "subset"


class TowerCorrelator(nn.Module):
    """Two towers, without anything trained between them.

    Args:
        towers: The towers.
        attention: What the image tower's last block attends by.
        even_cosine: The correlation of logit 0, which matters to the background rule alone.
    """

    def __init__(self, towers: Towers, *, attention: str, even_cosine: float) -> None:
        super().__init__()
        self.vision, self.text = towers
        self.attention = attention
        self.even_cosine = even_cosine

    def encode_text(
        self, token: Int[Tensor, "N T"], is_token: Int[Tensor, "N T"]
    ) -> Float[Tensor, "N D"]:
        """Text embeddings of tokenised sentences."""
        return cast("Tensor", self.text(token, is_token))

    def encode_images(self, image: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "1 D h w"]]:
        """The patch embeddings of each picture in the joint space."""
        return list(self.vision.dense_embedding(image, self.attention).split(1))

    def correlate(
        self, joint: Float[Tensor, "1 D h w"], text_embedding: Float[Tensor, "N D"]
    ) -> Float[Tensor, "1 N h w"]:
        """The correlation of each patch with each name, as logits."""
        return _SCALE * (correlation_map(joint, text_embedding) - self.even_cosine)


class EscCorrelator(nn.Module):
    """An ESC-Net's towers and its scaled correlation, without its blocks."""

    def __init__(self, network: EscNet) -> None:
        super().__init__()
        self.network = network

    @property
    def text(self) -> TextTower:
        """The text tower."""
        return self.network.text

    def encode_text(
        self, token: Int[Tensor, "N T"], is_token: Int[Tensor, "N T"]
    ) -> Float[Tensor, "N D"]:
        """Text embeddings of tokenised sentences."""
        return self.network.encode_text(token, is_token)

    def encode_images(self, image: Float[Tensor, "B 3 H W"]) -> list[Patches]:
        """Each picture as the vision tower sees it."""
        return self.network.vision(image).each()

    def correlate(
        self, patches: Patches, text_embedding: Float[Tensor, "N D"]
    ) -> Float[Tensor, "1 N h w"]:
        """The image-text correlation (Eq. 1), scaled and shifted as the network's blocks see it."""
        return self.network.correlate(patches, text_embedding)


class TrainingFreeMethod:
    """Correlation as the answer, ready for views.

    Args:
        correlator: The towers.
        tokenize: Of the text tower.
        view_size: Side of the square that the tower sees.
        templates: Sentences over whose normalised embeddings a name's is the mean.
        choices: What moves a pixel besides weights, names and size, for the record.
    """

    name = "training-free"
    template = "{}"  # the sentences are filled in by `encode_text`, one name in each

    def __init__(
        self,
        correlator: TowerCorrelator | EscCorrelator,
        tokenize: Tokenize,
        *,
        view_size: int,
        templates: tuple[str, ...],
        choices: Mapping[str, object],
        device: str = "auto",
        dtype: str = "float32",
    ) -> None:
        chosen_dtype(dtype)
        self.device = chosen_device(device)
        self.dtype = dtype
        self.view_size = view_size
        self.correlator: Any = correlator.eval().to(self.device)
        self._tokenize = tokenize
        self._templates = templates
        self._choices = dict(choices)

    @property
    def settings(self) -> dict[str, object]:
        """What moves a pixel besides weights, names and size."""
        return {**self._choices, "templates": list(self._templates), "dtype": self.dtype}

    @property
    def num_tokens(self) -> int:
        """How many tokens the text tower knows."""
        return num_tokens_of(self.correlator)

    @torch.inference_mode()
    def encode_text(self, texts: Sequence[str]) -> Float32[np.ndarray, "N D"]:
        """The mean of each name's embeddings over the templates.

        Raises:
            VocabularyError: If a text has more tokens than the text tower reads.
        """

        def encode(some: Sequence[str]) -> Float32[np.ndarray, "n D"]:
            tokens = self._tokenize(self._filled(some))
            token, is_token = (torch.from_numpy(part) for part in tokens)
            embedding = self.correlator.encode_text(token.to(self.device), is_token.to(self.device))
            each = F.normalize(embedding, dim=1).unflatten(0, (len(some), -1))
            return as_array(each.mean(dim=1))

        return encode_in_parts(texts, encode, _TEXTS_AT_ONCE)

    def text_keys(self, texts: Sequence[str]) -> list[bytes]:
        """For each text a hash of all that its embedding depends on besides the weights.

        Raises:
            VocabularyError: If a text has more tokens than the text tower reads.
        """
        settings = tower_settings(self.correlator.text, self.device)
        return text_keys(self._tokenize(self._filled(texts)), settings, len(self._templates))

    def _filled(self, texts: Sequence[str]) -> list[str]:
        return [template.replace("{}", text) for text in texts for template in self._templates]

    rejection = ()  # every name has a map

    @torch.inference_mode()
    def encode_views(self, views: Sequence[View]) -> list[EncodedView]:
        """Each view as the image tower sees it."""
        image = torch.from_numpy(np.stack([square_image(view, self.view_size) for view in views]))
        with precision(self.device, self.dtype):
            return self.correlator.encode_images(image.to(self.device))

    @torch.inference_mode()
    def logits(
        self,
        views: Sequence[EncodedView],
        text_embedding: Float32[np.ndarray, "N D"],
        owner: Sequence[int] | None = None,  # noqa: ARG002 -- every name takes part
    ) -> list[ViewLogits]:
        """The logits of every text in each view; the same as one by one."""
        text = torch.from_numpy(text_embedding).to(self.device)
        every = list(range(text_embedding.shape[0]))
        with precision(self.device, self.dtype):
            return [
                ViewLogits(as_array(self.correlator.correlate(view, text)[0]), every)
                for view in views
            ]


def choices_of(name: ModelName) -> Choices:
    """How the weights are read out.

    Raises:
        ConfigError: If a choice is unknown.
    """
    allowed = {"attention": (*ATTENTIONS, "own"), "templates": get_args(Templates)}
    for key, value in name.choices:
        if key not in allowed:
            raise ConfigError(
                f"no choice {key!r} of training-free: choose from attention, templates"
            )
        if value not in allowed[key]:
            raise ConfigError(f"no {key} {value!r}: choose from {', '.join(allowed[key])}")
    return Choices(**cast("dict[str, Any]", dict(name.choices)))


def load_training_free(
    name: ModelName, *, device: str, dtype: str
) -> tuple[TrainingFreeMethod, str]:
    """The method of a name's weights alone, and their hash.

    Raises:
        WeightsError: If the weights are not here, damaged, or of an unknown layout.
        ConfigError: If a choice is unknown.
    """
    choices = choices_of(name)
    is_tiny = name.weights == TINY
    if is_tiny or model_type_in(require_local(name.weights)) in STRUCTURES:
        if name.choices:
            raise ConfigError(
                f"{name.weights!r} is an ESC-Net, read out in one way: drop what follows the "
                "question mark"
            )
        return _of_esc_net(name.weights, device=device, dtype=dtype)
    folder = TowerFolder.read(name.weights)
    towers = folder.towers()
    attention = choices.attention or towers.vision.attentions[0]
    if attention not in towers.vision.attentions:
        raise ConfigError(
            f"no attention {attention!r} of {folder.kind.title}: choose from "
            f"{', '.join(towers.vision.attentions)}"
        )
    most = folder.settings.text.max_position_embeddings
    method = TrainingFreeMethod(
        TowerCorrelator(towers, attention=attention, even_cosine=folder.kind.even_cosine),
        load_tokenizer(folder.path, most, folder.kind.reading),
        view_size=folder.settings.image_size,
        templates=_TEMPLATES[choices.templates],
        choices={"attention": attention, "logit_scale": _SCALE},
        device=device,
        dtype=dtype,
    )
    return method, folder.sha256()


def _of_esc_net(name: str, *, device: str, dtype: str) -> tuple[TrainingFreeMethod, str]:
    options: dict[str, Any] = {"device": device, "dtype": dtype, "memory_budget": DEFAULT_BUDGET}
    if name == TINY:
        esc, digest = tiny_esc_method(**options)
    else:
        folder = require_local(name)
        loaded = structure_of(model_type_of(folder)).load_method(folder, **options)
        if not isinstance(loaded.method, EscMethod):
            raise ConfigError(
                f"{name} is a {loaded.method.name}, whose correlation alone is not read out: give "
                "an ESC-Net, or two towers"
            )
        esc, digest = loaded.method, loaded.weights_hash
    method = TrainingFreeMethod(
        EscCorrelator(esc.network),
        esc.tokenize,
        view_size=esc.view_size,
        templates=(esc.template,),
        choices={"attention": "own"},
        device=device,
        dtype=dtype,
    )
    return method, digest
