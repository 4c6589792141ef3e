import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from escnet.data.splits import find_split
from escnet.errors import ConfigError, DatasetError, ImageError
from escnet.training.pictures_recipe import SourceSection
from escnet.training.sources import FOLDER, Sources, read_sources, source_weights
from escnet.training.targets import NONE_OF_THEM, UNKNOWN

COCO = find_split("coco-stuff-train")


def write_pair(image: Path, mask: Path, label_map: np.ndarray) -> None:
    """A label map, and a grey picture of its size."""
    image.parent.mkdir(parents=True, exist_ok=True)
    mask.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", label_map.shape[::-1], "grey").save(image)
    Image.fromarray(label_map).save(mask)


def folder(
    root: Path,
    label_maps: dict[str, list[list[int]]],
    sources: dict[str, list[int]],
    classes: tuple[str, ...] = ("sky", "cat", "dog"),
) -> Path:
    """A folder dataset; a source is a list of the indices that it annotates."""
    table = {
        "classes": classes,
        "sources": {name: {"annotated": annotated} for name, annotated in sources.items()},
    }
    root.mkdir()
    (root / "classes.json").write_text(json.dumps(table))
    for stem, label_map in label_maps.items():
        write_pair(
            root / "images" / f"{stem}.png",
            root / "masks" / f"{stem}.png",
            np.array(label_map, np.uint8),
        )
    return root


def coco(root: Path, label_maps: dict[str, list[list[int]]]) -> Path:
    """COCO-Stuff with label maps that hold class indices."""
    base = root / "coco-stuff"
    for stem, label_map in label_maps.items():
        write_pair(
            base / "images/train2017" / f"{stem}.jpg",
            base / "annotations_detectron2/train2017" / f"{stem}.png",
            np.array(label_map, np.uint8),
        )
    return root


def section(data: str, root: Path, **settings: object) -> SourceSection:
    return SourceSection.model_validate({"data": data, "root": root, **settings})


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """Two sources that annotate different classes of one list, with three and one pictures."""
    return folder(
        tmp_path / "two",
        {
            "a__1": [[0, 1, 2], [254, 255, 1]],
            "a__2": [[1]],
            "a__10": [[0]],
            "b__1": [[0, 1, 2], [254, 255, 2]],
        },
        {"a": [0, 1], "b": [2, 0]},
    )


def labels_of(sources: Sources, source: int, row: int) -> list[list[int]]:
    return sources.sources[source].read(row)[1].tolist()


def test_a_label_becomes_the_place_of_its_name_in_the_vocabulary(two: Path) -> None:
    sources = read_sources([section(FOLDER, two)])
    assert sources.names == ("sky", "cat", "dog")
    assert [source.annotated for source in sources.sources] == [(0, 1), (2, 0)]
    # Of the same map, each source knows what it annotates; other classes are none of its own.
    assert labels_of(sources, 0, 0) == [[0, 1, NONE_OF_THEM], [NONE_OF_THEM, UNKNOWN, 1]]
    assert labels_of(sources, 1, 0) == [[0, NONE_OF_THEM, 2], [NONE_OF_THEM, UNKNOWN, 2]]


def test_pictures_come_in_the_natural_order_of_their_names(two: Path) -> None:
    sources = read_sources([section(FOLDER, two)])
    assert [path.image_path.name for path in sources.sources[0].pictures] == [
        "a__1.png",
        "a__2.png",
        "a__10.png",
    ]


def test_one_part_of_a_folder_is_alone_with_its_names(two: Path) -> None:
    sources = read_sources([section(FOLDER, two, only="b")])
    assert sources.names == ("dog", "sky")  # as it annotates them
    assert labels_of(sources, 0, 0) == [[1, NONE_OF_THEM, 0], [NONE_OF_THEM, UNKNOWN, 0]]


def test_a_source_that_is_left_out_brings_neither_pictures_nor_names(two: Path) -> None:
    sources = read_sources([section(FOLDER, two)], left_out=("a",))
    assert [source.name for source in sources.sources] == ["b"]
    assert sources.names == ("dog", "sky")
    with pytest.raises(ConfigError, match=r"data\.left_out: no source 'c': choose from a, b$"):
        read_sources([section(FOLDER, two)], left_out=("a", "c"))
    with pytest.raises(ConfigError, match=r"data\.left_out names all sources: keep one$"):
        read_sources([section(FOLDER, two)], left_out=("a", "b"))


def test_what_an_incomplete_source_does_not_label_is_unknown(two: Path) -> None:
    whole = read_sources([section(FOLDER, two)])
    sources = whole.incomplete(["a"])
    assert labels_of(sources, 0, 0) == [[0, 1, UNKNOWN], [UNKNOWN, UNKNOWN, 1]]
    assert labels_of(sources, 1, 0) == labels_of(whole, 1, 0)
    assert sources.sources[0].annotated == whole.sources[0].annotated
    assert [source.is_complete for source in sources.sources] == [False, True]
    assert sources.identity() != whole.identity()
    with pytest.raises(ConfigError, match=r"data\.incomplete: no source 'c': choose from a, b$"):
        whole.incomplete(["c"])


def test_a_source_without_pictures_is_none(tmp_path: Path) -> None:
    root = folder(tmp_path / "one", {"b__1": [[1]]}, {"a": [0], "b": [1]})
    sources = read_sources([section(FOLDER, root)])
    assert (sources.names, len(sources.sources)) == (("cat",), 1)
    with pytest.raises(ConfigError, match=r"pictures\.sources\.0\.only is 'a': choose from b$"):
        read_sources([section(FOLDER, root, only="a")])


def test_the_same_name_in_two_sections_is_one_name(two: Path, tmp_path: Path) -> None:
    person, cat, sky = (COCO.classes.index(name) for name in ("person", "cat", "sky-other"))
    root = coco(tmp_path, {"x": [[person, cat], [sky, 255]]})
    sources = read_sources([section(FOLDER, two), section(COCO.name, root)])
    assert len(sources.names) == 3 + len(set(COCO.classes) - {"sky", "cat", "dog"})
    assert len(set(sources.names)) == len(sources.names)
    [[first, second], [third, fourth]] = labels_of(sources, 2, 0)
    assert [sources.names[row] for row in (first, second, third)] == ["person", "cat", "sky-other"]
    assert second == 1  # the folder's cat
    assert fourth == UNKNOWN
    assert [sources.names[row] for row in sources.sources[2].annotated] == list(COCO.classes)


def test_each_part_of_a_folder_has_the_share_of_its_pictures(two: Path, tmp_path: Path) -> None:
    root = coco(tmp_path, {"x": [[0]], "y": [[1]]})
    sections = [
        section(COCO.name, root, weight=1.0),
        section(FOLDER, two, weight=2.0),
        section(FOLDER, two, only="b", weight=0.5),
    ]
    sources = read_sources(sections)
    assert [len(source.pictures) for source in sources.sources] == [2, 3, 1, 1]
    assert source_weights(sections, sources) == pytest.approx([1.0, 1.5, 0.5, 0.5])


def test_a_section_that_would_never_be_drawn_is_refused_by_its_number(two: Path) -> None:
    sections = [section(FOLDER, two), section(FOLDER, two, only="b", weight=0.0001)]
    with pytest.raises(
        ConfigError, match=r"pictures\.sources\.1\.weight is 0\.0001, less than one"
    ):
        source_weights(sections, read_sources(sections))


def test_a_part_that_is_not_there_is_refused_with_those_that_are(two: Path) -> None:
    with pytest.raises(ConfigError, match=r"sources\.1\.only is 'c': choose from a, b"):
        read_sources([section(FOLDER, two), section(FOLDER, two, only="c")])


def test_a_published_data_set_has_no_parts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"0\.only is 'x', but coco-stuff-train has a layout"):
        read_sources([section(COCO.name, tmp_path, only="x")])


def test_data_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no coco-stuff-train"):
        read_sources([section(COCO.name, tmp_path)])
    with pytest.raises(DatasetError, match="no data set 'coco'"):
        read_sources([section("coco", tmp_path)])
    with pytest.raises(DatasetError, match="holds no pictures with label maps that are rec"):
        read_sources([section(FOLDER, tmp_path)])


def test_a_label_without_a_meaning_is_named(tmp_path: Path) -> None:
    root = folder(tmp_path / "one", {"a__1": [[0, 7]]}, {"a": [0]})
    source = read_sources([section(FOLDER, root)]).sources[0]
    with pytest.raises(DatasetError, match=r"a__1\.png holds label 7, which means nothing"):
        source.read(0)


def test_a_label_beyond_the_published_classes_has_no_meaning(tmp_path: Path) -> None:
    root = coco(tmp_path, {"x": [[170, 171]]})
    source = read_sources([section(COCO.name, root)]).sources[0]
    with pytest.raises(DatasetError, match="holds label 171"):
        source.read(0)


def test_a_label_map_of_another_size_is_refused_with_both_sizes(tmp_path: Path) -> None:
    root = folder(tmp_path / "one", {"a__1": [[0, 0, 0]]}, {"a": [0]})
    Image.new("RGB", (2, 5)).save(root / "images" / "a__1.png")
    source = read_sources([section(FOLDER, root)]).sources[0]
    with pytest.raises(DatasetError, match=r"a__1\.png is 3 x 1, but its picture is 2 x 5"):
        source.read(0)


def test_a_damaged_picture_and_a_damaged_label_map_are_errors_of_ours(two: Path) -> None:
    source = read_sources([section(FOLDER, two)]).sources[0]
    (two / "images" / "a__2.png").write_bytes(b"\x89PNG")
    (two / "masks" / "a__10.png").unlink()
    with pytest.raises(ImageError, match=r"a__2\.png"):
        source.read(1)
    with pytest.raises(DatasetError, match=r"a__10\.png"):
        source.read(2)


def test_a_folder_that_another_tool_wrote_is_a_source_as_well(tmp_path: Path) -> None:
    root = tmp_path / "mmseg"
    write_pair(
        root / "img_dir" / "a.png", root / "ann_dir" / "a.png", np.array([[0, 1, 255]], np.uint8)
    )
    (root / "classes.txt").write_text("sky\ncat\n")
    sources = read_sources([section(FOLDER, root)])
    assert sources.names == ("sky", "cat")
    assert labels_of(sources, 0, 0) == [[0, 1, UNKNOWN]]
    assert sources.sources[0].presence.tolist() == [[True, True]]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # The first name is 0 in the vocabulary; 7 is nobody's, as 0 is where it is no class.
        ({"ignore": (7,)}, [[0, 1, 2, UNKNOWN]]),
        ({"zero_is": "unlabelled", "ignore": (7,)}, [[UNKNOWN, 0, 1, UNKNOWN]]),
        ({"zero_is": "background", "ignore": (7,)}, [[NONE_OF_THEM, 0, 1, UNKNOWN]]),
        ({"ignore": (0, 7), "offset": 1}, [[UNKNOWN, 0, 1, UNKNOWN]]),
    ],
)
def test_a_folder_is_read_as_the_recipe_says(
    tmp_path: Path, settings: dict[str, object], expected: list[list[int]]
) -> None:
    (tmp_path / "names.txt").write_text("sky\ncat\ndog\n")
    label_map = np.array([[0, 1, 2, 7]], np.uint8)
    write_pair(tmp_path / "own/images/a.png", tmp_path / "own/masks/a.png", label_map)
    own = section(FOLDER, tmp_path / "own", classes_file=tmp_path / "names.txt", **settings)
    sources = read_sources([own])
    assert labels_of(sources, 0, 0) == expected
    assert [one.root for one in sources.folders] == [tmp_path / "own"]


def test_an_id_map_in_a_recipe_gives_the_names(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("0: ignore\n1: road\n2: tree\n7: road\n")
    label_map = np.array([[0, 1, 2, 7]], np.uint8)
    write_pair(tmp_path / "own/images/a.png", tmp_path / "own/masks/a.png", label_map)
    sources = read_sources([section(FOLDER, tmp_path / "own", id_map=tmp_path / "ids.txt")])
    assert sources.names == ("road", "tree")
    assert labels_of(sources, 0, 0) == [[UNKNOWN, 0, 1, 0]]


def test_how_a_published_data_set_is_read_cannot_be_declared(tmp_path: Path) -> None:
    coco(tmp_path, {"1": [[0]]})
    with pytest.raises(ConfigError, match=r"sources\.0\.zero_is is 'first', but coco-stuff-train"):
        read_sources([section(COCO.name, tmp_path, zero_is="first")])
