"""Training-free: a CLIP or SigLIP alone, its correlation with the names taken as the answer.

Of an ESC-Net checkpoint its own correlation is taken. A CLIP or SigLIP has choices:
`training-free:CLIP?attention=sclip&templates=single`. attention is clip, maskclip, sclip or naclip
(escnet.model.self_attention), templates is subset or single; an ESC-Net checkpoint has no choices.

Sizes: N texts, D the width of the joint space, B views, h x w patches.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast, get_args

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from escnet.errors import ConfigError, WeightsError
from escnet.inference.machine.device import chosen_device, chosen_dtype
from escnet.inference.methods.esc_method import load_esc_method, square_image, tiny_esc_method
from escnet.inference.methods.method import ViewLogits
from escnet.inference.methods.model_name import TINY, ModelName
from escnet.inference.methods.tokens import Tokenize, load_tower_tokenizer
from escnet.model.correlation import correlation_map
from escnet.model.escnet import EscNet
from escnet.model.self_attention import ATTENTIONS, Attention, dense_embedding
from escnet.model.text import ClipText, SiglipText
from escnet.model.vision import ClipVision, SiglipVision
from escnet.weights.assemble import install_tower
from escnet.weights.catalog import require_local, tensor_file_of
from escnet.weights.checkpoint import weights_hash
from escnet.weights.config_file import (
    CONFIG_FILE,
    check_settings,
    read_json_config,
    refuse_unusable,
)
from escnet.weights.tensor_file import read_tensors

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
_EVEN_COSINE = {"clip": 0.2, "siglip": 0.0}  # logit 0: matters to the background rule alone
_TEXTS_AT_ONCE = 32


class Choices(NamedTuple):
    """How a CLIP or SigLIP is read out."""

    attention: Attention = "naclip"
    templates: Templates = "subset"


class ClipCorrelator(nn.Module):
    """The two towers of a CLIP or SigLIP, without anything trained between them."""

    def __init__(
        self,
        vision: ClipVision | SiglipVision,
        text: ClipText | SiglipText,
        attention: Attention,
    ) -> None:
        super().__init__()
        self.vision = vision
        self.text = text
        self.attention = attention
        self.even_cosine = _EVEN_COSINE["clip" if isinstance(vision, ClipVision) else "siglip"]

    def encode_text(
        self, token: Int[Tensor, "N T"], is_token: Int[Tensor, "N T"]
    ) -> Float[Tensor, "N D"]:
        """Text embeddings of tokenised sentences."""
        return cast("Tensor", self.text(token, is_token))

    def correlate_image(
        self, image: Float[Tensor, "B 3 H W"], text_embedding: Float[Tensor, "N D"]
    ) -> Float[Tensor, "B N h w"]:
        """The correlation of each patch with each name, as logits."""
        joint = dense_embedding(self.vision, image, self.attention)
        return _SCALE * (correlation_map(joint, text_embedding) - self.even_cosine)


class EscCorrelator(nn.Module):
    """An ESC-Net's towers and its scaled correlation, without its blocks."""

    def __init__(self, network: EscNet) -> None:
        super().__init__()
        self.network = network

    def encode_text(
        self, token: Int[Tensor, "N T"], is_token: Int[Tensor, "N T"]
    ) -> Float[Tensor, "N D"]:
        """Text embeddings of tokenised sentences."""
        return self.network.encode_text(token, is_token)

    def correlate_image(
        self, image: Float[Tensor, "B 3 H W"], text_embedding: Float[Tensor, "N D"]
    ) -> Float[Tensor, "B N h w"]:
        """The network's first evidence."""
        return self.network.correlate(self.network.vision(image), text_embedding)


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
        correlator: ClipCorrelator | EscCorrelator,
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

    @torch.inference_mode()
    def encode_text(self, texts: Sequence[str]) -> Float[Tensor, "N D"]:
        """The mean of each name's embeddings over the templates.

        Raises:
            VocabularyError: If a text has more tokens than the text tower reads.
        """
        parts = []
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            some = texts[start : start + _TEXTS_AT_ONCE]
            filled = [template.replace("{}", text) for text in some for template in self._templates]
            tokens = self._tokenize(filled)
            embedding = self.correlator.encode_text(
                tokens.token.to(self.device), tokens.is_token.to(self.device)
            )
            each = F.normalize(embedding, dim=1).unflatten(0, (len(some), -1))
            parts.append(each.mean(dim=1))
        return torch.cat(parts)

    @torch.inference_mode()
    def logits(
        self, views: Sequence[UInt8[np.ndarray, "_ _ 3"]], text_embedding: Float[Tensor, "N D"]
    ) -> list[ViewLogits]:
        """The logits of every text in each view; the same as one by one."""
        image = torch.stack([square_image(view, self.view_size) for view in views])
        is_mixed = self.dtype != "float32"
        with torch.autocast(self.device.type, chosen_dtype(self.dtype), enabled=is_mixed):
            logits = self.correlator.correlate_image(image.to(self.device), text_embedding)
        every = list(range(text_embedding.shape[0]))
        return [ViewLogits(one, every) for one in logits]


def choices_of(name: ModelName) -> Choices:
    """How the weights are read out.

    Raises:
        ConfigError: If a choice is unknown.
    """
    allowed = {"attention": ATTENTIONS, "templates": get_args(Templates)}
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
    folder = None if name.weights == TINY else require_local(name.weights)
    kind = "escnet" if folder is None else _read_config(folder).get("model_type")
    if kind == "escnet":
        if name.choices:
            raise ConfigError(
                f"{name.weights!r} is an ESC-Net, read out in one way: drop what follows the "
                "question mark"
            )
        return _of_esc_net(folder, device=device, dtype=dtype)
    if folder is None or kind not in {"clip", "siglip"}:
        raise WeightsError(
            f"{name.weights} has the layout {kind!r}: training-free reads clip, siglip and escnet "
            "folders of transformers"
        )
    correlator, tokenize, side = _read_clip(folder, kind, choices.attention)
    method = TrainingFreeMethod(
        correlator,
        tokenize,
        view_size=side,
        templates=_TEMPLATES[choices.templates],
        choices={"attention": choices.attention, "logit_scale": _SCALE},
        device=device,
        dtype=dtype,
    )
    return method, weights_hash(folder)


def _of_esc_net(folder: Path | None, *, device: str, dtype: str) -> tuple[TrainingFreeMethod, str]:
    if folder is None:
        esc, digest = tiny_esc_method(device=device, dtype=dtype)
    else:
        esc, digest = load_esc_method(folder, device=device, dtype=dtype)
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


def _read_clip(
    folder: Path, kind: str, attention: Attention
) -> tuple[ClipCorrelator, Tokenize, int]:
    """A CLIP's or SigLIP's towers and tokenizer, and the side of its pictures."""
    config = _read_config(folder)
    check_settings(config, folder / CONFIG_FILE)
    path = tensor_file_of(folder)
    tensors = read_tensors(path)
    with refuse_unusable(folder / CONFIG_FILE):
        vision, text = _build_towers(kind, config)
        for tower, starts in (
            (vision.tower, ("vision_model.", "visual_")),
            (text.tower, ("text_model.", "text_projection")),
        ):
            part = {k: v for k, v in tensors.items() if k.startswith(starts)}
            install_tower(tower, part, str(path))
    most = text.tower.config.max_position_embeddings
    tokenize = load_tower_tokenizer(folder, kind, most)
    side: int = vision.tower.config.image_size
    return ClipCorrelator(vision, text, attention), tokenize, side


def _build_towers(
    kind: str, config: Mapping[str, Any]
) -> tuple[ClipVision | SiglipVision, ClipText | SiglipText]:
    """The towers, random, that a folder's settings describe."""
    shared = {"projection_dim": config.get("projection_dim", 512)} if kind == "clip" else {}
    vision_config = {**config.get("vision_config", {}), **shared}
    text_config = {**config.get("text_config", {}), **shared}
    if kind == "clip":
        return ClipVision(vision_config, taps=(0, 0)), ClipText(text_config)
    return SiglipVision(vision_config, taps=(0, 0)), SiglipText(text_config)


def _read_config(folder: Path) -> dict[str, Any]:
    config = read_json_config(folder / CONFIG_FILE)
    if config is None:
        raise WeightsError(f"{folder} has no {CONFIG_FILE}: give the folder of a CLIP or SigLIP")
    return config
