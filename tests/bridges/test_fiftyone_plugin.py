"""The operator of the plugin, without the database that a data set needs."""

import importlib.util
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import yaml

from escnet.inference.segmenter import Segmenter
from tests.colour_method import colour_labels, colour_picture, colour_segmenter

pytest.importorskip("fiftyone.operators", reason="fiftyone is not installed here")

FOLDER = Path(__file__).parents[2] / "docs" / "examples" / "fiftyone_plugin"


@pytest.fixture(scope="module")
def plugin() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fiftyone_plugin", FOLDER / "__init__.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Dataset:
    """What of a data set the operator uses."""

    def __init__(self) -> None:
        self.mask_targets: dict[str, object] = {"truth": {1: "sky"}}
        self.fields: dict[str, np.ndarray] = {}
        self.is_saved = False

    def apply_model(self, model: object, label_field: str) -> None:
        self.fields[label_field] = model.predict(colour_picture()).mask

    def save(self) -> None:
        self.is_saved = True


def test_the_plugin_registers_the_operators_of_its_manifest(plugin: ModuleType) -> None:
    registered: list[type] = []
    plugin.register(SimpleNamespace(register=registered.append))
    manifest = yaml.safe_load((FOLDER / "fiftyone.yml").read_text())
    assert [kind().config.name for kind in registered] == manifest["operators"]


def test_the_form_asks_for_names_and_the_masks_go_into_the_field(
    plugin: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(Segmenter, "load", lambda model: asked.append(model) or colour_segmenter())
    dataset, reloads = Dataset(), []
    ctx = SimpleNamespace(
        params={"names": "red, green, blue", "field": "found", "model": "mini"},
        dataset=dataset,
        target_view=lambda: dataset,
        ops=SimpleNamespace(reload_dataset=lambda: reloads.append(1)),
    )
    plugin.SegmentByNames().execute(ctx)
    np.testing.assert_array_equal(dataset.fields["found"], colour_labels() + 1)
    names = {1: "red", 2: "green", 3: "blue"}
    assert dataset.mask_targets == {"truth": {1: "sky"}, "found": names}
    assert (asked, dataset.is_saved, reloads) == (["mini"], True, [1])
