"""Towers from a folder as the hub lays it out: config.json, tensors, tokenizer.

Which files there are and how they are cut makes no difference: model.safetensors or
pytorch_model.bin, in one piece or in several with an index beside them, in any precision. OpenCLIP
has names of its own for files, settings and tensors.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from escnet.errors import ConfigError, WeightsError
from escnet.towers.kind import TowerKind, TowerSettings
from escnet.towers.table import TOWER_KINDS, tower_kind
from escnet.towers.tower import Towers
from escnet.weights.catalog import origin_of, require_local
from escnet.weights.config_file import (
    CONFIG_FILE,
    check_settings,
    model_type_in,
    read_json_config,
    refuse_unusable,
)
from escnet.weights.install import install_module, install_tower
from escnet.weights.open_clip import OPEN_CLIP_FILE, OPEN_CLIP_TENSORS, read_open_clip
from escnet.weights.open_clip_tensors import our_tensors
from escnet.weights.origin import Origin
from escnet.weights.other_layouts import refuse_other_layouts
from escnet.weights.tensor_file import read_all_tensors, tensor_files_in, tensors_sha256
from escnet.weights.tensor_index import TENSOR_FILES


@dataclass(frozen=True, slots=True, kw_only=True)
class TowerFolder:
    """A folder with two towers, of which nothing large has been read.

    Attributes:
        path: The folder.
        name: What it was asked for by.
        kind: The kind of its towers.
        settings: What its config.json says of them.
        config_file: That file, or OpenCLIP's.
        files: Its files of tensors.
    """

    path: Path
    name: str
    kind: TowerKind
    settings: TowerSettings
    config_file: Path
    files: tuple[Path, ...]

    @classmethod
    def read(cls, name_or_folder: str | Path) -> "TowerFolder":
        """The folder of that name, fetched from the hub if need be.

        Raises:
            WeightsError: If it is not here, lacks a file, or holds towers of no known kind.
        """
        path = require_local(name_or_folder)
        record, config_file = _tower_config(path)
        if record is None:
            raise WeightsError(f"{path} has no {CONFIG_FILE}: give a folder with the towers' files")
        kind = _kind_of(path, record.get("model_type"))
        check_settings(record, config_file)
        with refuse_unusable(config_file):
            settings = kind.settings_of(record)
        names = OPEN_CLIP_TENSORS if config_file.name == OPEN_CLIP_FILE else TENSOR_FILES
        return cls(
            path=path,
            name=str(name_or_folder),
            kind=kind,
            settings=settings,
            config_file=config_file,
            files=tuple(tensor_files_in(path, names)),
        )

    def sha256(self) -> str:
        """Of all its tensors: two equal ones are the same weights."""
        return tensors_sha256(self.files)

    def origin(self) -> Origin:
        """The record of its files."""
        return origin_of(self.files[0], part=self.kind.title, name=self.name, sha256=self.sha256())

    def towers(self, taps: tuple[int, int] = (0, 0)) -> Towers:
        """Both towers with the folder's weights.

        Args:
            taps: Blocks of the image tower whose outputs are the decoder's skips, if there is one.

        Raises:
            WeightsError: If a tensor is missing, does not belong, or has another shape, or the
                settings describe no towers.
            ConfigError: If the taps are not two blocks of the image tower.
        """
        settings = self.settings
        with refuse_unusable(self.config_file):
            towers = self.kind.build(settings.vision_config, settings.text_config, taps=taps)
        self.fill(towers)
        return towers

    def fill(self, towers: Towers) -> None:
        """Give towers of this kind and these sizes the folder's weights.

        Raises:
            WeightsError: As `towers`.
        """
        tensors = read_all_tensors(self.files)
        if self.config_file.name == OPEN_CLIP_FILE:
            tensors = our_tensors(tensors)
        shown = str(self.files[0] if len(self.files) == 1 else self.path)
        for part in self.kind.parts(towers):
            own: Mapping[str, Tensor] = {
                inner: value.float() if value.is_floating_point() else value
                for name, value in tensors.items()
                if (inner := part.name_of(name)) is not None
            }
            module: Any = part.module
            with refuse_unusable(self.config_file):
                if isinstance(module, PreTrainedModel):
                    install_tower(module, own, shown)
                else:
                    install_module(module, own, shown)


def holds_towers(path: Path) -> bool:
    """Whether a folder says of itself that it holds towers, and no network; it may be damaged."""
    if (path / OPEN_CLIP_FILE).is_file():
        return True
    return model_type_in(path) in TOWER_KINDS


def _tower_config(folder: Path) -> tuple[dict[str, Any] | None, Path]:
    """What a folder says of its towers, in transformers' form, and the file that says it.

    A folder may be in both layouts, and have the tensors of one. That of transformers is taken
    where it is complete.

    Returns:
        None for the settings where it says nothing.

    Raises:
        WeightsError: If a file is damaged, or in OpenCLIP's layout and not read.
    """
    record = read_json_config(folder / CONFIG_FILE)
    is_open_clips = (folder / OPEN_CLIP_FILE).is_file()
    if is_open_clips and record is not None:
        is_known = record.get("model_type") in TOWER_KINDS
        is_open_clips = not is_known or (
            any((folder / name).is_file() for name in OPEN_CLIP_TENSORS)
            and not any([*folder.glob(f"{Path(name).stem}*")] for name in TENSOR_FILES)
        )
    if is_open_clips:
        return read_open_clip(folder), folder / OPEN_CLIP_FILE
    return record, folder / CONFIG_FILE


def _kind_of(path: Path, model_type: object) -> TowerKind:
    """The kind of a folder's towers by the name that its config.json gives them."""
    if model_type not in TOWER_KINDS:
        refuse_other_layouts(str(path), model_type)
        raise WeightsError(
            f"{path} has the layout {model_type!r}: the towers that are read are "
            f"{', '.join(TOWER_KINDS)}"
        )
    try:
        return tower_kind(model_type)
    except ConfigError as error:
        raise WeightsError(f"{path} cannot be read here: {error}") from error
