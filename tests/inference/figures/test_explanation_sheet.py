from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from jaxtyping import UInt8
from PIL import Image

from escnet.annotations.palette import name_colours
from escnet.inference.figures.explanation import BlockStep, Explanation, FinalMask, Region
from escnet.inference.figures.explanation_sheet import draw_explanation


def drawn(explanation: Explanation) -> UInt8[np.ndarray, "H W 3"]:
    with Image.open(BytesIO(draw_explanation(explanation))) as image:
        return np.asarray(image.convert("RGB"))


@pytest.fixture
def explanation() -> Explanation:
    """Two regions, numbered 0 and 2, in a map of 3 x 2 patches; the region between is empty."""
    region = np.array([[0, -1], [-1, -1], [2, 2]])
    probability = np.array([[1.0, 0.1], [0.2, 0.1], [0.8, 0.6]], np.float32)
    block = BlockStep(
        evidence=probability - 1,
        probability=probability,
        region=region,
        regions=(
            Region(
                point_xy=(10.0, 5.0),
                box_xyxy=(0.0, 0.0, 20.0, 10.0),
                probability=1.0,
                num_patches=1,
                share=1 / 6,
            ),
            Region(
                point_xy=(10.0, 25.0),
                box_xyxy=(0.0, 20.0, 40.0, 30.0),
                probability=0.8,
                num_patches=2,
                share=1 / 3,
            ),
        ),
        mask_prompt=np.zeros((1, 12, 8), np.float32),
        activation=probability,
        activation_without=probability / 2,
    )
    mask = np.zeros((30, 40), bool)
    mask[:10, :20] = True
    answer = FinalMask(confidence=np.full((12, 8), 0.7, np.float32), mask=mask)
    return Explanation(
        picture=np.full((30, 40, 3), 200, np.uint8),
        name="cup",
        query="cup",
        names=("cup", "$table$"),
        method="esc-net",
        model="mini",
        weights_hash="abc",
        settings={},
        generator={"threshold": 0.3, "mask_scale": 1.0, "prompts_used": ["point"]},
        correlation=probability - 1,
        blocks=(block, block),
        answer=answer,
        answer_without=answer,
    )


def has_red(sheet: UInt8[np.ndarray, "H W 3"]) -> bool:
    red, green, blue = np.moveaxis(sheet, 2, 0)
    return bool(((red > 220) & (green < 60) & (blue < 60)).any())


def test_every_block_adds_a_row(explanation: Explanation) -> None:
    two = drawn(explanation)
    one = drawn(replace(explanation, blocks=explanation.blocks[:1]))
    assert two.shape[1] == one.shape[1]
    assert two.shape[0] > one.shape[0] * 1.3


def test_the_threshold_is_drawn_in_red_only_where_a_foreground_ends(
    explanation: Explanation,
) -> None:
    assert has_red(drawn(explanation))
    full = replace(explanation.blocks[0], region=np.zeros((3, 2), np.int64))
    full = replace(full, regions=full.regions[:1])
    assert not has_red(drawn(replace(explanation, blocks=(full,))))


def test_where_the_class_wins_is_in_the_colour_that_its_overlay_has(
    explanation: Explanation,
) -> None:
    answer = replace(explanation.answer, mask=np.ones((30, 40), bool))
    cup = name_colours(explanation.names)[0]
    washed = 0.6 * cup + 0.4 * explanation.picture[0, 0]
    alone = replace(explanation, blocks=(), generator=None, answer_without=None)

    def has_the_colour(sheet: UInt8[np.ndarray, "H W 3"]) -> bool:
        return bool((np.abs(sheet - washed).max(axis=2) <= 2).any())

    assert has_the_colour(drawn(replace(alone, answer=answer)))
    assert not has_the_colour(drawn(replace(alone, answer=replace(answer, mask=~answer.mask))))


def test_without_sam_blocks_there_is_nothing_to_compare(explanation: Explanation) -> None:
    block = replace(explanation.blocks[0], activation_without=None)
    alone = replace(explanation, blocks=(block,), answer_without=None)
    with_both = drawn(replace(explanation, blocks=explanation.blocks[:1]))
    ink = [(sheet != 255).any(axis=2).mean() for sheet in (drawn(alone), with_both)]
    assert ink[0] < ink[1]


def test_a_correlation_alone_is_one_row_of_four(explanation: Explanation) -> None:
    alone = replace(explanation, blocks=(), generator=None, answer_without=None)
    sheet = drawn(alone)
    assert sheet.shape[1] > 2.5 * sheet.shape[0]


def test_the_numbers_of_a_block(explanation: Explanation) -> None:
    found = explanation.summary()["blocks"][1]
    assert found["block"] == 2
    assert found["foreground_share"] == 0.5
    assert [region["patches"] for region in found["regions"]] == [1, 2]
    assert found["regions"][1]["point_xy"] == [10.0, 25.0]
    assert found["activation"]["with_sam"] == {
        "min": 0.1,
        "mean": pytest.approx(2.8 / 6, abs=1e-4),
        "max": 1.0,
        "share_above_zero": 1.0,
    }
    assert found["activation"]["mean_difference"] == pytest.approx(1.4 / 6, abs=1e-4)
    assert explanation.summary()["answer"]["with_sam"] == {
        "share": pytest.approx(1 / 6, abs=1e-6),
        "highest_confidence": 0.7,
        "mean_confidence": 0.7,
    }
