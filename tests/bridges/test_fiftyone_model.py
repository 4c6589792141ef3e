from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.colour_method import colour_labels, colour_picture, colour_segmenter

fo = pytest.importorskip("fiftyone", reason="fiftyone is not installed here")

from escnet.bridges.fiftyone import Model, to_segmentation  # noqa: E402
from escnet.segmentation import Segmentation  # noqa: E402

NAMES = ["red", "green", "blue"]


@pytest.fixture
def model() -> Model:
    return Model(NAMES, segmenter=colour_segmenter())


def test_a_value_is_the_index_plus_one_and_zero_is_no_class(results: list[Segmentation]) -> None:
    for result in results:
        label = to_segmentation(result)
        expected = np.where(result.label_map == 255, 0, result.label_map.astype(int) + 1)
        np.testing.assert_array_equal(label.mask, expected)
        assert label.confidence == pytest.approx(0.75)


def test_a_label_goes_through_fiftyone_s_own_storage_form(model: Model) -> None:
    label = fo.Segmentation.from_dict(model.predict(colour_picture()).to_dict())
    np.testing.assert_array_equal(label.mask, colour_labels() + 1)
    assert model.mask_targets == {1: "red", 2: "green", 3: "blue"}


def test_other_names_can_be_set_at_run_time(model: Model) -> None:
    model.classes = "blue, green"
    assert model.mask_targets == {1: "blue", 2: "green"}
    mask = model.predict(colour_picture()).mask
    assert mask[12, 20] == 1
    assert mask[6, 9] == 2


def test_a_sample_gets_what_apply_model_asks_for(tmp_path: Path) -> None:
    # as `apply_model` does it for each sample, without the database that a data set needs
    from fiftyone.core.utils import SetAttributes
    from fiftyone.utils.image import read

    Image.fromarray(colour_picture()).save(tmp_path / "a.png")
    sample = fo.Sample(str(tmp_path / "a.png"))
    model = Model(NAMES, segmenter=colour_segmenter(), confidence=True)
    settings = {"filter_classes": {"blue"}, "confidence_thresh": 0.5}
    with SetAttributes(model.config, **settings), model:
        sample.add_labels(model.predict(read(sample.filepath)), label_field="escnet")
    expected = np.where(colour_labels() == 2, 3, 0)
    np.testing.assert_array_equal(sample["escnet_names"].mask, expected)
    assert sample["escnet_confidence"].map.shape == (30, 40)
    assert model.config.filter_classes is None


def test_apply_model_fills_a_field_of_a_data_set(tmp_path: Path, model: Model) -> None:
    Image.fromarray(colour_picture()).save(tmp_path / "a.png")
    try:
        dataset = fo.Dataset("escnet bridge", overwrite=True)
    except fo.core.config.FiftyOneConfigError:
        pytest.skip("FiftyOne's database does not start here")
    dataset.add_sample(fo.Sample(str(tmp_path / "a.png")))
    dataset.apply_model(model, label_field="colours")
    dataset.mask_targets = {"colours": model.mask_targets}
    dataset.save()
    np.testing.assert_array_equal(dataset.first()["colours"].mask, colour_labels() + 1)
    dataset.delete()
