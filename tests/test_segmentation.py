import json
import pickle
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from escnet.annotations.label_png import read_label_png
from escnet.errors import ConfigError, ImageError, OutputError, VocabularyError
from escnet.segmentation import Segmentation, save_all


def drawn_result(**changes: object) -> Segmentation:
    values: dict[str, object] = {
        "label_map": np.array([[0, 0, 1], [255, 0, 1]], dtype=np.uint8),
        "confidence": np.array([[0.9, 0.6, 0.5], [0.1, 0.3, 0.7]], dtype=np.float32),
        "names": ("sky", "sea", "sand"),
        "picture": np.full((2, 3, 3), 128, dtype=np.uint8),
        "model": "drawn",
        "weights_hash": "0123",
        "settings": {"template": "{}"},
    }
    return Segmentation(**(values | changes))


def test_share_counts_all_pixels_void_included() -> None:
    assert drawn_result().share("sky") == pytest.approx(3 / 6)
    assert drawn_result().share("sand") == 0.0


def test_mean_confidence_is_over_the_class_s_own_pixels() -> None:
    assert drawn_result().mean_confidence("sea") == pytest.approx(0.6)
    assert drawn_result().mean_confidence("sand") is None


def test_mask_is_true_where_the_class_is() -> None:
    assert drawn_result().mask("sea").tolist() == [[False, False, True], [False, False, True]]


def test_a_result_goes_to_other_libraries_as_a_copy() -> None:
    result = drawn_result()
    expected = result.label_map.tolist()
    assert result.to_numpy().tolist() == result.to_torch().tolist() == expected
    assert str(result.to_torch().dtype) == "torch.int64"
    image = result.to_pil()
    assert (image.mode, np.asarray(image).tolist()) == ("P", expected)
    assert image.convert("RGB").getpixel((0, 1)) == (0, 0, 0)  # void
    wide = drawn_result(label_map=result.label_map.astype(np.uint16))
    assert np.asarray(wide.to_pil()).tolist() == expected
    result.to_numpy()[:] = 7
    assert result.label_map.tolist() == expected


def test_a_result_pickles() -> None:
    result = drawn_result()
    arrived = pickle.loads(pickle.dumps(result))  # noqa: S301 -- our own
    assert arrived.summary() == result.summary()
    assert (arrived.picture == result.picture).all()


def test_an_unknown_name_lists_the_known_ones() -> None:
    result = drawn_result()
    for ask in (result.share, result.mean_confidence, result.mask):
        with pytest.raises(VocabularyError, match=r"'lake'.*sky, sea, sand"):
            ask("lake")


def test_void_is_the_largest_value_of_the_label_map_s_type() -> None:
    assert drawn_result().void_label == 255
    wide = drawn_result(label_map=np.zeros((2, 3), dtype=np.uint16))
    assert wide.void_label == 65535


def test_saved_files_say_what_the_result_says(tmp_path: Path) -> None:
    result = drawn_result()
    paths = result.save(tmp_path / "new" / "folder", "beach")
    assert {kind: path.name for kind, path in paths.items()} == {
        "labels": "beach.labels.png",
        "overlay": "beach.overlay.jpg",
        "json": "beach.json",
    }
    assert sorted(paths.values()) == sorted((tmp_path / "new" / "folder").iterdir())
    label_map, names = read_label_png(paths["labels"])
    np.testing.assert_array_equal(label_map, result.label_map)
    assert names == result.names
    with Image.open(paths["overlay"]) as image:
        image.load()
    summary = json.loads(paths["json"].read_text(encoding="utf-8"))
    assert summary["model"] == "drawn"
    for kind in ("labels", "overlay"):
        content = paths[kind].read_bytes()
        assert summary["files"][kind] == {
            "file": paths[kind].name,
            "bytes": len(content),
            "sha256": sha256(content).hexdigest(),
        }


def test_only_the_formats_asked_for_are_written(tmp_path: Path) -> None:
    drawn_result(picture=None).save(tmp_path, formats=("json", "labels"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["picture.json", "picture.labels.png"]


def test_formats_may_come_one_by_one(tmp_path: Path) -> None:
    paths = drawn_result().save(tmp_path, formats=(kind for kind in ["labels"]))
    assert list(tmp_path.iterdir()) == list(paths.values()) == [tmp_path / "picture.labels.png"]


def test_a_summary_tells_the_picture_s_file_if_there_is_one() -> None:
    source = {"file": "beach.jpg", "bytes": 9, "sha256": "89ab"}
    assert drawn_result(source=source).summary()["source"] == source
    assert drawn_result().summary()["source"] is None


def test_files_are_called_after_the_result_s_own_stem(tmp_path: Path) -> None:
    drawn_result(stem="dune").save(tmp_path, formats=["json"])
    assert [p.name for p in tmp_path.iterdir()] == ["dune.json"]


@pytest.mark.parametrize("stem", ["", "a/b", "..", "/a"])
def test_a_stem_that_leads_elsewhere_is_refused(tmp_path: Path, stem: str) -> None:
    with pytest.raises(OutputError, match="stem"):
        drawn_result().save(tmp_path / "out", stem)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("formats", [("labels", "gif"), ()])
def test_unknown_formats_list_the_known(tmp_path: Path, formats: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"labels, overlay, .*, json"):
        drawn_result().save(tmp_path, formats=formats)


def test_an_overlay_without_the_picture_says_what_to_do() -> None:
    with pytest.raises(ImageError, match="keep the picture"):
        drawn_result(picture=None).overlay()


@pytest.mark.parametrize("opacity", [-0.1, 1.1, float("nan")])
def test_an_opacity_out_of_range_is_refused(opacity: float) -> None:
    with pytest.raises(ConfigError, match="opacity"):
        drawn_result().overlay(opacity=opacity)


def test_a_result_works_without_pytorch() -> None:
    code = "import escnet, sys; escnet.Segmentation; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "False"


def test_an_overlay_of_some_names_alone_refuses_others() -> None:
    with pytest.raises(VocabularyError, match="'lake'"):
        drawn_result().overlay(only=["lake"])
    shown = drawn_result().overlay(only=["sea"], legend=False)
    np.testing.assert_array_equal(shown[0, 0], [128, 128, 128])


def test_tidying_states_itself_and_gives_changed_pixels_no_confidence() -> None:
    result = drawn_result().tidied(min_area=2)
    assert result.label_map.tolist() == [[0, 0, 1], [0, 0, 1]]
    assert result.confidence[1, 0] == 0
    assert result.confidence[0, 0] == drawn_result().confidence[0, 0]
    assert result.settings == {"template": "{}", "min_area": 2, "fill_holes": 0}


def test_tidying_by_less_than_nothing_is_refused() -> None:
    for wrong in ({"min_area": -1}, {"fill_holes": -5}):
        with pytest.raises(ConfigError, match="pixels"):
            drawn_result().tidied(**wrong)


def test_the_summary_seals_every_file_of_a_format(tmp_path: Path) -> None:
    result = drawn_result(source={"file": "beach.png"})
    result.save(tmp_path, "beach", ["masks", "coco", "json"])
    summary = json.loads((tmp_path / "beach.json").read_text())
    sealed = summary["files"]
    assert set(sealed) == {"masks", "coco"}
    files = [*sealed.values(), *sealed["masks"]["more"]]
    assert len(files) == 4
    for entry in files:
        content = (tmp_path / entry["file"]).read_bytes()
        assert entry["bytes"] == len(content)
        assert entry["sha256"] == sha256(content).hexdigest()
    assert summary["format_options"]["tolerance"] == 0.5


def test_results_of_a_folder_may_come_one_by_one_but_not_with_one_stem(tmp_path: Path) -> None:
    results = (drawn_result(stem=stem) for stem in ("a", "b", "A"))
    with pytest.raises(OutputError, match="two results are called 'A'"):
        save_all(results, tmp_path, ["grey"])
    assert save_all(iter([]), tmp_path, ["coco"]) == []


def test_results_of_a_folder_have_the_same_names(tmp_path: Path) -> None:
    results = [drawn_result(stem="a"), drawn_result(stem="b", names=("x", "y", "z"))]
    with pytest.raises(VocabularyError, match="result 2, 'b'"):
        save_all(results, tmp_path, ["coco"])
