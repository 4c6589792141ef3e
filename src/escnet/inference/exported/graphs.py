"""The graphs of an exported model, opened by onnxruntime when they are first needed."""

from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import onnxruntime
from jaxtyping import Float32

from escnet.errors import ConfigError, WeightsError, first_line
from escnet.files import display_path
from escnet.inference.exported.manifest import MANIFEST_FILE, Manifest

WEIGHTS_KEY = "escnet.weights"  # in a graph's metadata: the SHA-256 of the tensors it goes with


class Graphs:
    """The graphs in a folder.

    Several threads may use them at once.

    Args:
        folder: With the manifest.
        manifest: What it says.
        threads: To compute with.
    """

    def __init__(self, folder: Path, manifest: Manifest, threads: int) -> None:
        self._folder, self._manifest, self._threads = folder, manifest, threads
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}
        self._lock = Lock()

    def run(self, graph: str, inputs: Mapping[str, np.ndarray]) -> dict[str, Float32[Any, "..."]]:
        """What a graph makes of its inputs, by the outputs' names.

        Raises:
            WeightsError: If the graph cannot be opened, or is not the one that the manifest means.
        """
        session = self._session(graph)
        wanted = {one.name for one in session.get_inputs()}
        own = {name: value for name, value in inputs.items() if name in wanted}
        names = [one.name for one in session.get_outputs()]
        return dict(zip(names, session.run(names, own), strict=True))

    def close(self, graph: str) -> None:
        """Let go of a graph and its memory; it is opened again when it is needed."""
        with self._lock:
            self._sessions.pop(graph, None)

    def _session(self, graph: str) -> onnxruntime.InferenceSession:
        with self._lock:
            if graph not in self._sessions:
                self._sessions[graph] = self._open(graph)
            return self._sessions[graph]

    def _open(self, graph: str) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 3
        # Threads that wait for work sleep, as another process may need the processor.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Weights are stored as 8-bit integers and computed with as floats: unpack them once.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        path = self._folder / f"{graph}.onnx"
        try:
            session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise WeightsError(
                f"{display_path(path)} cannot be opened by onnxruntime {onnxruntime.__version__} "
                f"({first_line(error):.200}): export the model again, or install onnxruntime "
                f"{self._manifest.onnxruntime} or later"
            ) from error
        self._check(graph, session, path)
        return session

    def _check(self, graph: str, session: onnxruntime.InferenceSession, path: Path) -> None:
        """Refuse a graph of another model, or one that a manifest lies about."""
        own = session.get_modelmeta().custom_metadata_map.get(WEIGHTS_KEY)
        if own != self._manifest.weights_hash:
            raise WeightsError(
                f"{display_path(path)} belongs to other weights than {MANIFEST_FILE} names: copy "
                "the whole folder again"
            )
        manifest = self._manifest
        expected = {
            "image": ("image", [1, 3, manifest.image_size, manifest.image_size]),
            "look": ("text_embedding", [None, manifest.joint_dim]),
            "head": ("text_embedding", [None, manifest.joint_dim]),
            "text": ("token", [None, None]),
        }
        name, shape = expected[graph]
        inputs = {one.name: one.shape for one in session.get_inputs()}
        found = [side if isinstance(side, int) else None for side in inputs.get(name, [])]
        if found != shape:
            raise WeightsError(
                f"{display_path(path)} takes {name} of the shape {found}, not {shape} as "
                f"{MANIFEST_FILE} says: export the model again"
            )


def check_onnxruntime() -> None:
    """Refuse a version that lacks what the graphs need.

    Raises:
        ConfigError: If it does.
    """
    from escnet.inference.exported.manifest import OLDEST_ONNXRUNTIME  # noqa: PLC0415

    def parts(version: str) -> tuple[int, ...]:
        return tuple(int(part) for part in version.split(".")[:2])

    if parts(onnxruntime.__version__) < parts(OLDEST_ONNXRUNTIME):
        raise ConfigError(
            f"onnxruntime {onnxruntime.__version__} is too old for exported models: install "
            f"{OLDEST_ONNXRUNTIME} or later"
        )
