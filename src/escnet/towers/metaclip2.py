"""MetaCLIP 2 (Chuang et al., NeurIPS 2025): CLIP's networks, trained on over 300 languages.

Its tokenizer, that of XLM-V, reads texts of every script as they are. The picture goes the way that
CLIP's does.
"""

from collections.abc import Mapping
from typing import Any

from transformers import (
    MetaClip2Config,
    MetaClip2TextConfig,
    MetaClip2TextModelWithProjection,
    MetaClip2VisionConfig,
    MetaClip2VisionModelWithProjection,
    PreTrainedModel,
)

from escnet.towers.clip import CLIPS_PARTS, ClipText, ClipVision, clips_settings
from escnet.towers.kind import TowerKind, TowerSettings
from escnet.towers.text_reading import READINGS


class MetaClip2Vision(ClipVision):
    """MetaCLIP 2's image tower, read out as CLIP's."""

    @staticmethod
    def random_tower(config: dict[str, Any]) -> PreTrainedModel:
        return MetaClip2VisionModelWithProjection(MetaClip2VisionConfig(**config))


class MetaClip2Text(ClipText):
    """MetaCLIP 2's text tower: the projected embedding of the first end token."""

    @staticmethod
    def random_tower(config: dict[str, Any]) -> PreTrainedModel:
        return MetaClip2TextModelWithProjection(MetaClip2TextConfig(**config))


def _settings_of(record: Mapping[str, Any]) -> TowerSettings:
    return clips_settings(MetaClip2Config.from_dict(dict(record)))


METACLIP_2 = TowerKind(
    name="metaclip_2",
    title="MetaCLIP 2",
    vision=MetaClip2Vision,
    text=MetaClip2Text,
    settings_of=_settings_of,
    parts=CLIPS_PARTS,
    reading=READINGS["metaclip2"],
    even_cosine=0.2,
)
