"""Sections of a recipe that trains on pictures as they come off the disk, towers included.

The paper's recipe and its ablations are of this kind; docs/how-to/train-as-the-paper.md walks
through one. A recipe of the built-in model's kind, which runs its frozen towers once, has `parts`
and `data` instead.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TowersSection(_Section):
    """Where the towers and SAM come from, and what of them is trained.

    Attributes:
        clip: Folder or hub identifier of the CLIP that the preset names; empty leaves both towers
            at random, which only a test wants.
        tokenizer: Folder or hub identifier of the text tower's tokenizer; empty for that of `clip`.
        sam: Any published form of SAM; needed where the network's `sam` is "pretrained".
        trained: The attention projections of both towers whose weights are trained; none freezes
            the towers. CAT-Seg's are those of queries and values (docs/paper-notes.md, note 30).
        sam_trained: What of the SAM blocks is trained: "all", "attention" (its projections, the
            norms and the tokens), or "none" (note 20).
        clip_rate: Factor of the rate for the towers.
        sam_rate: Factor of the rate for the SAM blocks.
    """

    clip: str
    tokenizer: str = ""
    sam: str = ""
    trained: tuple[Literal["q_proj", "k_proj", "v_proj", "out_proj"], ...] = ("q_proj", "v_proj")
    sam_trained: Literal["all", "attention", "none"] = "attention"
    clip_rate: float = Field(default=0.01, ge=0)
    sam_rate: float = Field(default=0.01, ge=0)


class SourceSection(_Section):
    """Labelled pictures of one kind.

    Attributes:
        data: The name of a published data set, such as "coco-stuff-train", or "folder" for one in
            the project's own format.
        root: The folder that holds it.
        only: Of a folder, only the pictures of this source.
        weight: How large a share of the pictures comes from here, relative to other sources'.
    """

    data: str
    root: Path
    only: str = ""
    weight: float = Field(default=1.0, gt=0)


class AugmentationSection(_Section):
    """How a picture and its label map are changed, together; the defaults are CAT-Seg's.

    Attributes:
        short_side: The picture's shorter side after scaling, in pixels; with two numbers a random
            one between them.
        longest_side: The scaled picture's longer side is at most this.
        crop: Side of the random square that is cut out, which the network then sees at its own
            size. Where the picture ends, grey pixels without a label follow.
        flip: How often it is mirrored.
        colour: How often each of brightness, contrast, saturation and hue is changed.
        brightness: At most this is added to or taken from the pixels, of 255.
        contrast: Pixels are multiplied by a number between these two.
        saturation: The same of the saturation.
        hue: It is turned by at most this many degrees.
    """

    short_side: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = (384, 384)
    longest_side: int = Field(default=1333, ge=1)
    crop: int = Field(default=384, ge=1)
    flip: Share = 0.5
    colour: Share = 0.5
    brightness: float = Field(default=32, ge=0, le=255)
    contrast: tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]] = (0.5, 1.5)
    saturation: tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]] = (0.5, 1.5)
    hue: float = Field(default=36, ge=0, le=180)

    @model_validator(mode="after")
    def _in_order(self) -> "AugmentationSection":
        for name in ("short_side", "contrast", "saturation"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} runs from {low} to {high}: put the smaller one first")
        return self


class TextsSection(_Section):
    """Pictures with texts but no label maps, whose loss is added.

    Attributes:
        root: Folder with images/ and texts.json, {STEM: [text, ...]}.
        weight: Factor of their loss.
        batch_size: Pictures for each step.
        num_texts: Texts that all of them are compared with: one of each, and others.
        pooling: How a text's correlation with the patches becomes one number: their "mean", the
            "max", or "soft": the mean weighted by a softmax over the patches.
        loss: "contrastive": a picture's text against the others; "binary": each by itself.
        scale: Of the cosines in the contrastive loss.
    """

    root: Path
    weight: float = Field(default=0.1, ge=0)
    batch_size: int = Field(default=4, ge=1)
    num_texts: int = Field(default=64, ge=2)
    pooling: Literal["mean", "max", "soft"] = "soft"
    loss: Literal["contrastive", "binary"] = "contrastive"
    scale: float = Field(default=50.0, gt=0)


class PicturesSection(_Section):
    """Everything that a step is fed with.

    Attributes:
        sources: Labelled pictures; their class names become one vocabulary, in this order.
        augmentation: What is done to them.
        texts: Pictures with texts, if there are any.
        names_per_picture: Class names that a picture is trained on: those it shows, and others
            that its source annotates; 0 for the whole vocabulary at every step.
        unlabelled: What pixels without a label are: "negative" for every name, as in CAT-Seg, or
            "ignored".
        loss: "bce": binary cross-entropy of every name; "ce": cross-entropy among the names
            (docs/paper-notes.md, note 18).
        workers: Processes that read pictures, for each process that trains; 0 reads in between.
        validate_on: A folder in the project's own format whose scores are reported; never trained
            on.
    """

    sources: tuple[SourceSection, ...] = Field(min_length=1)
    augmentation: AugmentationSection = AugmentationSection()
    texts: TextsSection | None = None
    names_per_picture: int = Field(default=0, ge=0)
    unlabelled: Literal["negative", "ignored"] = "negative"
    loss: Literal["bce", "ce"] = "bce"
    workers: int = Field(default=4, ge=0)
    validate_on: Path | None = None
