"""The model hub: a repository's files, from its cache or fetched.

The only place in the library that may reach for the network. It needs the hub's client.
"""

import errno
from collections.abc import Collection
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (  # type: ignore[attr-defined]
    EntryNotFoundError,
    HFValidationError,
    HTTPError,  # of whichever HTTP library the hub's client uses
)

from escnet.errors import WeightsError, either
from escnet.weights.config_file import CONFIG_FILE, config_in, model_type_in
from escnet.weights.open_clip import OPEN_CLIP_FILE, OPEN_CLIP_TENSORS, read_open_clip
from escnet.weights.other_layouts import refuse_other_layouts
from escnet.weights.tensor_index import TENSOR_FILES, pieces_of
from escnet.weights.tokenizer_files import (
    TOKENIZER_FILE,
    TOKENIZER_SETTINGS_FILE,
    VOCABULARY_FILES,
    has_tokenizer,
)

_ALTERNATIVES = {CONFIG_FILE: (CONFIG_FILE, OPEN_CLIP_FILE)}  # for a file that a hub may not have
_INDEX = ".index.json"  # behind the name of a file of tensors that lies there in pieces
# Fetched where the hub has them.
_BESIDE = (TOKENIZER_FILE, TOKENIZER_SETTINGS_FILE, *VOCABULARY_FILES, OPEN_CLIP_FILE)
_PATIENCE = 10.0  # seconds for the hub to say what a repository holds


def hub_folder(repository: str, files: tuple[str, ...]) -> Path:
    """The snapshot folder of a repository in the hub's cache, complete.

    Args:
        repository: OWNER/NAME.
        files: Those needed besides the tensors.

    Raises:
        WeightsError: If they are not in the cache and cannot be fetched.
    """
    tensors = (*TENSOR_FILES, *(name + _INDEX for name in TENSOR_FILES), *OPEN_CLIP_TENSORS)
    wanted = [*(_ALTERNATIVES.get(file, (file,)) for file in files), tensors]
    try:
        cached = [_cached(repository, alternatives) for alternatives in wanted]
        if all(cached) and _has_all_pieces(Path(cached[-1])):
            folder = Path(cached[0]).parent
            if not _lacks_tokenizer(folder):
                return folder
            wanted.append((TOKENIZER_FILE, VOCABULARY_FILES[0]))
        # Asked first, since it answers at once where a download would try for half a minute.
        siblings = HfApi().model_info(repository, timeout=_PATIENCE).siblings or []
        published = {sibling.rfilename for sibling in siblings}
        _refuse_other_layouts(repository, published)
        folder = Path()
        for alternatives in wanted:
            names = [name for name in alternatives if name in published]
            if not names:
                raise _unavailable(repository, wanted, f"it has no {_one_of(alternatives)}")
            path = Path(hf_hub_download(repository, names[0]))
            folder = path.parent
            if names[0].endswith(_INDEX):
                for piece in pieces_of(path):
                    hf_hub_download(repository, piece)
        for name in _BESIDE:
            if name in published:
                hf_hub_download(repository, name)
    except (EntryNotFoundError, HFValidationError, HTTPError, OSError) as error:
        raise _unavailable(repository, wanted, _reason(error)) from error
    return folder


def _refuse_other_layouts(repository: str, published: Collection[str]) -> None:
    """Refuse by a repository's settings what would be refused after a large download."""
    if CONFIG_FILE in published:
        folder = Path(hf_hub_download(repository, CONFIG_FILE)).parent
        refuse_other_layouts(repository, model_type_in(folder))
    elif OPEN_CLIP_FILE in published:
        read_open_clip(Path(hf_hub_download(repository, OPEN_CLIP_FILE)).parent, repository)


def _has_all_pieces(path: Path) -> bool:
    """Whether every piece that an index names is beside it; true of a file in one piece."""
    if not path.name.endswith(_INDEX):
        return True
    return all((path.parent / name).is_file() for name in pieces_of(path))


def _lacks_tokenizer(folder: Path) -> bool:
    """Whether a model that reads texts has come without its tokenizer."""
    reads_texts = "text_config" in config_in(folder) or (folder / OPEN_CLIP_FILE).is_file()
    return reads_texts and not has_tokenizer(folder)


def _cached(repository: str, alternatives: tuple[str, ...]) -> str:
    """The path of the first of some files that is in the hub's cache, or nothing."""
    for name in alternatives:
        if isinstance(path := try_to_load_from_cache(repository, name), str):
            return path
    return ""


def _unavailable(repository: str, wanted: list[tuple[str, ...]], reason: str) -> WeightsError:
    files = ", ".join(_one_of(alternatives) for alternatives in wanted)
    return WeightsError(
        f"{repository} is not on this machine and cannot be fetched ({reason}): put {files} "
        "of it into a folder, and give the folder instead of the name"
        f"{either('', ' (--model FOLDER)')}"
    )


def _one_of(alternatives: tuple[str, ...]) -> str:
    """The files of which one is needed, without those that only lead to others, or are rare."""
    rare = (OPEN_CLIP_FILE, *OPEN_CLIP_TENSORS)
    usual = (name for name in alternatives if not name.endswith(_INDEX) and name not in rare)
    return " or ".join(usual)


def _reason(error: Exception) -> str:
    """Why the hub gave nothing, in a few words; its own messages fill paragraphs."""
    reasons = {
        "OfflineModeIsEnabled": "HF_HUB_OFFLINE is set",
        "RepositoryNotFoundError": "the hub has no such repository, or it is private",
        "GatedRepoError": "the repository asks for its terms to be accepted first",
        "HFValidationError": "that is no valid hub identifier",
    }
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "the disk is full"
    return reasons.get(type(error).__name__, "no model hub reachable")
