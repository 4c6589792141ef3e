import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel

from escnet.errors import CalibrationWarning, ConfigError, WeightsError
from escnet.inference.calibration import Calibration, calibration_path
from escnet.inference.label_maps.curve import Curve
from escnet.inference.label_maps.probability import sigmoid
from escnet.inference.options import SegmentOptions
from escnet.inference.segmenter import Segmenter
from escnet.vocabulary import Vocabulary
from escnet.weights.checkpoint import write_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore::escnet.errors.NamesWarning")  # it knows few

NAMES = ["cat", "dog", "sky"]
CURVE = {"slope": 1.0, "shift": 0.0}


@pytest.fixture(scope="module")
def tiny() -> Segmenter:
    return Segmenter.load("tiny", device="cpu")


@pytest.fixture(scope="module")
def calibration(tiny: Segmenter) -> Calibration:
    return Calibration(
        weights_hash=tiny.weights_hash,
        asked=tiny.how_asked(tiny.resolved(SegmentOptions())),
        confidence=Curve(slope=0.5, shift=0.25),
        presence=Curve(slope=2.0, shift=-1.0),
        fitted_to={"street": 7},
    )


@pytest.fixture
def model_folder(tiny: Segmenter, tmp_path: Path) -> Path:
    """Other weights, and a tokenizer that knows a few words."""
    index = {word: index for index, word in enumerate(["[UNK]", *NAMES])}
    tokenizer = Tokenizer(WordLevel(index, unk_token="[UNK]"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    folder = tmp_path / "model"
    write_checkpoint(folder, tiny.method.network, tokenizer_from=tmp_path)  # type: ignore[attr-defined]
    return folder


def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


def test_a_calibration_is_the_same_from_its_file(calibration: Calibration, tmp_path: Path) -> None:
    path = tmp_path / "street.json"
    calibration.write(path)
    again = Calibration.read(path)
    assert again == calibration
    assert (
        again.digest
        == calibration.digest
        != replace(calibration, presence=Curve(slope=1.0, shift=0.0)).digest
    )


def test_confidences_are_by_the_calibration_that_is_asked_for(
    tiny: Segmenter, calibration: Calibration, tmp_path: Path
) -> None:
    path = tmp_path / "street.json"
    calibration.write(path)
    calibrated = Segmenter.load("tiny", device="cpu", calibration=path)
    plain = tiny.segment(pixels(), NAMES, top=2)
    result = calibrated.segment(pixels(), NAMES, top=2)
    assert (result.label_map == plain.label_map).all()
    expected = calibration.confidence.of(plain.confidence.astype(np.float32))
    np.testing.assert_allclose(result.confidence, expected, atol=2e-3)
    np.testing.assert_array_equal(result.top_probabilities[0], result.confidence)
    assert plain.presence is not None
    expected = calibration.presence.of(plain.presence)
    np.testing.assert_allclose(result.presence, expected, rtol=1e-5)
    assert result.settings["calibration"] == calibration.digest
    assert "calibration" not in plain.settings
    again = pickle.loads(pickle.dumps(calibrated))  # noqa: S301 -- our own
    assert again.asked_calibration == calibration


def test_the_calibration_in_a_models_folder_is_used(
    calibration: Calibration, model_folder: Path
) -> None:
    plain = Segmenter.load(model_folder, device="cpu")
    own = replace(calibration, weights_hash=plain.weights_hash)
    own.write(calibration_path(model_folder, str(model_folder)))
    found = Segmenter.load(model_folder, device="cpu")
    assert found.segment(pixels(), NAMES).settings["calibration"] == own.digest
    without = Segmenter.load(model_folder, device="cpu", calibration="none")
    assert "calibration" not in without.segment(pixels(), NAMES).settings
    assert "calibration" not in found.segment(pixels(), NAMES, windows="native").settings
    assert "calibration" not in found.segment(pixels(), NAMES, share_prior=0.7).settings


def test_a_calibration_that_does_not_fit_is_told_of_and_not_used(
    calibration: Calibration, model_folder: Path
) -> None:
    replace(calibration, weights_hash="0" * 64).write(model_folder / "calibration.json")
    with pytest.warns(CalibrationWarning, match="was fitted with other weights"):
        found = Segmenter.load(model_folder, device="cpu")
    assert found.calibration is None
    (model_folder / "calibration.json").write_text("{}")
    with pytest.warns(CalibrationWarning, match="is no calibration that escnet calibrate wrote"):
        Segmenter.load(model_folder, device="cpu")


def test_a_calibration_of_other_weights_or_settings_is_refused(
    calibration: Calibration, model_folder: Path
) -> None:
    with pytest.raises(WeightsError, match="fitted with other weights"):
        Segmenter.load(model_folder, device="cpu", calibration=calibration)
    asked = Segmenter.load("tiny", device="cpu", calibration=calibration)
    with pytest.raises(ConfigError, match="is for pictures seen as a whole, not for windows"):
        asked.segment(pixels(), NAMES, windows="native")
    of_windows = replace(calibration, asked={**calibration.asked, "windows": {"size": 3}})
    with pytest.raises(ConfigError, match="is for windows, not for pictures seen as a whole"):
        Segmenter.load("tiny", device="cpu", calibration=of_windows).resolved(SegmentOptions())


def test_both_ways_to_label_have_the_same_curve(tiny: Segmenter, calibration: Calibration) -> None:
    options = tiny.resolved(SegmentOptions.of(windows="native"))
    own = replace(calibration, asked=tiny.how_asked(options))
    vocabulary = Vocabulary.of(NAMES)
    plain = tiny.segment_pixels(pixels(), vocabulary, options)
    calibrated = Segmenter.load("tiny", device="cpu", calibration=own)
    result = calibrated.segment_pixels(pixels(), vocabulary, SegmentOptions.of(windows="native"))
    expected = own.confidence.of(plain.confidence.astype(np.float32))
    np.testing.assert_allclose(result.confidence, expected, atol=2e-3)
    assert (result.label_map == plain.label_map).all()


def test_score_maps_are_confidences_on_the_models_grid(
    tiny: Segmenter, calibration: Calibration
) -> None:
    calibrated = Segmenter.load("tiny", device="cpu", calibration=calibration)
    result = calibrated.segment(pixels(), NAMES, scores=True, background=True)
    vocabulary = Vocabulary.of(NAMES)
    whole = tiny.whole_logits(pixels(), vocabulary, tiny.resolved(SegmentOptions()))
    expected = calibration.confidence.of(sigmoid(whole.logits))
    assert result.scores is not None
    np.testing.assert_allclose(result.scores, expected, atol=1e-3)
    assert tiny.segment(pixels(), NAMES).scores is None
    with pytest.raises(ConfigError, match="score maps are of pictures seen as a whole"):
        tiny.segment(pixels(), NAMES, scores=True, windows="native")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "has the format 2"),
        ({"confidence": CURVE | {"slope": 0}}, "slope 0.0 of a calibration is no number"),
        ({"confidence": CURVE | {"slope": [1]}}, r"slope \[1\] of a calibration"),
        ({"presence": CURVE | {"slope": 10**400}}, "slope 1.* of a calibration"),
        ({"presence": CURVE | {"shift": 1e308}}, "shift 1e.* of a calibration"),
        ({"presence": CURVE | {"shift": 200}}, "of a calibration is no number"),
        ({"confidence": {"slope": 1}}, "is not slope and shift"),
        ({"presence": 3}, "has presence 3"),
        ({"asked": []}, r"has asked \[\]"),
        ({"colour": "red"}, "has an unknown 'colour'"),
        ({"weights_hash": 5}, "has weights_hash 5"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(
    calibration: Calibration, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = tmp_path / "street.json"
    calibration.write(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(WeightsError, match=message) as error:
        Calibration.read(path)
    assert "\n" not in str(error.value)


def test_a_file_that_lacks_a_number_is_refused(calibration: Calibration, tmp_path: Path) -> None:
    path = tmp_path / "street.json"
    calibration.write(path)
    document = json.loads(path.read_text())
    del document["presence"]
    path.write_text(json.dumps(document))
    with pytest.raises(WeightsError, match="has no 'presence'"):
        Calibration.read(path)


def test_a_calibration_goes_to_a_file_or_to_its_model(model_folder: Path, tmp_path: Path) -> None:
    assert calibration_path(model_folder, str(model_folder)) == model_folder / "calibration.json"
    assert calibration_path(tmp_path / "a.json", "tiny") == tmp_path / "a.json"
    with pytest.raises(ConfigError, match=r"write FILE\.json"):
        calibration_path(tmp_path / "nowhere", "tiny")
    with pytest.raises(ConfigError, match="is not the folder of model 'mini'"):
        calibration_path(model_folder, "mini")
