"""The sheet of validation pictures that a run leaves."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from escnet.data.folder import FolderDataset
from escnet.evaluation.target import folder_targets
from escnet.training.figures import encode_answer_sheet
from escnet.training.validation import LabelledAnswer


def test_a_row_has_the_picture_the_answer_and_the_truth_in_one_size(data_folder: Path) -> None:
    target = folder_targets(FolderDataset.read(data_folder))[0]
    item = target.items[0]
    truth = item.read_truth()
    right = LabelledAnswer(item, target.classes, truth, truth.astype(np.uint8))
    wrong = right._replace(prediction=np.zeros_like(right.prediction))
    height, width = 240, 320  # of a picture with 24 x 32 pixels
    for answer, is_right in ((right, True), (wrong, False)):
        sheet = np.array(Image.open(BytesIO(encode_answer_sheet([answer])))).astype(int)
        assert sheet.shape[1] == 6 + 3 * (width + 6) + 6
        picture, said, expected = (
            sheet[6 : 6 + height, left : left + width] for left in (6, 332, 658)
        )
        own = np.array(Image.open(item.image_path).resize((width, height)))
        assert np.abs(picture[60:180, 100:200] - own[60:180, 100:200]).mean() < 12
        assert (np.abs(said - expected).mean() < 6) == is_right


def test_every_answer_is_a_row(data_folder: Path) -> None:
    target = folder_targets(FolderDataset.read(data_folder))[0]
    item = target.items[0]
    truth = item.read_truth()
    answer = LabelledAnswer(item, target.classes, truth, truth.astype(np.uint8))
    one, three = (
        Image.open(BytesIO(encode_answer_sheet([answer] * number))).size for number in (1, 3)
    )
    assert three == (one[0], 3 * (one[1] - 6) + 6)
