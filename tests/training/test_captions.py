import numpy as np
import pytest
import torch

from escnet.errors import DatasetError
from escnet.training.captions import CaptionedPictures, caption_loss, names_said
from tests.training.conftest import tagged_pictures

WORDINGS = [["dog", "puppy"], ["hot dog"], ["bus", "omnibus"], ["tv"]]


def captioned(*texts: list[str]) -> CaptionedPictures:
    return CaptionedPictures(tagged_pictures(*texts), WORDINGS, [0, 1, 2, 3])


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
    assert names_said([text], dict(enumerate(WORDINGS))) == [said]


def test_a_picture_shows_what_its_texts_say_first_and_others_after() -> None:
    pictures = captioned(["a dog", "a puppy beside a bus"], ["nothing"])
    assert [item.stem for item in pictures.items] == ["0"]
    drawn = pictures.draw(np.random.default_rng(0), num_others=1)
    assert drawn.names[:2].tolist() == [0, 2]
    assert drawn.num_said == 2
    assert drawn.names[2] in {1, 3}
    assert len(pictures.draw(np.random.default_rng(0), num_others=9).names) == 4


def test_pictures_with_rare_names_come_more_often() -> None:
    pictures = captioned(*[["a dog"]] * 9, ["a tv"])
    random = np.random.default_rng(0)
    drawn = [pictures.draw(random, 1).item.stem for _ in range(1000)]
    # Nine dogs weigh 1/3 each and one tv weighs 1: a quarter of the pictures drawn show it.
    assert drawn.count("9") / 1000 == pytest.approx(0.25, abs=0.05)


def test_texts_without_any_name_are_an_error() -> None:
    with pytest.raises(DatasetError, match="none of the 1 pictures"):
        captioned(["a cat"])


def test_the_loss_of_captions_is_that_computed_by_hand() -> None:
    logits = torch.tensor([[[2.0, 0.0]], [[-1.0, 1.0]]])  # the peak of two patches is one of them
    peaks = -np.log(1 / (1 + np.exp(-2.0))) - np.log(1 - 1 / (1 + np.exp(-1.0)))
    share = 1 / (1 + np.exp(-3.0))  # of the first name at the first patch, where it has most
    loss = caption_loss(logits, num_said=1, peak_share=0.5)
    assert loss.item() == pytest.approx(peaks - np.log(share + 1e-6), abs=1e-5)


def test_captions_are_satisfied_by_a_name_that_is_somewhere() -> None:
    logits = torch.full((2, 4, 4), -8.0)
    logits[0, 1, 1] = 8.0
    assert caption_loss(logits, num_said=1, peak_share=0.05).item() < 0.01
    assert caption_loss(logits.flip(0), num_said=1, peak_share=0.05).item() > 10


def test_under_autocast_the_loss_of_captions_is_that_of_single_precision() -> None:
    logits = 9 * torch.randn(5, 6, 6, generator=torch.Generator().manual_seed(0))
    found = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            found.append(caption_loss(logits, num_said=2, peak_share=0.1))
    torch.testing.assert_close(found[1], found[0], rtol=1e-6, atol=0)
