"""The built-in model's graphs without PyTorch, and folders that are no export."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from escnet.errors import WeightsError
from escnet.inference.calibration import CALIBRATION_FILE, Calibration
from escnet.inference.exported.manifest import MANIFEST_FILE
from escnet.inference.exported.method import load_exported
from escnet.inference.label_maps.curve import Curve
from escnet.inference.options import SegmentOptions
from escnet.inference.segmenter import Segmenter
from escnet.weights.catalog import BUILT_IN_FOLDER

EXAMPLES = Path(__file__).parents[3] / "examples"


def test_the_command_works_without_torch(tmp_path: Path) -> None:
    code = """
import sys
class Nowhere:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "transformers", "huggingface_hub", "einops"}:
            raise ModuleNotFoundError(name=name)
sys.meta_path.insert(0, Nowhere())
import escnet.extras
escnet.extras.is_installed = lambda module: False
import escnet.inference.methods.load as load
load.is_installed = escnet.extras.is_installed
from escnet.cli.main import run
code = run(["segment", sys.argv[1], "--classes", "cat, sky", "--out", sys.argv[2]])
assert "torch" not in sys.modules
assert run(["explain", sys.argv[1], "--class", "cat", "--out", sys.argv[2]]) == 2
sys.exit(code)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, EXAMPLES / "chelsea.jpg", tmp_path],
        capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "chelsea.labels.png").is_file()
    assert "needs PyTorch: pip install 'escnet[torch]'" in done.stderr


def test_a_text_of_the_graphs_is_not_taken_for_one_of_pytorch() -> None:
    ours = load_exported(BUILT_IN_FOLDER, threads=1, is_trusted=True).method
    first, second = ours.text_keys(["a cat", "a longer name"])
    assert ours.text_keys(["a cat"]) == [first] != [second]
    assert Segmenter.load("mini", device="cpu").method.text_keys(["a cat"]) != [first]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the built-in model's folder; its large file is a link."""
    for path in BUILT_IN_FOLDER.iterdir():
        if path.suffix == ".safetensors" and path.stat().st_dev == tmp_path.stat().st_dev:
            os.link(path, tmp_path / path.name)
        else:
            shutil.copyfile(path, tmp_path / path.name)
    return tmp_path


def change_manifest(folder: Path, **changes: Any) -> None:
    path = folder / MANIFEST_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def lack_a_file(folder: Path) -> None:
    (folder / "look.onnx").unlink()


def damage_a_file(folder: Path) -> None:
    with (folder / "head.onnx").open("ab") as file:
        file.write(b"more")


def swap_the_text_graph(folder: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="comes with the extra torch")

    from escnet.inference.exported.graphs import WEIGHTS_KEY
    from escnet.weights.origin import file_sha256

    path = folder / "text.onnx"
    graph = onnx.load(path, load_external_data=False)
    onnx.helper.set_model_props(graph, {WEIGHTS_KEY: "0" * 64})
    path.write_bytes(graph.SerializeToString())
    files = json.loads((folder / MANIFEST_FILE).read_text())["files"]
    change_manifest(folder, files={**files, "text.onnx": file_sha256(path)})


HOSTILE: list[tuple[Callable[[Path], object], str]] = [
    (lack_a_file, r"lacks look\.onnx"),
    (damage_a_file, r"head\.onnx is not the file that manifest\.json names"),
    (swap_the_text_graph, r"text\.onnx belongs to other weights"),
    (lambda folder: change_manifest(folder, opset=17), "opset 17, and this version computes"),
    (lambda folder: change_manifest(folder, format=9), "has the format 9"),
    (lambda folder: change_manifest(folder, joint_dim=64), r"takes text_embedding of the shape"),
    (lambda folder: change_manifest(folder, image_size=64), r"takes image of the shape"),
    (lambda folder: change_manifest(folder, image_size="big"), "has image_size 'big'"),
    (lambda folder: change_manifest(folder, more=1), "has an unknown 'more'"),
    (lambda folder: change_manifest(folder, reading="rot13"), "has reading 'rot13'"),
    (lambda folder: change_manifest(folder, tensors="../x"), "has no hash of"),
    (lambda folder: (folder / MANIFEST_FILE).write_text("{"), "manifest"),
]


def segment_with(folder: Path) -> None:
    loaded = load_exported(folder, threads=1)
    segmenter = Segmenter(loaded.method, model="x", weights_hash="")
    segmenter.segment(np.zeros((8, 8, 3), np.uint8), ["cat"])


@pytest.mark.parametrize(("spoil", "message"), HOSTILE)
def test_a_folder_that_is_no_export_is_refused_in_one_line(
    folder: Path, spoil: Callable[[Path], object], message: str
) -> None:
    spoil(folder)
    with pytest.raises(WeightsError, match=message) as caught:
        segment_with(folder)
    assert "\n" not in str(caught.value)


def test_an_exported_folder_is_computed_by_onnxruntime(folder: Path) -> None:
    plain = Segmenter.load(folder)
    assert plain.settings["runtime"] == "onnxruntime"
    calibration = Calibration(
        weights_hash=plain.weights_hash,
        asked=plain.how_asked(plain.resolved(SegmentOptions())),
        confidence=Curve(slope=0.5, shift=-1.0),
        presence=Curve(slope=2.0, shift=-1.0),
        fitted_to={},
    )
    calibration.write(folder / CALIBRATION_FILE)
    result = Segmenter.load(folder).segment(EXAMPLES / "chelsea.jpg", "cat, sky")
    assert result.share("cat") > 0.3
    assert result.settings["calibration"] == calibration.digest
