import pytest
import torch

from escnet.training.processes import dtype_of
from escnet.training.recipe import TrainingSection


@pytest.mark.parametrize(("has_it", "dtype"), [(True, "bfloat16"), (False, "float32")])
def test_the_precision_is_the_recipes_or_what_the_machine_is_quick_in(
    monkeypatch: pytest.MonkeyPatch, has_it: bool, dtype: str
) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: None)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: has_it)
    assert dtype_of(TrainingSection(dtype="auto")) == dtype
    assert dtype_of(TrainingSection(dtype="float16")) == "float16"
