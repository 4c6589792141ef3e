from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.colour_method import colour_labels, colour_picture, colour_segmenter

detection = pytest.importorskip("autodistill.detection", reason="autodistill is not installed here")

from escnet.bridges.autodistill import EscNet  # noqa: E402


def test_an_ontology_s_prompts_are_asked_and_its_classes_are_told() -> None:
    ontology = detection.CaptionOntology({"blue": "cold", "green": "cold", "red": "warm"})
    with pytest.raises(ValueError, match="empty"):
        detection.CaptionOntology({})
    detections = EscNet(ontology, segmenter=colour_segmenter(), per="name").predict(
        Image.fromarray(colour_picture())
    )
    by_name = dict(zip(detections["class_name"].tolist(), detections.mask, strict=True))
    np.testing.assert_array_equal(by_name["warm"], colour_labels() == 0)
    np.testing.assert_array_equal(by_name["cold"], colour_labels() > 0)
    classes = ontology.classes()  # as autodistill names what it writes
    assert [classes[label] for label in detections.class_id] == detections["class_name"].tolist()


def test_a_labelled_data_set_comes_out(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name in "abcde":
        Image.fromarray(colour_picture()).save(tmp_path / "photos" / f"{name}.png")
    ontology = detection.CaptionOntology({"red": "red", "green": "green", "blue": "blue"})
    model = EscNet(ontology, segmenter=colour_segmenter())
    model.label(str(tmp_path / "photos"), extension=".png", output_folder=str(tmp_path / "out"))
    assert (tmp_path / "out" / "data.yaml").is_file()
    labels = sorted((tmp_path / "out").rglob("labels/*.txt"))
    assert len(labels) == 5
    assert {line.split()[0] for line in labels[0].read_text().splitlines()} == {"0", "1", "2"}
