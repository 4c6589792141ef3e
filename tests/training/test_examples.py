import json
import logging
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from escnet.data.folder import FolderDataset
from escnet.data.labelled_picture import LabelledPicture
from escnet.errors import ConfigError, DatasetError
from escnet.training.broken_files import BrokenFiles
from escnet.training.config import ViewsSection
from escnet.training.examples import Example, ExampleSource, Views
from escnet.training.loss import NONE_OF_THEM, UNKNOWN, partial_label_loss
from escnet.training.random_view import Part

SKY, CAT, DOG, TABLE, TRAM, CHAIR = range(6)
ANNOTATED = {"voc": {SKY, CAT, DOG, TABLE}, "street": {SKY, TRAM}}


def draw(
    folder: Path,
    count: int = 60,
    *,
    most_names: int | None = 2,
    weights: dict[str, float] | None = None,
    withheld: tuple[str, ...] = (),
) -> list[Example]:
    source = ExampleSource(
        FolderDataset.read(folder), side=24, source_weights=weights or {}, withheld=withheld
    )
    random = np.random.default_rng(0)
    return [source.draw(random, most_names) for _ in range(count)]


def truth_of(example: Example) -> np.ndarray:
    """The picture's own label map, shrunk in width as the side of 24 asks for."""
    label_map = Image.fromarray(example.item.read_truth())
    shrunk = np.asarray(label_map.resize((24, 24), Image.Resampling.NEAREST))
    return shrunk[:, ::-1] if example.part.is_mirrored else shrunk


def test_the_names_are_those_shown_and_others_of_the_source_as_many_as_asked_for(
    data_folder: Path,
) -> None:
    for example in draw(data_folder, most_names=3):
        annotated = ANNOTATED[example.item.source]
        names = example.names.tolist()
        shown = set(np.unique(truth_of(example)).tolist()) & annotated
        assert shown <= set(names) <= annotated
        assert len(names) == len(set(names)) == min(3, len(annotated))


def test_of_one_source_only_its_pictures_are_drawn_as_often_as_before(data_folder: Path) -> None:
    source = ExampleSource(FolderDataset.read(data_folder), side=24, source_weights={})
    random = np.random.default_rng(0)
    any_source = Counter(source.draw(random, None).item.stem for _ in range(60))
    for name in ("voc", "street"):
        drawn = Counter(source.draw(random, None, name).item.stem for _ in range(30))
        assert set(drawn) == {stem for stem in any_source if stem.startswith(name)}


def test_pictures_that_show_a_name_are_counted_where_they_are_drawn_and_labelled_for_it(
    data_folder: Path,
) -> None:
    dataset = FolderDataset.read(data_folder)
    for weights in ({}, {"street": 0.0}):
        source = ExampleSource(dataset, side=24, source_weights=weights, withheld=("dog",))
        expected = np.zeros(len(source.classes), int)
        for item in dataset:
            if weights.get(item.source, 1.0):
                for name in ANNOTATED[item.source] - {DOG}:
                    expected[name] += bool((item.read_truth() == name).any())
        assert source.num_pictures().tolist() == expected.tolist()
        assert expected.any()


def test_a_negative_is_any_other_name_of_the_source(data_folder: Path) -> None:
    seen = Counter(
        name
        for example in draw(data_folder, 200, most_names=3)
        for name in example.names.tolist()
        if example.item.source == "voc"
    )
    assert set(seen) == ANNOTATED["voc"]


def test_where_more_is_shown_than_asked_for_some_of_it_is_named(data_folder: Path) -> None:
    examples = draw(data_folder, most_names=1)
    assert all(len(example.names) == 1 for example in examples)
    example = next(e for e in examples if e.item.source == "voc" and e.names[0] == SKY)
    assert (example.target == NONE_OF_THEM).any()  # the thing, and what the source calls no class


def test_all_names_of_the_source_are_taken_where_no_number_is_given(data_folder: Path) -> None:
    for example in draw(data_folder, most_names=None):
        assert set(example.names.tolist()) == ANNOTATED[example.item.source]


def test_the_target_says_of_every_pixel_what_the_label_map_says(data_folder: Path) -> None:
    for example in draw(data_folder):
        names = example.names.tolist()
        expected = [
            [names.index(label) if label in names else UNKNOWN if label == 255 else NONE_OF_THEM
             for label in row]
            for row in truth_of(example).tolist()
        ]  # fmt: skip
        assert example.target.tolist() == expected


def test_every_other_picture_is_mirrored(data_folder: Path) -> None:
    assert 20 < sum(example.part.is_mirrored for example in draw(data_folder)) < 40


def test_a_withheld_name_is_never_named_and_its_pixels_are_unknown(data_folder: Path) -> None:
    examples = draw(data_folder, withheld=("cat",), most_names=None)
    with_cat = [example for example in examples if (truth_of(example) == CAT).any()]
    assert with_cat
    for example in examples:
        assert CAT not in example.names
    for example in with_cat:
        is_cat = torch.from_numpy((truth_of(example) == CAT).copy())
        assert (example.target[is_cat] == UNKNOWN).all()
        assert (example.target[~is_cat] != UNKNOWN).any()


def test_a_name_that_the_source_does_not_annotate_gets_no_gradient(data_folder: Path) -> None:
    for example in draw(data_folder, 20, most_names=None):
        logits = torch.zeros(6, 24, 24, requires_grad=True)
        partial_label_loss(logits[torch.from_numpy(example.names)], example.target).backward()
        assert logits.grad is not None
        has_gradient = {name for name in range(6) if logits.grad[name].any()}
        assert has_gradient == ANNOTATED[example.item.source]


def test_a_source_of_weight_nought_is_never_drawn_and_a_heavy_one_often(data_folder: Path) -> None:
    assert {e.item.source for e in draw(data_folder, weights={"street": 0.0})} == {"voc"}
    # Four pictures of weight 1 against two of weight 18: nine in ten.
    drawn = Counter(e.item.source for e in draw(data_folder, 300, weights={"street": 18.0}))
    assert 250 < drawn["street"] < 290


def test_equal_seeds_draw_equal_examples(data_folder: Path) -> None:
    for one, other in zip(draw(data_folder, 20), draw(data_folder, 20), strict=True):
        assert one.item == other.item
        assert one.names.tolist() == other.names.tolist()
        assert torch.equal(one.target, other.target)


@pytest.mark.parametrize(
    ("weights", "withheld", "message"),
    [
        ({"coco": 1.0}, (), r"data\.source_weights: no source 'coco': choose from voc, street"),
        ({}, ("cow",), r"data\.withheld: no class name 'cow'"),
        ({"voc": 0.0, "street": 0.0}, (), r"data\.source_weights are all 0: give one"),
    ],
)
def test_a_wrong_setting_is_named(
    data_folder: Path, weights: dict[str, float], withheld: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        draw(data_folder, 1, weights=weights, withheld=withheld)


def test_a_list_of_names_for_each_source_is_refused(data_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(data_folder, tmp_path / "data"))
    table = {"datasets": {"voc": {"classes": ["a", "b"]}, "street": {"classes": ["c"]}}}
    (folder / "classes.json").write_text(json.dumps(table))
    with pytest.raises(DatasetError, match="a list of class names for each source, but training"):
        draw(folder)


def test_labels_beyond_8_bits_are_refused(data_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(data_folder, tmp_path / "data"))
    table = json.loads((folder / "classes.json").read_text())
    (folder / "classes.json").write_text(json.dumps({**table, "ignore_index": 65535}))
    with pytest.raises(DatasetError, match="uses label 65535, but training reads"):
        draw(folder)
    (folder / "classes.json").write_text(json.dumps(table))
    wide = np.full((24, 32), 300, np.uint16)
    Image.fromarray(wide).save(folder / "masks" / "voc__0.png")
    with pytest.raises(DatasetError, match=r"voc__0\.png has 16 bits"):
        draw(folder)


def test_views_show_parts_whose_targets_lie_on_them(data_folder: Path) -> None:
    views = Views(settings=ViewsSection(whole=0.0, least_area=0.2, colour=0.0), side=48)
    source = ExampleSource(
        FolderDataset.read(data_folder), side=48, source_weights={"street": 0.0}, views=views
    )
    random = np.random.default_rng(0)
    mirrored = []
    for _ in range(30):
        example = source.draw(random, None)
        assert example.image is not None
        assert example.image.shape == (3, 48, 48)
        # The fixture paints the sky, label 0, with 0 of red, and 254 with 254 * 40 modulo 256.
        is_sky = example.target == example.names.tolist().index(SKY)
        red = example.image[0]
        assert red[is_sky].mean() < 0.1
        mirrored.append(example.part.is_mirrored)
    assert 5 < sum(mirrored) < 25


def test_rare_names_are_drawn_more_often(data_folder: Path) -> None:
    counts = {}
    for rarity in (0.0, 1.0):
        source = ExampleSource(
            FolderDataset.read(data_folder), side=24, source_weights={"street": 0.0}, rarity=rarity
        )
        random = np.random.default_rng(0)
        drawn = [source.draw(random, None).item.stem for _ in range(2000)]
        counts[rarity] = Counter(drawn)
    # voc__1 is the only dog of four pictures; voc__0 and voc__3 show the same cat and sky.
    assert counts[0.0]["voc__1"] == pytest.approx(500, abs=70)
    # Worth: sky 1/4, cat 1/2, dog and table 1, so pictures count 0.75, 1.25, 1.25, 0.75.
    assert counts[1.0]["voc__1"] == pytest.approx(2000 * 1.25 / 4, abs=70)
    assert counts[1.0]["voc__0"] == pytest.approx(2000 * 0.75 / 4, abs=70)


def test_rarity_leaves_the_sources_their_shares(data_folder: Path) -> None:
    source = ExampleSource(FolderDataset.read(data_folder), side=24, source_weights={}, rarity=1.0)
    random = np.random.default_rng(0)
    street = sum(source.draw(random, None).item.source == "street" for _ in range(1500))
    assert street == pytest.approx(1500 * 2 / 6, abs=80)


def test_some_of_the_names_by_hand() -> None:
    example = Example(
        item=LabelledPicture(stem="a", image_path=Path(), label_path=Path(), source="voc"),
        part=Part(),
        names=np.array([10, 20, 30, 40]),
        target=torch.tensor([[0, 1, 3], [UNKNOWN, NONE_OF_THEM, 3]]),
    )
    some = example.of_names(np.array([3, 0]))
    assert some.names.tolist() == [40, 10]
    assert some.target.tolist() == [[1, NONE_OF_THEM, 0], [UNKNOWN, NONE_OF_THEM, 0]]
    assert example.names.tolist() == [10, 20, 30, 40]


NUM_PLAIN = 120


@pytest.fixture
def plain_folder(tmp_path: Path) -> Path:
    """Many small pictures of one colour each, half of them sky."""
    root = tmp_path / "plain"
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    table = {"classes": ["sky", "cat"], "sources": {"a": {"annotated": [0, 1]}}}
    (root / "classes.json").write_text(json.dumps(table))
    label_map = np.repeat([[0, 1]], 8, axis=0).repeat(4, axis=1).astype(np.uint8)
    for index in range(NUM_PLAIN):
        Image.new("RGB", (8, 8), (2 * index, 0, 0)).save(root / "images" / f"a__{index}.png")
        Image.fromarray(label_map).save(root / "masks" / f"a__{index}.png")
    return root


def seen_in_steps(folder: Path, *, as_views: bool, broken: BrokenFiles | None = None) -> list[str]:
    """Which picture each of many steps shows, each with a chance of its own."""
    views = Views(settings=ViewsSection(colour=0.0), side=8) if as_views else None
    dataset = FolderDataset.read(folder)
    source = ExampleSource(dataset, side=8, source_weights={}, views=views, broken=broken)
    return [source.draw(np.random.default_rng([0, step]), None).item.stem for step in range(250)]


@pytest.mark.parametrize(
    ("as_views", "part"), [(True, "images"), (True, "masks"), (False, "masks")]
)
def test_a_broken_picture_is_replaced_by_another_draw_and_no_other_step_changes(
    plain_folder: Path, caplog: pytest.LogCaptureFixture, as_views: bool, part: str
) -> None:
    sound = seen_in_steps(plain_folder, as_views=as_views)
    assert "a__7" in sound
    (plain_folder / part / "a__7.png").write_bytes(b"no picture")
    with caplog.at_level(logging.WARNING):
        found = seen_in_steps(plain_folder, as_views=as_views)
    assert "a__7" not in found
    assert all(one == other for one, other in zip(sound, found, strict=True) if one != "a__7")
    assert ["a__7.png" in record.getMessage() for record in caplog.records] == [True]


def test_a_picture_that_is_known_to_be_broken_is_not_drawn(plain_folder: Path) -> None:
    broken = BrokenFiles(NUM_PLAIN)
    broken.count((0, 7), {(0, 7): "picture a__7.png is damaged"})
    row = [item.stem for item in FolderDataset.read(plain_folder)].index("a__7")
    assert row == 7
    assert "a__7" not in seen_in_steps(plain_folder, as_views=False, broken=broken)


@pytest.mark.parametrize("part", ["images", "masks"])
def test_more_than_one_broken_picture_in_a_hundred_ends_the_run(
    plain_folder: Path, part: str
) -> None:
    for row in (7, 8, 9):
        (plain_folder / part / f"a__{row}.png").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"[23] of 120 pictures are broken, more than 1%"):
        seen_in_steps(plain_folder, as_views=True)


def test_nothing_but_broken_pictures_of_the_only_source_drawn_is_one_line(
    plain_folder: Path,
) -> None:
    broken = BrokenFiles(9000)
    for path in (plain_folder / "images").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"pictures in a row are broken \(last: "):
        seen_in_steps(plain_folder, as_views=True, broken=broken)


def test_a_label_map_of_another_size_than_its_picture_is_a_broken_picture(
    data_folder: Path, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    shutil.copytree(data_folder, root)
    for stem in ("voc__0", "voc__1"):
        Image.new("L", (40, 30)).save(root / "masks" / f"{stem}.png")
    source = ExampleSource(
        FolderDataset.read(root),
        side=24,
        source_weights={"street": 0.0},
        views=Views(settings=ViewsSection(), side=48),
    )
    random = np.random.default_rng(0)
    with pytest.raises(DatasetError, match="is 40 x 30, but its picture is 32 x 24"):
        [source.draw(random, None) for _ in range(30)]
