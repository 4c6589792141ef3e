"""A recipe that trains on pictures as they come off the disk, towers included.

The paper's recipe, its ablations and CAT-Seg's are of this kind; docs/how-to/train-as-the-paper.md
walks through one.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field, model_validator

from escnet.data.conventions import ZERO_IS, Conventions, read_id_map
from escnet.data.label_table import NUM_VALUES
from escnet.data.reading import FolderOptions
from escnet.training.recipe import Recipe, Schedule, Section, TrainingSection

Probability = Annotated[float, Field(ge=0, le=1)]
Factor = Annotated[float, Field(ge=0)]
Length = Annotated[int, Field(ge=1)]
LabelValue = Annotated[int, Field(ge=0, lt=NUM_VALUES)]
Number = TypeVar("Number", int, float)


def _in_order(interval: tuple[Number, Number]) -> tuple[Number, Number]:
    low, high = interval
    if low > high:
        raise ValueError(f"runs from {low} to {high}: put the smaller one first")
    return interval


Interval = Annotated[tuple[Factor, Factor], AfterValidator(_in_order)]


class TowersSection(Section):
    """Where the towers and SAM come from, and what of them is trained.

    Attributes:
        model: Folder or hub identifier of both towers, of a kind in `escnet.towers.table`; empty
            leaves them at random, which only a test wants.
        tokenizer: Folder or hub identifier of the text tower's tokenizer; empty for that of
            `model`.
        sam: Any published form of SAM; needed where the network's `sam` is "pretrained".
        trained: The attention projections of both towers whose weights are trained; none freezes
            the towers. CAT-Seg's are those of queries and values (docs/paper-notes.md, note 30).
        sam_trained: What of the SAM blocks is trained: "all", "attention" (its projections, the
            norms and the tokens), or "none" (note 20).
        rate: Factor of the rate for the towers.
        sam_rate: Factor of the rate for the SAM blocks.
    """

    model: str
    tokenizer: str = ""
    sam: str = ""
    trained: tuple[Literal["q_proj", "k_proj", "v_proj", "out_proj"], ...] = ("q_proj", "v_proj")
    sam_trained: Literal["all", "attention", "none"] = "attention"
    rate: float = Field(default=0.01, ge=0)
    sam_rate: float = Field(default=0.01, ge=0)


class FolderSection(Section):
    """How a folder of labelled pictures is read, where it does not say so itself.

    Attributes:
        layout: Which reading is meant, where a folder allows several.
        split: Which part is meant, where it has several.
        classes_file: The class names, in label order, where they are not beside the label maps.
        ignore: Values of label maps that count nowhere, besides 255.
        zero_is: What 0 is in label maps: the "first" class, or "unlabelled" or "background", and
            the classes begin with 1.
        offset: The value of the first class in label maps.
        id_map: A file from values of label maps to class names, "ignore" or "background".
    """

    layout: str | None = None
    split: str | None = None
    classes_file: Path | None = None
    ignore: tuple[LabelValue, ...] = ()
    zero_is: ZERO_IS | None = None
    offset: LabelValue | None = None
    id_map: Path | None = None

    @model_validator(mode="after")
    def _one_meaning(self) -> "FolderSection":
        if self.id_map is not None and (self.zero_is or self.offset is not None):
            raise ValueError(
                "id_map says what every value is, 0 and the first too: leave zero_is and offset out"
            )
        return self

    def reading(self) -> dict[str, Any]:
        """These settings alone, without those of a section that has more."""
        return {name: getattr(self, name) for name in FolderSection.model_fields}

    def options(self) -> FolderOptions:
        """The same for what reads the folder.

        Raises:
            ConfigError: If the id map cannot be read.
        """
        return FolderOptions(
            layout=self.layout,
            split=self.split,
            class_file=self.classes_file,
            conventions=Conventions(
                ignore=self.ignore,
                zero_is=self.zero_is,
                offset=self.offset,
                ids=None if self.id_map is None else read_id_map(self.id_map),
            ),
        )


class SourceSection(FolderSection):
    """Labelled pictures of one kind; how they are read is said of folders alone.

    Attributes:
        data: The name of a published data set, such as "coco-stuff-train", or "folder" for any
            other folder of labelled pictures.
        root: The folder that holds it.
        only: Of a folder, only the pictures of this source.
        weight: How large a share of the pictures comes from here, relative to other sources'.
    """

    data: str
    root: Path
    only: str = ""
    weight: float = Field(default=1.0, gt=0)


class ColourSection(Section):
    """How the colours of a picture are changed; the defaults are CAT-Seg's.

    Attributes:
        colour: How often each of brightness, contrast, saturation and hue is changed.
        brightness: At most this is added to or taken from the pixels, of 255.
        contrast: Pixels are multiplied by a number between these two.
        saturation: The same of the saturation.
        hue: It is turned by at most this many degrees.
    """

    colour: Probability = 0.5
    brightness: float = Field(default=32, ge=0, le=255)
    contrast: Interval = (0.5, 1.5)
    saturation: Interval = (0.5, 1.5)
    hue: float = Field(default=36, ge=0, le=180)


class AugmentationSection(ColourSection):
    """How a picture and its label map are changed, together; the defaults are CAT-Seg's.

    Attributes:
        short_side: The picture's shorter side after scaling, in pixels; with two numbers a random
            one between them.
        longest_side: The scaled picture's longer side is at most this.
        crop: Side of the random square that is cut out, which the network then sees at its own
            size. Where the picture ends, grey pixels without a label follow.
        flip: How often it is mirrored.
    """

    short_side: Annotated[tuple[Length, Length], AfterValidator(_in_order)] = (384, 384)
    longest_side: int = Field(default=1333, ge=1)
    crop: int = Field(default=384, ge=1)
    flip: Probability = 0.5


class PicturesSection(Section):
    """Everything that a step is fed with.

    Attributes:
        sources: Labelled pictures; their class names become one vocabulary, in this order.
        augmentation: What is done to them.
        names_per_picture: Class names that a picture is trained on: those it shows, and others
            that its source annotates; 0 for the whole vocabulary at every step.
        unlabelled: What pixels without a label are: "negative" for every name, as in CAT-Seg, or
            "ignored".
        loss: "bce": binary cross-entropy of every name; "ce": cross-entropy among the names
            (docs/paper-notes.md, note 18).
        workers: Processes that read pictures, for each process that trains; 0 reads in between.
        validate_on: A folder of labelled pictures whose scores are reported; never trained on. What
            its label maps mean, a classes.json beside them can say.
    """

    sources: tuple[SourceSection, ...] = Field(min_length=1)
    augmentation: AugmentationSection = AugmentationSection()
    names_per_picture: int = Field(default=0, ge=0)
    unlabelled: Literal["negative", "ignored"] = "negative"
    loss: Literal["bce", "ce"] = "bce"
    workers: int = Field(default=4, ge=0)
    validate_on: Path | None = None


class PicturesTraining(TrainingSection, Schedule):
    """The schedule, and how a step computes.

    Attributes:
        evidence_weight: Weight of the loss on the maps that the blocks read their prompts off
            (docs/paper-notes.md, note 13).
        accumulation: Passes that a step is split into in each process, which saves memory.
    """

    evidence_weight: float = Field(default=0.3, ge=0)
    accumulation: int = Field(default=1, ge=1)


class PicturesRecipe(Recipe):
    """A training of the network with its towers, in one stage."""

    towers: TowersSection
    pictures: PicturesSection
    training: PicturesTraining = PicturesTraining()
