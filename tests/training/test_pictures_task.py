"""Training on pictures with their towers: here, what happens to broken pictures with texts."""

import json
import logging
from pathlib import Path

import pytest
import torch
from PIL import Image

from escnet.errors import DatasetError
from escnet.inference.methods.tokens import byte_tokenizer
from escnet.model.config import preset
from escnet.model.escnet import EscNet
from escnet.training.config import TrainingSection
from escnet.training.data_config import PicturesSection, TowersSection
from escnet.training.pictures_task import PicturesTask, TaggedContent
from escnet.training.sources import read_sources
from escnet.training.tagged import TaggedPictures
from escnet.training.task import Share

ALL = Share()


def tagged_folder(root: Path, num_pictures: int) -> Path:
    """Pictures of one colour each, each with a text of its own."""
    (root / "images").mkdir(parents=True)
    texts = {f"p{index}": [f"text {index}"] for index in range(num_pictures)}
    (root / "texts.json").write_text(json.dumps(texts))
    for stem in texts:
        Image.new("RGB", (8, 8), (int(stem[1:]), 0, 0)).save(root / "images" / f"{stem}.png")
    return root


def task_with_texts(data_folder: Path, tagged: Path, *, steps: int) -> PicturesTask:
    section = PicturesSection.model_validate(
        {
            "sources": [{"data": "folder", "root": data_folder}],
            "augmentation": {"short_side": (16, 16), "crop": 16},
            "texts": {"root": tagged, "batch_size": 4, "num_texts": 8, "weight": 0.5},
            "workers": 0,
        }
    )
    torch.manual_seed(0)
    return PicturesTask(
        EscNet(preset("tiny")),
        byte_tokenizer(298, 299, 77),
        read_sources(section.sources),
        (section, TowersSection(clip=""), TrainingSection(steps=steps, batch_size=2)),
        TaggedPictures.read(tagged),
    )


def shown(task: PicturesTask, share: Share = ALL) -> list[list[TaggedContent]]:
    """The portions with texts of every step."""
    return [
        [one.content for one in portions if isinstance(one.content, TaggedContent)]
        for portions in task.batches(0, share)
    ]


def test_a_broken_picture_with_texts_is_logged_once_and_left_out(
    data_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tagged_folder(tmp_path / "tagged", 120)
    sound = [step[0] for step in shown(task_with_texts(data_folder, root, steps=60))]
    (root / "images" / "p7.png").write_bytes(b"no picture")
    with caplog.at_level(logging.WARNING):
        found = [step[0] for step in shown(task_with_texts(data_folder, root, steps=60))]
    reds = [[round(255 * float(image[0, 0, 0])) for image in one.image] for one in sound]
    assert sum(7 in step for step in reds) == 2  # 240 of 120 pictures
    for before, after, red in zip(sound, found, reds, strict=True):
        kept = torch.tensor([value != 7 for value in red])
        assert torch.equal(after.row, before.row)
        assert torch.equal(after.image, before.image[kept])
        assert torch.equal(after.is_match, before.is_match[kept])
        assert after.share == before.share == 0.5 / 4
    assert ["p7.png" in record.getMessage() for record in caplog.records] == [True]


def test_two_processes_see_the_pictures_with_texts_that_one_would(
    data_folder: Path, tmp_path: Path
) -> None:
    root = tagged_folder(tmp_path / "tagged", 9)
    one = shown(task_with_texts(data_folder, root, steps=3))
    halves = [
        shown(task_with_texts(data_folder, root, steps=3), Share(rank, 2)) for rank in range(2)
    ]
    for whole, first, second in zip(one, *halves, strict=True):
        assert len(first[0].image) == len(second[0].image) == 2
        assert torch.equal(torch.cat([first[0].image, second[0].image]), whole[0].image)
        assert torch.equal(torch.cat([first[0].is_match, second[0].is_match]), whole[0].is_match)
        assert torch.equal(first[0].row, whole[0].row)


def test_too_many_broken_pictures_with_texts_end_the_run(data_folder: Path, tmp_path: Path) -> None:
    root = tagged_folder(tmp_path / "tagged", 9)
    for path in (root / "images").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(DatasetError, match="9 of 9 pictures are broken, more than 1%"):
        shown(task_with_texts(data_folder, root, steps=5))
