import base64
import io

import numpy as np
import pytest
import transformers
from PIL import Image

from escnet.bridges.transformers import Pipeline
from escnet.errors import ConfigError, ImageError
from escnet.inference.segmenter import Segmenter
from tests.colour_method import colour_labels, colour_picture, colour_segmenter

NAMES = ["red", "green", "blue"]


@pytest.fixture
def picture() -> Image.Image:
    return Image.fromarray(colour_picture())


def test_a_pipeline_of_transformers_answers_as_the_segmenter(picture: Image.Image) -> None:
    segmenter = Segmenter.load("tiny")
    pipe = transformers.pipeline("image-segmentation", model=segmenter, pipeline_class=Pipeline)
    answers = pipe(picture, candidate_labels=NAMES)
    result = segmenter.segment(picture, NAMES)
    assert [answer["label"] for answer in answers] == [
        name for name in NAMES if result.mask(name).any()
    ]
    for answer in answers:
        assert isinstance(answer["mask"], Image.Image)
        mask = np.asarray(answer["mask"])
        np.testing.assert_array_equal(mask, np.where(result.mask(answer["label"]), 255, 0))
        assert answer["score"] == pytest.approx(result.mean_confidence(answer["label"]), abs=1e-4)


def test_names_of_the_pipeline_give_way_to_those_of_a_call(picture: Image.Image) -> None:
    pipe = Pipeline(colour_segmenter(), candidate_labels=NAMES)
    assert [answer["label"] for answer in pipe(picture)] == NAMES
    few = pipe(picture, candidate_labels={"grass": "green", "rest": ["red", "blue"]})
    assert [answer["label"] for answer in few] == ["grass", "rest"]
    assert np.asarray(few[0]["mask"]).sum() == 255 * (colour_labels() == 1).sum()


def test_lists_and_generators_and_addresses_are_pictures(picture: Image.Image) -> None:
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    address = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
    pipe = Pipeline(colour_segmenter(), candidate_labels=NAMES, batch_size=2)
    for several in ([picture, address], (one for one in (picture, address))):
        for answers in pipe(several):
            assert [answer["label"] for answer in answers] == NAMES


def test_a_threshold_leaves_out_names_with_lower_scores() -> None:
    dark = Image.fromarray(colour_picture() // np.array([16, 4, 1], np.uint8))
    pipe = Pipeline(colour_segmenter(), candidate_labels=NAMES)
    red, green, blue = (answer["score"] for answer in pipe(dark))
    assert red < green < blue
    assert [answer["label"] for answer in pipe(dark, threshold=green)] == NAMES[1:]
    assert [answer["label"] for answer in pipe(dark, void_below=(1 + green) / 2)] == NAMES[2:]


def test_what_cannot_be_is_refused(picture: Image.Image) -> None:
    pipe = Pipeline(colour_segmenter())
    with pytest.raises(ConfigError, match="candidate_labels"):
        pipe(picture)
    with pytest.raises(ImageError, match=r"nowhere\.jpg"):
        pipe("nowhere.jpg", candidate_labels=NAMES)
    with pytest.raises(ConfigError, match=r"on cpu, not on meta.*Segmenter\.load"):
        Pipeline(colour_segmenter(), device="meta")
