from pathlib import Path

import pytest

from escnet.errors import ConfigError
from escnet.inference.methods.model_name import ModelName


@pytest.mark.parametrize("text", ["mini", "tiny", "./a:b", "C:\\models", "google/siglip-base"])
def test_what_names_no_kind_is_a_checkpoint_s_name_as_a_whole(text: str) -> None:
    name = ModelName.parse(text)
    assert (name.kind, name.weights, name.choices, name.sam) == ("checkpoint", text, (), None)


def test_choices_follow_a_question_mark() -> None:
    name = ModelName.parse("training-free:some/clip?attention=sclip&templates=single")
    assert (name.kind, name.weights, name.sam) == ("training-free", "some/clip", None)
    assert name.choices == (("attention", "sclip"), ("templates", "single"))


@pytest.mark.parametrize("kind", ["training-free", "proposals", "proposals-crop"])
def test_sam_comes_last(kind: str) -> None:
    name = ModelName.parse(f"{kind}:mini?templates=single+sam:sam.pth")
    assert (name.kind, name.weights, name.sam) == (kind, "mini", "sam.pth")
    assert name.parts == ("mini", "sam.pth")


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("training-free:", "training-free:CLIP"),
        ("training-free:?attention=clip", "training-free:CLIP"),
        ("training-free:mini+sam:", r"training-free:CLIP\+sam:SAM"),
        ("training-free:+sam:a", r"training-free:CLIP\+sam:SAM"),
        ("proposals:mini", r"proposals:CLIP\+sam:SAM"),
        ("proposals-crop:+sam:a", r"proposals-crop:CLIP\+sam:SAM"),
    ],
)
def test_a_part_that_is_missing_is_told_with_the_whole_form(text: str, form: str) -> None:
    with pytest.raises(ConfigError, match=rf"lacks a part: write {form}$"):
        ModelName.parse(text)


@pytest.mark.parametrize("model", ["", "  ", None, 3])
def test_no_name_is_refused(model: object) -> None:
    with pytest.raises(ConfigError, match="names nothing: give mini, a folder"):
        ModelName.parse(model)


def test_what_is_on_this_machine_is_at_hand(tmp_path: Path) -> None:
    assert ModelName.parse("training-free:tiny").is_at_hand
    assert ModelName.parse(f"proposals:mini+sam:{tmp_path}").is_at_hand
    assert not ModelName.parse("proposals:mini+sam:facebook/sam-vit-base").is_at_hand
