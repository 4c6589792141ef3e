"""Pictures whose texts speak of class names."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from escnet.errors import ConfigError, DatasetError
from escnet.mini.training.captions import (
    CaptionedPictures,
    caption_loss,
    names_in_texts,
    read_texts,
)
from escnet.mini.training.recipe import CaptionsSection
from escnet.mini.training.texts import NameTexts
from escnet.training.sources import Source, Sources

NAMES = NameTexts.of(["dog", "hot dog", "bus", "tv"], {"dog": ["puppy"], "bus": ["omnibus"]})
WORDS = NAMES.words_of(range(4))


def folder_of(root: Path, *texts: list[str]) -> Path:
    """A picture for each list of texts."""
    (root / "images").mkdir(parents=True)
    for index in range(len(texts)):
        Image.new("RGB", (4, 4)).save(root / "images" / f"{index:02}.png")
    table = {f"{index:02}": own for index, own in enumerate(texts)}
    (root / "texts.json").write_text(json.dumps(table))
    return root


def captioned(root: Path, *texts: list[str], names_of: str = "a") -> CaptionedPictures:
    source = Source(
        name="a", section=0, pictures=[], annotated=(3, 0, 1, 2), table=np.zeros(65_536, int)
    )
    sources = Sources(sources=(source,), names=NAMES.texts[:4])
    section = CaptionsSection(root=folder_of(root, *texts), names_of=names_of)
    return CaptionedPictures.read(section, sources, NAMES)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A dog runs.", {0}),
        ("Two DOGS, and a bus", {0, 2}),
        ("a puppy eats a hot dog", {0, 1}),
        ("hot dogs", {1}),
        ("two buses", {2}),
        ("a dogma on the omnibus", {2}),
        ("nothing", set()),
    ],
)
def test_names_are_found_as_whole_words_and_the_longest_one_counts(
    text: str, said: set[int]
) -> None:
    assert names_in_texts([[text]], WORDS) == [said]


def test_a_picture_shows_what_its_texts_say_first_and_others_after(tmp_path: Path) -> None:
    pictures = captioned(tmp_path / "a", ["nothing"], ["a dog", "a puppy beside a bus"])
    assert [path.stem for path in pictures.paths] == ["01"]
    assert pictures.said == ((0, 2),)
    names = pictures.names_of(0, np.random.default_rng(0)).tolist()
    assert names[:2] == [0, 2]
    assert set(names[2:]) == {1, 3}


def test_pictures_with_rare_names_come_more_often(tmp_path: Path) -> None:
    pictures = captioned(tmp_path / "a", *[["a dog"]] * 9, ["a tv"])
    sampler = pictures.sampler(0)
    drawn = [sampler.place_of(number).row for number in range(1000)]
    # Nine dogs weigh 1/3 each and one tv weighs 1: a quarter of the pictures drawn show it.
    assert drawn.count(9) / 1000 == pytest.approx(0.25, abs=0.05)


def test_texts_without_any_name_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="none of the 1 pictures"):
        captioned(tmp_path / "a", ["a cat"])


def test_names_of_a_source_that_is_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="names_of is 'b': choose from a"):
        captioned(tmp_path / "a", ["a dog"], names_of="b")


def test_other_texts_are_other_content(tmp_path: Path) -> None:
    hashes = [
        captioned(tmp_path / name, *texts).content_hash()
        for name, texts in {
            "a": [["a dog"], ["a bus"]],
            "b": [["a bus"], ["a dog"]],
            "c": [["a dog"], ["a bus", "more"]],
            "d": [["a dog"], ["a bus"]],
        }.items()
    ]
    assert len(set(hashes)) == 3
    assert hashes[0] == hashes[3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "texts.json"),
        ("{}", "holds no texts"),
        ('{"00": "a dog"}', "has no list of texts for '00'"),
        ('{"00": []}', "has no list of texts for '00'"),
        ('{"01": ["a dog"]}', "has texts for '01', but no such picture"),
    ],
)
def test_texts_that_are_not_as_they_must_be_are_refused(
    tmp_path: Path, content: str, message: str
) -> None:
    root = folder_of(tmp_path / "a", ["a dog"])
    (root / "texts.json").write_text(content)
    with pytest.raises(DatasetError, match=message):
        read_texts(root)


def test_the_loss_of_captions_is_that_computed_by_hand() -> None:
    logits = torch.tensor([[[2.0, 0.0]], [[-1.0, 1.0]]])  # the peak of two patches is one of them
    peaks = -np.log(1 / (1 + np.exp(-2.0))) - np.log(1 - 1 / (1 + np.exp(-1.0)))
    share = 1 / (1 + np.exp(-3.0))  # of the first name at the first patch, where it has most
    loss = caption_loss(logits, num_said=1)
    assert loss.item() == pytest.approx(peaks - np.log(share + 1e-6), abs=1e-5)


def test_captions_are_satisfied_by_a_name_that_is_somewhere() -> None:
    logits = torch.full((2, 4, 4), -8.0)
    logits[0, 1, 1] = 8.0
    assert caption_loss(logits, num_said=1).item() < 0.01
    assert caption_loss(logits.flip(0), num_said=1).item() > 10


def test_under_autocast_the_loss_of_captions_is_that_of_single_precision() -> None:
    logits = 9 * torch.randn(5, 6, 6, generator=torch.Generator().manual_seed(0))
    found = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            found.append(caption_loss(logits, num_said=2))
    torch.testing.assert_close(found[1], found[0], rtol=1e-6, atol=0)
