"""napari's own layers and plugin manager, without a window."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from escnet.bridges.napari import get_reader, segment, to_layers
from escnet.segmentation import Segmentation

napari = pytest.importorskip("napari", reason="napari is not installed here")
npe2 = pytest.importorskip("npe2", reason="napari is not installed here")


def test_layers_hold_picture_labels_colours_and_names(results: list[Segmentation]) -> None:
    for result in results:
        picture, labels = (napari.layers.Layer.create(*layer) for layer in to_layers(result))
        np.testing.assert_array_equal(picture.data, result.picture)
        assert picture.rgb
        for index, name in enumerate(result.names):
            np.testing.assert_array_equal(labels.data == index + 1, result.mask(name))
            own = result.to_pil().getpalette()[3 * index : 3 * index + 3]
            np.testing.assert_allclose(
                labels.get_color(index + 1)[:3], np.array(own) / 255, atol=1e-6
            )
        assert not labels.data[result.label_map == result.void_label].any()
    named = to_layers(results[0])
    shown = napari.layers.Layer.create(*named[1]).get_status((18, 18), world=True)
    assert "sky" in str(shown)


def test_the_manifest_opens_a_label_map_and_offers_the_form(
    results: list[Segmentation], tmp_path: Path
) -> None:
    manifest = npe2.PluginManifest.from_distribution("escnet")
    assert manifest.contributions.widgets[0].display_name == "Segment by names"
    path = results[0].save(tmp_path, formats=["labels"])["labels"]
    data, settings, kind = get_reader(str(path))(str(path))[0]
    layer = napari.layers.Layer.create(data, settings, kind)
    drawn = napari.layers.Layer.create(*to_layers(results[0])[1])
    np.testing.assert_array_equal(layer.data, drawn.data)
    np.testing.assert_allclose(layer.get_color(2), drawn.get_color(2), atol=1e-6)
    assert layer.name == "rings labels"


def test_the_form_segments_the_picture_of_a_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    qt = pytest.importorskip(
        "qtpy.QtWidgets", reason="Qt is not installed here", exc_type=Exception
    )
    _app = qt.QApplication.instance() or qt.QApplication([])
    form = importlib.import_module("magicgui").magicgui(segment)
    assert [widget.name for widget in form][:3] == ["picture", "names", "background"]
    picture = np.zeros((60, 80, 3), np.uint8)
    (data, settings, kind), *more = segment(picture, "cup, table")
    assert (data.shape, kind, more) == ((60, 80), "labels", [])
    assert settings["features"]["label"] == ["", "cup", "table"]
