"""The backend answers what Label Studio asks, in what its own SDK takes for a prediction."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.colour_method import colour_labels, colour_picture, colour_segmenter

brush = pytest.importorskip("label_studio_sdk.converter.brush", reason="label-studio-sdk is absent")
testclient = pytest.importorskip("fastapi.testclient", reason="fastapi is not installed here")

from label_studio_sdk._extensions.label_studio_tools.core.utils import io  # noqa: E402
from label_studio_sdk.label_interface import LabelInterface  # noqa: E402

from escnet.bridges.label_studio import Backend, make_app  # noqa: E402
from escnet.inference.options import SegmentOptions  # noqa: E402

CONFIG = """<View><Header value="Colours"/><Image name="img" value="$photo"/>
<BrushLabels name="tag" toName="img"><Label value="red"/><Label value="blue"/>
<Label value="green" background="green"/></BrushLabels></View>"""
LABELS = ["red", "green", "blue"]


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    Image.fromarray(colour_picture()).save(tmp_path / "a b.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    monkeypatch.setattr(io, "LOCAL_FILES_DOCUMENT_ROOT", str(tmp_path))
    return testclient.TestClient(make_app(Backend(colour_segmenter(), SegmentOptions())))


def ask(client, *files: str, config: str = CONFIG):
    tasks = [
        {"id": number, "data": {"photo": f"/data/local-files/?d={file}"}}
        for number, file in enumerate(files)
    ]
    return client.post("/predict", json={"tasks": tasks, "label_config": config, "project": "1.2"})


def test_it_is_up_and_takes_a_project(client) -> None:
    assert client.get("/health").json()["status"] == "UP"
    setup = {"project": "1.2", "schema": CONFIG, "hostname": "", "access_token": ""}
    version = client.post("/setup", json=setup).json()["model_version"]
    assert version == "escnet colours 00000000"
    assert client.get("/versions").json() == {"versions": [version]}
    assert client.post("/webhook", json={"action": "ANNOTATION_CREATED"}).status_code == 201


def test_predictions_are_valid_and_give_the_label_map_back(client) -> None:
    answer = ask(client, "a%20b.png").json()
    (prediction,) = answer["results"]
    assert LabelInterface(CONFIG).validate_prediction(
        {**prediction, "model_version": answer["model_version"]}
    )
    labels = np.full((30, 40), 255)
    for region in prediction["result"]:
        assert (region["from_name"], region["to_name"]) == ("tag", "img")
        decoded = brush.decode_rle(region["value"]["rle"]).reshape(30, 40, 4)[..., 3]
        labels[decoded > 0] = LABELS.index(region["value"]["brushlabels"][0])
    np.testing.assert_array_equal(labels, colour_labels())
    assert 0.9 < prediction["score"] <= 1


def test_one_picture_that_cannot_be_read_spoils_no_other(client, caplog) -> None:
    results = ask(client, "broken.png", "absent.png", "a%20b.png").json()["results"]
    assert [bool(one["result"]) for one in results] == [False, False, True]
    assert "task 0" in caplog.text
    assert "task 1" in caplog.text


@pytest.mark.parametrize(
    "config",
    [
        "",
        "<View",
        '<View><Image name="i" value="$i"/></View>',
        '<View><Image name="i" value="$i"/><BrushLabels name="l" toName="i"></BrushLabels></View>',
    ],
)
def test_a_set_up_without_brush_labels_is_refused_in_one_line(client, config: str) -> None:
    for answer in (
        ask(client, "a%20b.png", config=config),
        client.post("/setup", json={"schema": config}),
    ):
        assert answer.status_code == 422
        assert "BrushLabels" in answer.json()["detail"]
