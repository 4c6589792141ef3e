"""Recipes of the built-in model's kind: its parts, its data, and the stages of its training."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from escnet.training.pictures_recipe import ColourSection, FolderSection, Probability
from escnet.training.recipe import Recipe, Schedule, Section

# What the network is put together from.
PART_FILES = ("vit", "efficientnet", "sentence", "sam", "clip_text", "label_names")


def _several(value: Any) -> Any:
    """One folder as several; several, which JSON has a list for, as the tuple that they become."""
    if isinstance(value, str | Path):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


Folders = Annotated[tuple[Path, ...], BeforeValidator(_several), Field(min_length=1)]
Weight = Annotated[float, Field(ge=0)]


class PartsSection(Section):
    """Files and folders that the network comes from.

    All the parts, for a network that starts anew; or `start_from` alone, for one that is trained
    further. With both, only the alignment (the map to the joint space and the text map) is that of
    the checkpoint, so that several runs can share one.

    Attributes:
        vit: Tensors of a transformers `Dinov2Model`.
        efficientnet: The published EfficientNet-Lite2 for PyTorch.
        sentence: Folder of the sentence encoder, with its tokenizer.
        sam: Any published form of SAM.
        clip_text: Folder of published CLIP text vectors; see `text_space.py`.
        label_names: texts.json of the tagged pictures, which names ImageNet's labels.
        start_from: A checkpoint of this kind, or its name.
    """

    vit: Path | None = None
    efficientnet: Path | None = None
    sentence: Path | None = None
    sam: Path | None = None
    clip_text: Path | None = None
    label_names: Path | None = None
    start_from: Path | None = None

    @property
    def is_whole_checkpoint(self) -> bool:
        """Whether the network is that of `start_from`, with nothing else to be put together."""
        given = [name for name in PART_FILES if getattr(self, name) is not None]
        return self.start_from is not None and not given

    @model_validator(mode="after")
    def _all_or_none(self) -> "PartsSection":
        for name in PART_FILES:
            if not self.is_whole_checkpoint and getattr(self, name) is None:
                raise ValueError(f"{name} is missing: give all parts, or start_from and no part")
        return self


class CaptionsSection(Section):
    """Pictures with texts but no label maps, from which alignment and presence learn as well.

    Attributes:
        root: Folder with images/ and texts.json, {STEM: [text, ...]}.
        names_of: The source of the labelled pictures whose class names are looked for in the texts.
    """

    root: Path
    names_of: str


class DataSection(FolderSection):
    """What all stages are trained on; all folders of labelled pictures are read alike.

    Attributes:
        train: One or more folders of labelled pictures; their class names become one vocabulary.
        validate_on: The folder whose scores are reported; never trained on.
        synonyms: Other texts for a class name; every other time one of them stands for it.
        left_out: Sources of the folders that are never trained on.
        incomplete: Sources that label some of the things that they have names for and not others:
            what they leave unlabelled is unknown, and so is whether a picture shows a name that it
            has no pixels of.
        withheld: Class names that are never shown as labels; their pixels give no loss.
        captions: Pictures with texts, if there are any; they may speak of what is withheld.
        workers: Processes that read pictures, for each process that trains; 0 reads in between.
    """

    train: Folders
    validate_on: Path | None = None
    synonyms: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    incomplete: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    captions: CaptionsSection | None = None
    workers: int = Field(default=1, ge=0)


class ViewsSection(ColourSection):
    """What is shown of a labelled picture (`views.py`).

    Attributes:
        whole: How often the whole picture is.
        least_area: Else a part of it, with at least this share of its area.
        stretch: At most this many times wider or higher, relative to the picture.
    """

    whole: Probability = 0.4
    least_area: float = Field(default=0.25, gt=0, le=1)
    stretch: float = Field(default=1.3, ge=1)
    colour: Probability = 0.3
    hue: float = Field(default=18, ge=0, le=180)


class _DrawnPictures(Section):
    """Which of the labelled pictures a stage draws how often, and the weights of its loss.

    Attributes:
        source_weights: How often a picture of each source is drawn, relative to the others, which
            have 1.
        rarity: Within a source, a name counts the number of pictures that show it to the power of
            minus this, and a picture is drawn as often as its names count: 0 draws all alike.
        binary_weight: Weight of the binary cross-entropy (`training/loss.py`).
        cross_weight: Weight of the cross-entropy.
        overlap_weight: Weight of the overlap loss, which counts every shown name alike.
        dropout: How often a channel of a feature map is left out.
    """

    source_weights: dict[str, Weight] = Field(default_factory=dict)
    rarity: float = Field(default=0.0, ge=0, le=1)
    binary_weight: float = Field(default=1.0, ge=0)
    cross_weight: float = Field(default=1.0, ge=0)
    overlap_weight: float = Field(default=0.0, ge=0)
    dropout: float = Field(default=0.1, ge=0, lt=1)


class AlignmentSection(Schedule, _DrawnPictures):
    """The map to the joint space and the text map alone, on the correlation.

    The image nets run once; whole pictures are shown. Pictures with texts take part.

    Attributes:
        text_rate: Factor of the rate for the text map.
    """

    kind: Literal["alignment"]
    batch_size: int = Field(default=12, ge=1)
    text_rate: float = Field(default=0.1, ge=0)


class NetworkSection(Schedule, _DrawnPictures):
    """The whole network, but for its presence and its detail.

    Attributes:
        names_per_picture: Class names for each picture: those it shows, and others of its source.
        views: Show random parts of the pictures, for which the image nets run in every step;
            without it whole pictures are shown, for which they run once.
        head_rate: Factor of the rate for the map to the joint space.
        text_rate: Factor of the rate for the text map.
        sam_rate: Factor of the rate for SAM's transformer.
        tower_rate: Factor of the rate for the image nets, which needs `views`; 0 freezes them.
        vit_blocks: The last blocks of the ViT that are trained with them.
        correlation_weight: Weight of the alignment's loss, which weighs all names against each
            other that a picture's source annotates.
        evidence_weight: Weight of the loss on the maps that the blocks read their prompts off
            (docs/paper-notes.md, note 13).
        kept: In the end, this share of the weights is as it was before the stage: the mean of two
            networks is often better than either (Wortsman et al., CVPR 2022).
    """

    kind: Literal["network"]
    names_per_picture: int = Field(default=12, ge=2)
    views: ViewsSection | None = None
    head_rate: float = Field(default=0.2, ge=0)
    text_rate: float = Field(default=0.02, ge=0)
    sam_rate: float = Field(default=0.1, ge=0)
    tower_rate: float = Field(default=0.0, ge=0)
    vit_blocks: int = Field(default=6, ge=0)
    correlation_weight: float = Field(default=0.0, ge=0)
    evidence_weight: float = Field(default=0.3, ge=0)
    kept: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _nets_that_run(self) -> "NetworkSection":
        if self.views is None and self.tower_rate:
            raise ValueError(
                f"tower_rate is {self.tower_rate}, but the image nets run once: give views"
            )
        return self


class PresenceSection(Schedule):
    """Which names a whole picture shows (docs/paper-notes.md, note 28), behind the network.

    Attributes:
        anew: Start with random weights, even where `start_from` has a presence; without it that
            one is trained further, and keeps the statistics of the pictures before.
    """

    kind: Literal["presence"]
    steps: int = Field(default=800, ge=1)
    batch_size: int = Field(default=64, ge=1)
    warmup_share: float = Field(default=0.3, ge=0, lt=1)
    weight_decay: float = Field(default=0.05, ge=0)
    average: float = Field(default=0.9, ge=0, lt=1)
    anew: bool = True


class DetailSection(Schedule, _DrawnPictures):
    """The detail branch (docs/paper-notes.md, note 29), behind the network.

    Attributes:
        views: What is shown of a picture.
        tower_rate: Factor of the rate for the branch's own convolutional net.
        side: Of the square that a view is brought to, in pixels; a view with half the area of the
            picture is seen at the scale of the whole where this is 0.7 of `image_size`.
        most_names: Class names for each picture, those that it shows among them.
        disturbed: How often the network's logits are disturbed, as it makes fewer mistakes on the
            pictures that it was trained on than the branch will have to mend.
        pasted: How often half of the names that another part of the same source shows are pasted
            into a part (`detail_part.py`).
        harder: Sources whose parts are disturbed and pasted into; None for all. One with few
            pictures for each of many names is better left out.
        most_kept: Share of what a name gains that it keeps in the end, at most: beside disturbed
            logits, which are weaker than others, it learns to gain too much.
        enough_pictures: So many have to show a name for it to keep that; of fewer, in proportion
            less. 0 for no such condition.
    """

    kind: Literal["detail"]
    steps: int = Field(default=500, ge=1)
    batch_size: int = Field(default=8, ge=1)
    views: ViewsSection = ViewsSection(whole=0.0, stretch=1.12, colour=0.7)
    tower_rate: float = Field(default=0.25, ge=0)
    side: int = Field(default=352, ge=32, multiple_of=32)
    most_names: int = Field(default=16, ge=2)
    disturbed: float = Field(default=0.7, ge=0, le=1)
    pasted: float = Field(default=0.0, ge=0, le=1)
    harder: tuple[str, ...] | None = None
    most_kept: float = Field(default=1.0, gt=0, le=1)
    enough_pictures: int = Field(default=0, ge=0)


StageSection = Annotated[
    AlignmentSection | NetworkSection | PresenceSection | DetailSection,
    Field(discriminator="kind"),
]


class MiniRecipe(Recipe):
    """A training of the built-in model's kind, stage by stage."""

    parts: PartsSection
    data: DataSection
    stages: tuple[StageSection, ...] = Field(min_length=1)
