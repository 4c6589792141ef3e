"""Our own checkpoints: a folder with config.json, one file of tensors, and the tokenizer's files.

In float32 and float16 it is the folder that `EscNet.save_pretrained` writes, and plain
`EscNet.from_pretrained` reads it. In int8 the tensors need their scales, so the file has another
name and `from_pretrained` finds nothing there, instead of reading integers as if they were weights:
load such a folder with `load_checkpoint`, which reads all three and is strict.
"""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save_file
from torch import Tensor

from escnet.errors import OutputError, WeightsError
from escnet.files import check_replaceable
from escnet.model.escnet import EscNet
from escnet.structures import STRUCTURES, structure_of
from escnet.towers.network import FORMAT, Network
from escnet.weights.config_file import (
    CONFIG_FILE,
    check_settings,
    read_json_config,
    refuse_unusable,
)
from escnet.weights.install import refuse_report
from escnet.weights.origin import Origin, origins_of
from escnet.weights.quiet import quiet_transformers
from escnet.weights.storage import INT8_FILE, STORAGES, Storage, pack, unpack, unpacked_shapes
from escnet.weights.tensor_file import (
    check_values,
    read_all_tensors,
    read_header,
    read_tensors,
    tensor_files_in,
    tensors_sha256,
)
from escnet.weights.tokenizer_files import TOKENIZER_FILE, has_tokenizer, tokenizer_json

AnyNetwork = TypeVar("AnyNetwork", bound=Network)

_PLAIN_FILE = "model.safetensors"
_STORAGE_KEY = "storage"  # in the header of the file of tensors


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSummary:
    """What a checkpoint says of itself, read without its tensors.

    Attributes:
        config: Its config.json.
        storage: How the tensors are stored.
        num_values: Number of stored values (parameters and buffers) of each part of the network.
        num_bytes: Size of its file of tensors, or of all its pieces.
        weights_hash: SHA-256 of these.
        origins: Where its parts came from.
    """

    config: Mapping[str, Any]
    storage: Storage
    num_values: Mapping[str, int]
    num_bytes: int
    weights_hash: str
    origins: tuple[Origin, ...]


def write_checkpoint(
    folder: str | Path,
    model: Network,
    *,
    storage: Storage = "float32",
    halve: Sequence[str] = (),
    tokenizer_from: str | Path | None = None,
) -> None:
    """Write a network into a folder; an earlier checkpoint there is replaced.

    Args:
        folder: Made if it does not exist.
        model: The network; its `config.origins` say where its parts came from.
        storage: See `escnet.weights.storage`.
        halve: Patterns of names that int8 storage keeps in half precision, such as
            "*._project_conv.*".
        tokenizer_from: A folder whose tokenizer files are copied beside.

    Raises:
        OutputError: If the folder cannot be written, or holds somebody's own files of these names.
        ConfigError: If there is no such storage, or a pattern would halve nothing.
    """
    folder = Path(folder)
    check_checkpoint_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Within the folder, so that each finished file is moved into place on the same disk.
        with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as unfinished:
            path = Path(unfinished) / (INT8_FILE if storage == "int8" else _PLAIN_FILE)
            _write_tensors(path, model, storage, halve)
            tokenizer_files = _copy_tokenizer(tokenizer_from, path.parent, model.tokenizer_files)
            for file in (path, path.parent / CONFIG_FILE, *tokenizer_files):
                file.replace(folder / file.name)
        stale = _PLAIN_FILE if storage == "int8" else INT8_FILE
        (folder / stale).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"checkpoint folder {folder} cannot be written ({error.strerror or error}): "
            "give another folder, or free some space"
        ) from error


def check_checkpoint_folder(folder: str | Path) -> None:
    """Make sure that a checkpoint may be written to a folder: it replaces nothing but another one.

    Raises:
        OutputError: If a file of a name that it writes is there, and no checkpoint of ours.
    """
    folder = Path(folder)
    if not is_checkpoint(folder):
        tokenizers = (name for one in STRUCTURES.values() for name in one.network.tokenizer_files)
        written = (CONFIG_FILE, _PLAIN_FILE, INT8_FILE, *dict.fromkeys(tokenizers))
        check_replaceable(folder / name for name in written)


def load_checkpoint(folder: str | Path) -> EscNet:
    """The ESC-Net in a folder that `write_checkpoint` or `save_pretrained` wrote, in float32.

    It comes on the CPU, in evaluation mode.

    Raises:
        WeightsError: If the folder is no checkpoint of ours, is damaged, or its tensors are not
            exactly those of the network that its config.json describes.
        ConfigError: If its config.json contradicts itself.
    """
    return load_network(folder, EscNet)


def load_any_network(folder: str | Path) -> Network:
    """As `load_checkpoint`, for a network of whichever structure the folder holds.

    Raises:
        WeightsError: As `load_checkpoint`.
        ConfigError: If its config.json contradicts itself.
    """
    return load_network(folder, structure_of(model_type_of(folder)).network)


def load_network(folder: str | Path, kind: type[AnyNetwork]) -> AnyNetwork:
    """As `load_checkpoint`, for a network of one structure, or of one that extends it.

    Args:
        folder: The checkpoint.
        kind: The network's class.

    Raises:
        WeightsError: As `load_checkpoint`, or if the folder holds another kind.
        ConfigError: If its config.json contradicts itself.
    """
    folder = Path(folder)
    record = _read_config(folder)
    network_class = structure_of(record["model_type"]).network
    if not issubclass(network_class, kind):
        raise WeightsError(
            f"folder {folder} holds a model of type {record['model_type']!r}, not "
            f"{kind.config_class.model_type!r}: give a checkpoint of that type"
        )
    check_settings(record, folder / CONFIG_FILE)
    files, _ = _tensor_files(folder)
    shown = f"checkpoint {files[0] if len(files) == 1 else folder}"
    tensors = unpack(read_all_tensors(files))
    check_values(shown, tensors)
    with refuse_unusable(folder / CONFIG_FILE):
        model, info = _from_state_dict(network_class, record, tensors)
    cure = f"its tensors are not those of its {CONFIG_FILE}; copy the whole folder again"
    refuse_report(shown, info, tensors, model, cure=cure)
    return model.eval()


def summarize_checkpoint(folder: str | Path) -> CheckpointSummary:
    """What a checkpoint says of itself, read without its tensors.

    Raises:
        WeightsError: If the folder is no checkpoint of ours, or is damaged.
    """
    folder = Path(folder)
    config = _read_config(folder)
    check_settings(config, folder / CONFIG_FILE)
    files, storage = _tensor_files(folder)
    shapes = {name: shape for file in files for name, shape in read_header(file)[1].items()}
    num_values: dict[str, int] = {}
    for name, shape in unpacked_shapes(shapes).items():
        part = name.split(".", maxsplit=1)[0]
        num_values[part] = num_values.get(part, 0) + torch.Size(shape).numel()
    return CheckpointSummary(
        config=config,
        storage=storage,
        num_values=num_values,
        num_bytes=sum(file.stat().st_size for file in files),
        weights_hash=tensors_sha256(files),
        origins=origins_of(config.get("origins") or []),
    )


def weights_hash(folder: str | Path) -> str:
    """The SHA-256 of a checkpoint's tensors in their files: equal hashes are the same weights.

    Raises:
        WeightsError: If the folder is no checkpoint of ours.
    """
    files, _ = _tensor_files(Path(folder))
    return tensors_sha256(files)


def model_type_of(folder: str | Path) -> str:
    """What a checkpoint's config.json calls its network.

    Raises:
        WeightsError: If the folder is no checkpoint of ours.
    """
    return str(_read_config(Path(folder))["model_type"])


def is_checkpoint(folder: str | Path) -> bool:
    """Whether a folder says of itself that it is a checkpoint of ours; it may still be damaged."""
    try:
        return bool(_read_config(Path(folder), any_format=True))
    except WeightsError:
        return False


def _write_tensors(path: Path, model: Network, storage: Storage, halve: Sequence[str]) -> None:
    """Write the network's configuration, and its tensors as they are to be stored."""
    # transformers gives some tensors of its towers other names in files than in modules, and
    # only its own writer knows them all.
    with quiet_transformers():
        model.save_pretrained(path.parent)
    tensors = unpack(read_tensors(path.parent / _PLAIN_FILE))
    (path.parent / _PLAIN_FILE).unlink()
    packed = pack(tensors, storage, halve=halve)
    save_file(packed, path, metadata={"format": "pt", _STORAGE_KEY: storage})
    shutil.copymode(path.parent / CONFIG_FILE, path)  # safetensors makes files private


def _copy_tokenizer(source: str | Path | None, folder: Path, names: Sequence[str]) -> list[Path]:
    copies = []
    for name in names:
        if source is not None and (Path(source) / name).is_file():
            shutil.copyfile(Path(source) / name, folder / name)
            copies.append(folder / name)
    tokenizer = folder / TOKENIZER_FILE
    if source is not None and tokenizer not in copies and has_tokenizer(Path(source)):
        tokenizer.write_bytes(tokenizer_json(Path(source)))
        copies.append(tokenizer)
    return copies


def _read_config(folder: Path, *, any_format: bool = False) -> dict[str, Any]:
    """A checkpoint's settings, of a format that this version reads unless any will do."""
    if not folder.is_dir():
        raise WeightsError(f"no checkpoint folder {folder}: give a folder with {CONFIG_FILE}")
    config = read_json_config(folder / CONFIG_FILE)
    if config is None:
        raise WeightsError(
            f"folder {folder} has no {CONFIG_FILE}: give a folder that `save_pretrained` wrote"
        )
    number = config.get("format_version", FORMAT)
    if not any_format and isinstance(number, int) and number > FORMAT:
        raise WeightsError(
            f"checkpoint {folder} has the format {number}, and this version reads {FORMAT}: "
            "install a later version of escnet"
        )
    model_type = config.get("model_type")
    if model_type not in STRUCTURES:
        raise WeightsError(
            f"folder {folder} holds a model of type {model_type!r}, not "
            f"{' or '.join(sorted(STRUCTURES))}: give a checkpoint of this project"
        )
    return config


def _tensor_files(folder: Path) -> tuple[list[Path], Storage]:
    """The files of tensors in a folder, and how they store them: one, or the pieces of an index."""
    names = [name for name in (_PLAIN_FILE, INT8_FILE) if (folder / name).is_file()]
    if not names and (folder / f"{_PLAIN_FILE}.index.json").is_file():
        return tensor_files_in(folder), "float32"  # as `save_pretrained` and `push_to_hub` cut it
    if len(names) != 1:
        raise WeightsError(
            f"folder {folder} has {'both' if names else 'neither'} {_PLAIN_FILE} "
            f"{'and' if names else 'nor'} {INT8_FILE}: it must have exactly one"
        )
    path = folder / names[0]
    metadata, _ = read_header(path)
    storage = metadata.get(_STORAGE_KEY, "float32")  # `save_pretrained` does not say
    for known in STORAGES:
        if storage == known:
            return [path], known
    raise WeightsError(
        f"{path} is stored as {storage!r}, which this version does not know: "
        f"it knows {', '.join(STORAGES)}"
    )


def _from_state_dict(
    kind: type[AnyNetwork], record: dict[str, Any], tensors: dict[str, Tensor]
) -> tuple[AnyNetwork, dict[str, Any]]:
    """The network with these tensors, and what did not fit."""
    with quiet_transformers():
        model, info = kind.from_pretrained(
            None,
            config=kind.config_class.from_dict(record),
            state_dict=tensors,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,  # they are in `info`, and refused with the others
            output_loading_info=True,
        )
    return model, info
