import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from escnet.annotations.groups import merged_ranks
from escnet.errors import ConfigError
from escnet.inference.jobs.segment_job import SegmentJob
from escnet.inference.options import SegmentOptions
from escnet.segmentation import Segmentation
from escnet.vocabulary import Vocabulary
from tests.colour_method import colour_picture, colour_segmenter

NAMES = """
[[groups]]
name = "warm"
group = "light"
color = "#102030"
[[groups]]
name = "cold"
group = "light"
[[labels]]
name = "red"
group = "warm"
color = "#abcdef"
[[labels]]
name = "green"
[[labels]]
name = "blue"
group = "cold"
"""


@pytest.fixture
def names(tmp_path: Path) -> Vocabulary:
    file = tmp_path / "names.toml"
    file.write_text(NAMES)
    return Vocabulary.read(file)


def test_a_group_has_the_pixels_of_its_labels(names: Vocabulary) -> None:
    segmenter = colour_segmenter()
    labels = segmenter.segment(colour_picture(), names)
    groups = segmenter.segment(colour_picture(), names, level=1, top=3)
    assert groups.names == ("light", "green")
    assert groups.share("light") == labels.share("red") + labels.share("blue")
    assert labels.share("light") == groups.share("light")
    np.testing.assert_array_equal(labels.mask("light"), groups.label_map == 0)
    np.testing.assert_array_equal(labels.at_level(1).label_map, groups.label_map)
    assert groups.top_names is not None
    assert set(groups.top_names[:, 0, 0].tolist()) == {0, 1, groups.void_label}
    assert groups.settings["level"] == 1
    second = segmenter.segment(colour_picture(), names, level=2, background=True)
    assert second.names == ("warm", "green", "cold", "background")


def test_void_stays_void_and_maps_of_few_groups_have_8_bits() -> None:
    many = tuple(str(number) for number in range(300))
    label_map = np.array([[0, 299, 65535]], np.uint16)
    result = Segmentation(
        label_map=label_map,
        confidence=np.ones((1, 3), np.float32),
        names=many,
        paths=tuple(("all", name) for name in many),
    ).at_level(1)
    assert result.label_map.dtype == np.uint8
    assert result.label_map.tolist() == [[0, 0, 255]]


def test_ranks_of_one_group_are_one() -> None:
    ranks = np.array([0, 0, 1], np.uint8)[:, None, None]
    chances = np.array([0.5, 0.4, 0.1], np.float16)[:, None, None]
    merged, left = merged_ranks(ranks, chances)
    assert merged.ravel().tolist() == [0, 1, 255]
    np.testing.assert_allclose(left.ravel(), [0.5, 0.1, 0], atol=1e-3)


def test_a_level_that_is_not_there_is_refused_before_the_picture_is_read(names: Vocabulary) -> None:
    with pytest.raises(ConfigError, match="level 4 is not among"):
        colour_segmenter().segment("absent.jpg", names, level=4)
    with pytest.raises(ConfigError, match="level 1 needs groups"):
        colour_segmenter().segment("absent.jpg", ["red"], level=1)
    with pytest.raises(ConfigError, match="level -1 is no level"):
        SegmentOptions(level=-1)


def test_files_have_the_groups_and_the_colours_of_the_names_file(
    names: Vocabulary, tmp_path: Path
) -> None:
    Image.fromarray(colour_picture()).save(tmp_path / "a.png")
    for level, expected in ((0, (0xAB, 0xCD, 0xEF)), (2, (0x10, 0x20, 0x30))):
        out = tmp_path / f"out{level}"
        job = SegmentJob.plan(
            [tmp_path / "a.png"],
            names,
            out=out,
            options=SegmentOptions(level=level),
            formats=["labels", "color", "cvat-mask", "json"],
        )
        job.run(colour_segmenter())
        with Image.open(out / "a.labels.png") as labels:
            assert labels.convert("RGB").getpixel((0, 0)) == expected
        report = job.run(colour_segmenter())
        assert [one.status for one in report.pictures] == ["written"]
    summary = json.loads((tmp_path / "out0" / "a.json").read_text())
    assert [(one["name"], one["level"], one["names"]) for one in summary["groups"]] == [
        ("light", 1, ["red", "blue"]),
        ("warm", 2, ["red"]),
        ("cold", 2, ["blue"]),
    ]
    shares = {one["name"]: one["share"] for one in (*summary["names"], *summary["groups"])}
    assert shares["light"] == pytest.approx(shares["red"] + shares["blue"], abs=2e-6)
    resumed = SegmentJob.plan(
        [tmp_path / "a.png"],
        names,
        out=tmp_path / "out0",
        formats=["labels", "color", "cvat-mask", "json"],
        resume=True,
    ).run(colour_segmenter())
    assert [one.status for one in resumed.pictures] == ["skipped"]
