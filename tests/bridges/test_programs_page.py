"""The lines of Python in docs/how-to/other-programs.md, each with the program that it is for."""

import ast
import re
import shutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from escnet import Segmenter
from escnet.annotations.registry import FORMATS
from escnet.cli.main import run
from escnet.errors import ConfigError

ROOT = Path(__file__).parents[2]
_HOMES = {  # where a line's first name comes from
    "CaptionOntology": "autodistill.detection",
    "COCO": "pycocotools.coco",
    "Config": "mmengine.config",
    "Dataset": "datumaro",
    "EscNet": "escnet.bridges.autodistill",
    "Model": "escnet.bridges.fiftyone",
    "Pipeline": "escnet.bridges.transformers",
    "Segmenter": "escnet",
    "cv2": "cv2",
    "fo": "fiftyone",
    "load_dataset": "datasets",
    "numpy": "numpy",
    "rasterio": "rasterio",
    "sv": "supervision",
    "to_detections": "escnet.bridges.supervision",
    "to_layers": "escnet.bridges.napari",
}


def python_lines() -> Iterator[str]:
    """The code of the table's last column that calls something."""
    page = (ROOT / "docs" / "how-to" / "other-programs.md").read_text()
    for row in re.findall(r"^\| .* \| .* \| (.*) \|$", page, flags=re.MULTILINE):
        for code in re.findall(r"`([^`]+)`", row):
            try:
                tree = ast.parse(code, mode="eval")
            except SyntaxError:
                continue
            if any(isinstance(node, ast.Call) for node in ast.walk(tree)):
                yield code


def names_for(code: str) -> dict[str, object]:
    """What a line names; the test is skipped where its program is not installed."""
    names: dict[str, object] = {}
    for node in ast.walk(ast.parse(code, mode="eval")):
        if isinstance(node, ast.Name) and node.id != "result":
            try:
                module = import_module(_HOMES[node.id])
            except (ConfigError, ImportError) as error:
                pytest.skip(str(error))
            names[node.id] = getattr(module, node.id, module)
    return names


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photographs, and their results in every format."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "photos").mkdir()
    for stem, example in (("a", "coffee"), ("b", "chelsea")):
        shutil.copy(ROOT / "examples" / f"{example}.jpg", folder / "photos" / f"{stem}.jpg")
    words = ["segment", str(folder / "photos"), "--classes", "road, sky, cat, cup"]
    assert run([*words, "--format", ",".join(FORMATS), "--out", str(folder / "out")]) == 0
    return folder


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("code", list(python_lines()))
def test_a_line_of_the_page_reads_what_was_written(
    code: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(folder / "cache"))
    names = names_for(code)
    if "result" in code:
        names["result"] = Segmenter.load().segment("photos/a.jpg", ["cat", "cup"])
    try:
        found = eval(code, names)  # noqa: S307 -- the page is ours
    except Exception as error:
        if type(error).__name__ == "FiftyOneConfigError":
            pytest.skip("FiftyOne's database does not start here")
        raise
    assert found is not None or "apply_model" in code
