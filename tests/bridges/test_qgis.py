"""The Processing script in QGIS, where its Python has pytest: pytest -c pytest.ini test_qgis.py."""

from collections.abc import Iterator
from pathlib import Path

import pytest

core = pytest.importorskip("qgis.core", reason="QGIS is not installed here")

SCRIPT = Path(__file__).parents[2] / "docs" / "examples" / "qgis_segment.py"
COMMAND = """#!/bin/sh
echo "$@"
echo "1 of 2 parts, 0.1 s each, 0 s left" >&2
[ "$4" = "sky, sea" ] && touch "$8/field.labels.tif"
"""


@pytest.fixture(scope="module")
def algorithm() -> Iterator[object]:
    application = core.QgsApplication([], False)
    application.initQgis()
    pytest.importorskip("processing.core.Processing").Processing.initialize()
    yield pytest.importorskip("processing.script.ScriptUtils").loadAlgorithm("s", str(SCRIPT))
    application.exitQgis()


def run(algorithm: object, folder: Path, **given: str) -> tuple[dict, object, object]:
    command = folder / "escnet"
    command.write_text(COMMAND)
    command.chmod(0o755)
    context, feedback = core.QgsProcessingContext(), core.QgsProcessingFeedback()
    context.setProject(core.QgsProject.instance())
    layer = core.QgsRasterLayer(str(folder / "field.tif"), "field")
    core.QgsProject.instance().addMapLayer(layer)
    asked = {"INPUT": layer, "NAMES": "sky, sea", "MODEL": "mini", "MORE": "--background --exact"}
    asked |= {"ESCNET": str(command), "FOLDER": str(folder)} | given
    results, fine = algorithm.run(asked, context, feedback)
    assert fine or given
    return results, context, feedback


def test_the_command_gets_what_the_form_asks_and_its_label_map_is_opened(
    algorithm: object, tmp_path: Path
) -> None:
    results, context, feedback = run(algorithm, tmp_path)
    labels = str(tmp_path / "field.labels.tif")
    assert results["LABELS"] == labels
    assert list(context.layersToLoadOnCompletion()) == [labels]
    asked = f"segment {tmp_path}/field.tif --classes sky, sea --model mini --out {tmp_path}"
    assert f"{asked} --background --exact" in feedback.textLog()
    assert feedback.progress() == 50


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"ESCNET": "/nowhere/escnet"}, "give the whole path"),
        ({"NAMES": "sky"}, "its last line says why"),
    ],
)
def test_what_goes_wrong_is_said(
    algorithm: object, tmp_path: Path, given: dict[str, str], said: str
) -> None:
    assert said in run(algorithm, tmp_path, **given)[2].textLog()
