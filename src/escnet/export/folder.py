"""`escnet export`: a model as a folder of graphs with its tokenizer, its weights and a manifest.

The folder is a checkpoint as well: PyTorch and onnxruntime read the same file of tensors.
"""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx

from escnet.annotations.json_text import to_marked_json
from escnet.errors import ConfigError, OutputError
from escnet.export.graphs import trace_graphs
from escnet.export.shared_weights import SharedWeights
from escnet.files import check_replaceable, display_path, is_ours, make_folder
from escnet.inference.calibration import CALIBRATION_FILE, Calibration
from escnet.inference.exported.graphs import WEIGHTS_KEY
from escnet.inference.exported.manifest import (
    FORMAT,
    GRAPHS,
    MANIFEST_FILE,
    OLDEST_ONNXRUNTIME,
    OPSET,
    Manifest,
)
from escnet.inference.methods.memory import DEFAULT_BUDGET
from escnet.inference.methods.method import LoadedMethod
from escnet.inference.methods.model_name import ModelName
from escnet.inference.methods.network_load import load_network_method
from escnet.inference.methods.network_method import NetworkMethod
from escnet.inference.names.glued_words import WORDS_FILE
from escnet.towers.table import tower_kind
from escnet.towers.text_reading import READINGS
from escnet.weights.catalog import require_local
from escnet.weights.checkpoint import check_checkpoint_folder, load_any_network, write_checkpoint
from escnet.weights.config_file import CONFIG_FILE
from escnet.weights.origin import file_sha256
from escnet.weights.storage import INT8_FILE
from escnet.weights.tokenizer_files import TOKENIZER_FILE, TOKENIZER_SETTINGS_FILE

_PLAIN_FILE = "model.safetensors"
_MOST_TOKENS = 77


def export_model(
    model: str,
    out: Path,
    *,
    int8: bool = False,
    on_graph: Callable[[str], None] = lambda _: None,
) -> Manifest:
    """Write a model's graphs, weights, tokenizer and manifest into a folder.

    An earlier export there is replaced.

    Args:
        model: The name of a checkpoint: the built-in model, a folder, or a hub identifier.
        out: Made if it does not exist.
        int8: Store the large matrices as 8-bit integers, a quarter of the size; they are computed
            with in single precision.
        on_graph: Called with the name of each graph before it is traced.

    Raises:
        ConfigError: If the model is no checkpoint.
        WeightsError: If its weights are not here, or damaged.
        OutputError: If the folder cannot be written, or holds somebody's own files.
    """
    name = ModelName.parse(model)
    if name.kind != "checkpoint" or not name.parts:
        raise ConfigError(f"model {name.text!r} is no checkpoint of a network: give one to export")
    source = require_local(name.weights)
    _check_out(source, out)
    make_folder(out)
    try:
        with tempfile.TemporaryDirectory(dir=out, prefix=".writing-") as unfinished:
            folder = Path(unfinished)
            _write_checkpoint(source, folder, int8=int8)
            manifest = _write_graphs(folder, on_graph)
            (out / MANIFEST_FILE).unlink(missing_ok=True)  # a folder half replaced is none
            for file in (CONFIG_FILE, *manifest.files, MANIFEST_FILE):
                (folder / file).replace(out / file)
            stale = _PLAIN_FILE if manifest.tensors == INT8_FILE else INT8_FILE
            (out / stale).unlink(missing_ok=True)
            _copy_calibration(source, out, manifest.weights_hash)
    except OSError as error:
        raise OutputError(
            f"folder {display_path(out)} cannot be written ({error.strerror or error}): give "
            "another folder, or free some space"
        ) from error
    return manifest


def _check_out(source: Path, out: Path) -> None:
    """Refuse a folder that holds what is not an earlier export."""
    if out.exists() and source.exists() and out.resolve() == source.resolve():
        raise OutputError(
            f"{display_path(out)} is the model itself: give another folder for its graphs"
        )
    if not is_ours(out / MANIFEST_FILE):
        check_checkpoint_folder(out)
        check_replaceable(out / name for name in (MANIFEST_FILE, *_graph_files()))


def _copy_calibration(source: Path, out: Path, weights_hash: str) -> None:
    """Copy the model's calibration, unless its weights are stored otherwise by now."""
    path = source / CALIBRATION_FILE
    if path.is_file() and Calibration.read(path).weights_hash == weights_hash:
        shutil.copyfile(path, out / CALIBRATION_FILE)


def _graph_files() -> tuple[str, ...]:
    return tuple(f"{graph}.onnx" for graph in GRAPHS)


def _write_checkpoint(source: Path, folder: Path, *, int8: bool) -> None:
    """The model's checkpoint, its tensors in one file."""
    stored = [name for name in (INT8_FILE, _PLAIN_FILE) if (source / name).is_file()]
    if len(stored) == 1 and (not int8 or stored == [INT8_FILE]):
        tokenizer = (TOKENIZER_FILE, TOKENIZER_SETTINGS_FILE, WORDS_FILE)
        for name in (CONFIG_FILE, *stored, *tokenizer):
            if (source / name).is_file():
                shutil.copyfile(source / name, folder / name)
        if (folder / TOKENIZER_FILE).is_file():
            return
    network = load_any_network(source)
    write_checkpoint(folder, network, storage="int8" if int8 else "float32", tokenizer_from=source)


def _write_graphs(folder: Path, on_graph: Callable[[str], None]) -> Manifest:
    """The graphs and the manifest of a checkpoint, beside it."""
    loaded = load_network_method(
        ModelName.parse(folder),
        device="cpu",
        dtype="float32",
        memory_budget=DEFAULT_BUDGET,
        threads=None,
    )
    method = loaded.method
    if not isinstance(method, NetworkMethod):
        raise ConfigError(f"a {method.name} has no network to export: give a checkpoint")
    tensors = INT8_FILE if (folder / INT8_FILE).is_file() else _PLAIN_FILE
    weights = SharedWeights(folder / tensors)
    graphs = trace_graphs(method.network)
    for name in GRAPHS:
        on_graph(name)
        traced, graph = next(graphs)
        weights.put_into(graph)
        onnx.helper.set_model_props(graph, {WEIGHTS_KEY: loaded.weights_hash})
        (folder / f"{traced}.onnx").write_bytes(graph.SerializeToString())
    manifest = _manifest_of(loaded, method, folder, tensors)
    document = {"format": FORMAT, **asdict(manifest)}
    (folder / MANIFEST_FILE).write_bytes(to_marked_json(document))
    return manifest


def _manifest_of(
    loaded: LoadedMethod, method: NetworkMethod[Any], folder: Path, tensors: str
) -> Manifest:
    config = method.network.config
    names = (tensors, *_graph_files(), *method.network.tokenizer_files)
    settings = {name: value for name, value in method.settings.items() if name != "image_size"}
    return Manifest(
        method=method.name,
        model_type=config.model_type,
        opset=OPSET,
        onnxruntime=OLDEST_ONNXRUNTIME,
        image_size=config.image_size,
        view_size=method.view_size,
        resize="published" if method.name == "cat-seg" else "smooth",
        joint_dim=config.joint_dim,
        template=method.template,
        reading=_reading_of(method),
        most_tokens=config.text_config.get("max_position_embeddings", _MOST_TOKENS),
        num_tokens=method.num_tokens,
        max_classes=config.max_classes,
        rejection=method.rejection[:1],  # the head takes all names that it is given
        share_prior=loaded.share_prior,
        rest=None if loaded.rest_rule is None else loaded.rest_rule.as_settings(),
        settings=settings,
        tensors=tensors,
        files={name: file_sha256(folder / name) for name in names if (folder / name).is_file()},
        licences=tuple(sorted({origin["licence"] for origin in config.origins or []})),
    )


def _reading_of(method: NetworkMethod[Any]) -> str:
    """How the method's tokenizer wants its texts, by name."""
    if WORDS_FILE in method.network.tokenizer_files:
        return "plain"
    reading = tower_kind(getattr(method.network.config, "towers", "clip")).reading
    return next(name for name, known in READINGS.items() if known == reading)
