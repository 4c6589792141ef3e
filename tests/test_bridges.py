"""What of the bridges needs no other program; the rest is in tests/bridges."""

import base64
import importlib
import io
import json
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from escnet.bridges import napari, nuclio
from escnet.errors import ConfigError
from escnet.inference.segmenter import Segmenter
from escnet.vocabulary import Vocabulary
from tests.colour_method import colour_labels, colour_picture, colour_segmenter

FUNCTION = Path(__file__).parents[1] / "docker" / "cvat-nuclio" / "function.yaml"


@pytest.mark.parametrize(
    ("module", "library", "extra"),
    [
        ("autodistill", "supervision", "supervision"),  # which it stands on
        ("cvat", "cvat_sdk", "cvat"),
        ("fiftyone", "fiftyone", "fiftyone"),
        ("label_studio", "label_studio_sdk", "label-studio"),
        ("supervision", "supervision", "supervision"),
    ],
)
def test_a_bridge_without_its_program_says_which_extra_it_needs(
    module: str, library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, f"escnet.bridges.{module}", raising=False)
    with pytest.raises(ConfigError, match=rf"{library}.*pip install 'escnet\[{extra}\]'"):
        importlib.import_module(f"escnet.bridges.{module}")


@dataclass
class Response:
    """Nuclio's own, with what we set."""

    body: str
    headers: dict[str, str]
    content_type: str
    status_code: int


@dataclass
class Context:
    """Nuclio's own, with what we use."""

    user_data: SimpleNamespace = field(default_factory=SimpleNamespace)
    Response: type = Response


def ask(body: Any) -> tuple[int, Any]:
    context = Context()
    context.user_data.vocabulary = Vocabulary.of(["red", "green", "blue"])
    context.user_data.segmenter = colour_segmenter()
    response = nuclio.handler(context, SimpleNamespace(body=body))
    assert response.content_type == "application/json"
    return response.status_code, json.loads(response.body)


def test_nuclio_s_answer_gives_the_label_map_back_as_cvat_s_server_unpacks_it() -> None:
    stream = io.BytesIO()
    Image.fromarray(colour_picture()).save(stream, "PNG")
    status, shapes = ask({"image": base64.b64encode(stream.getvalue()).decode()})
    assert status == 200
    labels = np.full((30, 40), 255)
    for shape in shapes:
        *pixels, left, top, right, bottom = shape["mask"]
        box = labels[top : bottom + 1, left : right + 1]
        box[np.reshape(pixels, box.shape) == 1] = ["red", "green", "blue"].index(shape["label"])
        assert len(shape["points"]) >= 6
        assert shape["type"] == "mask"
        assert 0 <= float(shape["confidence"]) <= 1
    np.testing.assert_array_equal(labels, colour_labels())


@pytest.mark.parametrize(
    "body",
    [None, {}, {"image": "###"}, {"image": "bm8="}, {"image": 3}, {"image": "", "threshold": "x"}],
)
def test_a_request_without_a_picture_is_refused_with_a_reason(body: Any) -> None:
    status, answer = ask(body)
    assert status == 400
    assert answer["error"]


def test_a_function_file_gives_names_and_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(Segmenter, "load", asked.append)
    context = Context()
    nuclio.init_context(context, FUNCTION)
    assert context.user_data.vocabulary.labels == ("person", "road", "sky")
    assert asked == ["mini"]
    assert yaml.safe_load(FUNCTION.read_text())["spec"]["handler"] == "main:handler"
    for text in ("", "metadata: {}", "metadata: {annotations: {spec: '{'}}", "a: [", "- 1"):
        (tmp_path / "function.yaml").write_text(text)
        with pytest.raises(ConfigError, match="function"):
            nuclio.init_context(context, tmp_path / "function.yaml")


def test_a_label_map_is_the_same_layer_from_its_result_and_from_its_file(tmp_path: Path) -> None:
    result = colour_segmenter().segment(colour_picture(), ["red", "green", "blue"], void_below=0.9)
    path = str(result.save(tmp_path, formats=["labels"])["labels"])
    _, drawn = napari.to_layers(result)
    reader = napari.get_reader([path])
    assert reader is not None
    assert napari.get_reader([path, "photo.png"]) is None
    for data, settings, kind in (drawn, *reader([path])):
        assert kind == "labels"
        np.testing.assert_array_equal(data, colour_labels() + 1)
        assert settings["name"] == "picture labels"
        assert settings["features"]["label"] == ["", "red", "green", "blue"]
        np.testing.assert_array_equal(settings["colormap"][None], np.zeros(4))
        np.testing.assert_allclose(settings["colormap"][2], drawn[1]["colormap"][2])
    nothing = replace(result, label_map=np.full_like(result.label_map, 255))
    assert not napari.to_layers(nothing)[1][0].any()  # void is 0, which is no label in napari
