"""What goes in and comes out over HTTP, as typed models: the interface at /docs is made of them.

Sizes: H x W pixels of the picture as it is displayed.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Part = Literal["png", "confidence", "top", "rle", "polygons", "coco"]
Names = str | list[str] | dict[str, str | list[str]]
StoredName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


_GREY_PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
)


class Asked(BaseModel):
    """What is asked of a picture: the names, how it is segmented, and what the answer holds."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    names: Names | None = Field(
        None,
        description='As text ("road, car=car|truck, sky", or one a line, or a class list of any '
        "tool), as a list, or for each label its query or queries.",
        examples=["cup, table"],
    )
    stored_names: StoredName | None = Field(
        None, description="The name of a stored list, in place of `names`."
    )
    background: bool = Field(False, description="Add a class that wins where no name does.")
    level: int = Field(
        0, ge=0, le=16, description="Answer in the groups of a names file; 1 for the outermost."
    )
    void_below: float = Field(
        0.0, ge=0, le=1, description="Pixels of lower confidence get no label."
    )
    windows: Literal["whole", "paper", "native"] = Field(
        "whole", description="How the picture is seen: as a whole or in windows."
    )
    min_area: int = Field(
        0, ge=0, le=10**9, description="Smaller regions go to a neighbour, in pixels."
    )
    fill_holes: int = Field(
        0, ge=0, le=10**9, description="Holes of up to this many pixels are filled."
    )
    exact: bool = Field(False, description="Let every name take part in all work, which is slow.")
    tolerance: float = Field(
        0.5, ge=0, le=100, description="How coarse polygons may be, in pixels."
    )
    per: Literal["name", "region"] = Field(
        "name", description="What a polygon or annotation covers."
    )
    answer: list[Part] = Field(
        ["png"],
        max_length=12,
        description="Which parts the answer has, beside names and shares.",
    )


class AskedOfPicture(Asked):
    """The same with the picture."""

    picture: str = Field(
        description="The picture's file, in base64.", min_length=1, examples=[_GREY_PIXEL]
    )


class AskedExport(BaseModel):
    """What is asked of label maps that are to be written as files."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    names: Names | None = Field(None, description="As of `/v1/segment`.")
    stored_names: StoredName | None = None
    background: bool = Field(False, description="Whether the last index is the background.")
    formats: list[str] = Field(
        ["labels", "overlay", "json"],
        max_length=40,
        description="As the command's --format has them.",
    )
    tolerance: float = Field(0.5, ge=0, le=100)
    per: Literal["name", "region"] = "name"
    shape: Literal["polygon", "rle"] = "polygon"
    opacity: float = Field(0.55, ge=0, le=1)
    outlines: bool = False


class NameAnswer(BaseModel):
    """What the answer says of a name."""

    index: int = Field(description="Its value in the label map.")
    name: str
    colour: str = Field(description="Such as #4f8ff7.", pattern="^#[0-9a-f]{6}$")
    share: float = Field(description="Fraction of the picture's pixels.")
    mean_confidence: float | None = Field(description="Over its own pixels; null without any.")
    presence: float | None = Field(
        description="The probability that the picture shows it at all; null for the background."
    )


class Void(BaseModel):
    """Pixels without a name."""

    label: int = Field(description="Their value in the label map: 255, or 65535 of 16 bits.")
    share: float


class Top(BaseModel):
    """The three best names of every pixel: red the best, green the next, blue the third."""

    indices: str = Field(description="PNG, RGB of 8 bits, in base64: positions in `names`, mod 256")
    upper: str | None = Field(
        description="PNG like `indices`: positions divided by 256; null with up to 254 names."
    )
    probabilities: str = Field(description="PNG like `indices`: 255 is a probability of 1.")


class Mask(BaseModel):
    """COCO's compressed run lengths of one name."""

    index: int
    size: list[int] = Field(description="Height and width.")
    counts: str


class Answer(BaseModel):
    """One picture's answer; parts that were not asked for are null."""

    escnet: str
    model: str
    weights_hash: str
    settings: dict[str, Any]
    height: int
    width: int
    void: Void
    names: list[NameAnswer]
    warnings: list[str] = Field(description="About names that the model cannot tell apart or read.")
    png: str | None = Field(None, description="The label map, an indexed PNG in base64.")
    confidence: str | None = Field(
        None, description="Grey PNG of 8 bits in base64; 255 is a confidence of 1."
    )
    top: Top | None = None
    rle: list[Mask] | None = None
    polygons: dict[str, Any] | None = Field(None, description="GeoJSON in pixels.")
    coco: dict[str, Any] | None = Field(None, description="COCO's images, categories, annotations.")


class ModelAnswer(BaseModel):
    """What the service knows of its model."""

    name: str
    weights_hash: str
    settings: dict[str, Any]


class ModelsAnswer(BaseModel):
    """The models, the formats of files, and the limits."""

    models: list[ModelAnswer]
    formats: dict[str, str] = Field(description="Of `/v1/export`: what each is, in one line.")
    limits: dict[str, int | float]


class QueriesAnswer(BaseModel):
    """A list of names as it was read."""

    names: dict[str, list[str]] = Field(description="For each label its queries.")


class NamesAnswer(BaseModel):
    """A stored list of names."""

    name: str
    names: dict[str, list[str]] = Field(description="For each label its queries.")


class StoredAnswer(BaseModel):
    """The stored lists."""

    lists: list[str]


class JobPicture(BaseModel):
    """How one picture of a batch is."""

    number: int = Field(description="From 1.")
    file: str
    status: Literal["waiting", "running", "done", "failed"]
    error: str | None = None


class JobAnswer(BaseModel):
    """How far a batch is."""

    id: str
    status: Literal["running", "done"]
    num_done: int = Field(description="Pictures that are done, failed ones among them.")
    pictures: list[JobPicture]


class Problem(BaseModel):
    """Why there is no answer."""

    error: str = Field(description="What is wrong and the way out, in one line.")


class Health(BaseModel):
    """How the service is."""

    status: Literal["ok", "starting", "stopping"]
