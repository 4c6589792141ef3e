"""manifest.json of an exported model: what its graphs are, and how to feed them.

A folder with graphs comes from strangers, as any model does. What the manifest says is checked
against the files, by their hashes, and against the graphs as they are opened (`graphs.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from escnet.errors import WeightsError
from escnet.files import display_path
from escnet.small_file import SmallFile
from escnet.towers.text_reading import READINGS
from escnet.weights.origin import file_sha256

FORMAT = 1  # of the manifest and the graphs' names; one to be read otherwise has a higher number
OPSET = 23  # of ONNX: the first with attention
OLDEST_ONNXRUNTIME = "1.23"  # the first that computes it
MANIFEST_FILE = "manifest.json"
GRAPHS = ("image", "look", "head", "text")

Resize = Literal["smooth", "published"]

_MANIFEST = SmallFile(noun="manifest", error=WeightsError, cure="export the model again")
_CURE = "export the model again, or copy the whole folder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an exported model says of itself.

    Attributes:
        method: What outputs call its method: esc-net or cat-seg.
        model_type: Its structure.
        opset: Of ONNX, of all graphs.
        onnxruntime: The oldest version that computes them.
        image_size: Side of the square that the image graph takes, in pixels; values in [0, 1].
        view_size: Side of the square that the method calls its own.
        resize: How a view becomes that square: in one smooth step, or in the steps of the published
            evaluation (`escnet.inference.label_maps.published_resize`).
        joint_dim: Width of the text embeddings.
        template: Sentence that a class name is put into.
        reading: How the tokenizer wants its texts, a name of `escnet.towers.text_reading`.
        most_tokens: The longest text.
        num_tokens: How many tokens the text graph knows.
        max_classes: The most names that the head takes for a picture; 0 for any number.
        rejection: How many labels are left after the look at the first maps; empty for all.
        share_prior: See `escnet.inference.label_maps.labelling`.
        rest: The numbers of `escnet.inference.label_maps.rest.RestRule`; None where a probability
            of one half decides what is the rest.
        settings: What moves a pixel besides.
        tensors: The file that the graphs take their weights from.
        files: SHA-256 of every file of the folder that is used.
        licences: Of the parts that the weights came from.
    """

    method: str
    model_type: str
    opset: int
    onnxruntime: str
    image_size: int
    view_size: int
    resize: Resize
    joint_dim: int
    template: str
    reading: str
    most_tokens: int
    num_tokens: int
    max_classes: int
    rejection: tuple[int, ...]
    share_prior: float
    rest: Mapping[str, float] | None
    settings: Mapping[str, object]
    tensors: str
    files: Mapping[str, str]
    licences: tuple[str, ...]

    @property
    def weights_hash(self) -> str:
        """SHA-256 of the file of tensors: equal hashes are the same weights, in either runtime."""
        return self.files[self.tensors]

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """The manifest of a folder.

        Raises:
            WeightsError: If it cannot be read, lacks something, or asks for another version.
        """
        path = folder / MANIFEST_FILE
        record = _MANIFEST.object_of(path)
        number = record.pop("format", None)
        record.pop("escnet", None)
        if number != FORMAT:
            raise WeightsError(
                f"{display_path(path)} has the format {number!r:.40}, and this version reads "
                f"{FORMAT}: export the model again, or install the version that wrote it"
            )
        names = {field.name for field in fields(cls)}
        if wrong := names ^ record.keys():
            has = "lacks" if min(wrong) in names else "has an unknown"
            raise WeightsError(f"{display_path(path)} {has} {min(wrong)!r}: {_CURE}")
        for name, kinds in _KINDS.items():
            if not isinstance(record[name], kinds) or isinstance(record[name], bool):
                raise WeightsError(
                    f"{display_path(path)} has {name} {record[name]!r:.40}, which cannot be: "
                    f"{_CURE}"
                )
        for name in ("rejection", "licences"):
            record[name] = tuple(record[name])
        made = cls(**record)
        made.check(path)
        return made

    def check(self, path: Path) -> None:
        """Refuse values that no export of this version writes.

        Raises:
            WeightsError: Naming the value.
        """
        if self.opset != OPSET:
            raise WeightsError(
                f"{display_path(path)} is of ONNX's opset {self.opset}, and this version computes "
                f"{OPSET}: export the model again"
            )
        allowed: dict[str, tuple[object, ...]] = {
            "resize": get_args(Resize),
            "reading": tuple(READINGS),
        }
        for name, known in allowed.items():
            if (value := getattr(self, name)) not in known:
                raise WeightsError(
                    f"{display_path(path)} has {name} {value!r:.40}: choose from "
                    f"{', '.join(map(str, known))}"
                )
        needed = [self.tensors, *(f"{graph}.onnx" for graph in GRAPHS)]
        for name in [*needed, *self.files]:
            if name not in self.files or not isinstance(self.files[name], str):
                raise WeightsError(f"{display_path(path)} has no hash of {name}: {_CURE}")
            if Path(name).name != name:
                raise WeightsError(
                    f"{display_path(path)} names {name!r}, outside its folder: {_CURE}"
                )

    def check_files(self, folder: Path) -> None:
        """Check that every file is there and the one that was exported.

        Raises:
            WeightsError: Naming the first that is not.
        """
        for name, sha256 in self.files.items():
            if not (folder / name).is_file():
                raise WeightsError(f"exported model {display_path(folder)} lacks {name}: {_CURE}")
            if file_sha256(folder / name) != sha256:
                raise WeightsError(
                    f"{display_path(folder / name)} is not the file that {MANIFEST_FILE} names "
                    f"(its SHA-256 differs): {_CURE}"
                )


def is_exported(folder: Path) -> bool:
    """Whether a folder has a manifest; it may still be damaged."""
    return (folder / MANIFEST_FILE).is_file()


_KINDS: Mapping[str, Any] = {
    "method": str,
    "model_type": str,
    "opset": int,
    "onnxruntime": str,
    "image_size": int,
    "view_size": int,
    "resize": str,
    "joint_dim": int,
    "template": str,
    "reading": str,
    "most_tokens": int,
    "num_tokens": int,
    "max_classes": int,
    "rejection": list,
    "share_prior": int | float,
    "rest": dict | None,
    "settings": dict,
    "tensors": str,
    "files": dict,
    "licences": list,
}
