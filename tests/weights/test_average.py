from pathlib import Path

import pytest
import torch

from escnet.catseg.config import CATSEG_PRESETS
from escnet.catseg.network import CatSeg
from escnet.errors import ConfigError, WeightsError
from escnet.mini.config import MiniConfig
from escnet.mini.network import Mini
from escnet.model.config import EscNetConfig, preset
from escnet.model.escnet import EscNet
from escnet.weights.average import average_checkpoints
from escnet.weights.checkpoint import load_checkpoint, write_checkpoint
from escnet.weights.origin import Origin
from tests.mini.conftest import MINI

EXTRA = "sam_masks"  # a setting that adds tensors


def written(folder: Path, seed: int, **settings: object) -> Path:
    torch.manual_seed(seed)
    config = EscNetConfig(**{**preset("tiny").to_diff_dict(), **settings})
    write_checkpoint(folder, EscNet(config))
    return folder


def test_every_tensor_is_the_weighted_mean(tmp_path: Path) -> None:
    folders = [written(tmp_path / str(seed), seed) for seed in range(3)]
    mean = average_checkpoints(folders, [3.0, 1.0, 4.0]).state_dict()
    each = [load_checkpoint(folder).state_dict() for folder in folders]
    assert any(not torch.equal(each[0][name], each[1][name]) for name in mean)
    for name, value in mean.items():
        expected = (3 * each[0][name] + each[1][name] + 4 * each[2][name]) / 8
        torch.testing.assert_close(value, expected.to(value.dtype))


def test_without_shares_all_count_alike(tmp_path: Path) -> None:
    folders = [written(tmp_path / str(seed), seed) for seed in range(2)]
    found, expected = (average_checkpoints(folders, s).state_dict() for s in ((), (2.0, 2.0)))
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name])


def test_what_only_the_first_has_is_its_own(tmp_path: Path) -> None:
    more = written(tmp_path / "more", 0, **{EXTRA: True})
    less = written(tmp_path / "less", 1)
    found = average_checkpoints([more, less], [0.25, 0.75]).state_dict()
    own, other = load_checkpoint(more).state_dict(), load_checkpoint(less).state_dict()
    only = own.keys() - other.keys()
    assert only
    for name in only:
        torch.testing.assert_close(found[name], own[name])
    shared = max(other, key=lambda name: other[name].numel())
    torch.testing.assert_close(found[shared], 0.25 * own[shared] + 0.75 * other[shared])
    with pytest.raises(WeightsError, match="name the checkpoint with more parts first"):
        average_checkpoints([less, more])


def test_origins_and_names_are_those_of_all_and_settings_the_firsts(tmp_path: Path) -> None:
    folders = [
        written(
            tmp_path / str(n),
            n,
            trained_on=names,
            share_prior=prior,
            image_size=size,
            origins=(origin(part),),
        )
        for n, names, prior, size, part in (
            (0, ("dog", "cat"), 0.5, 48, "SAM"),
            (1, ("cat", "cow"), 0.0, 32, "ViT"),
        )
    ]
    config = average_checkpoints(folders).config
    assert config.trained_on == ("dog", "cat", "cow")
    assert [one["part"] for one in config.origins] == ["SAM", "ViT"]
    assert config.share_prior == 0.5
    assert config.image_size == 48


def origin(part: str) -> dict[str, str]:
    return Origin(
        part=part, name="a", sha256="0" * 64, licence="MIT", description="a file"
    ).to_dict()


def test_other_networks_are_refused(tmp_path: Path) -> None:
    first = written(tmp_path / "first", 0)
    for setting, value in (("hidden_dim", 64), ("template", "the {}"), ("prompts", ("box",))):
        other = written(tmp_path / "other", 0, **{setting: value})
        with pytest.raises(WeightsError, match=f"setting {setting} is .* give checkpoints of one"):
            average_checkpoints([first, other])
    write_checkpoint(tmp_path / "catseg", CatSeg(CATSEG_PRESETS["tiny"]()))
    with pytest.raises(WeightsError, match="have no mean"):
        average_checkpoints([first, tmp_path / "catseg"])


@pytest.mark.parametrize(
    ("number", "shares", "message"),
    [
        (1, [], "1 checkpoint, but a mean needs two"),
        (2, [1.0], "1 shares for 2 checkpoints"),
        (2, [1.0, 0.0], "shares 1, 0: give positive numbers"),
        (2, [1.0, float("nan")], "shares 1, nan"),
    ],
)
def test_shares_must_fit(number: int, shares: list[float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        average_checkpoints(["nowhere"] * number, shares)


def test_a_detail_that_only_the_first_has_stays(tmp_path: Path) -> None:
    for name, detail in (("more", True), ("less", False)):
        torch.manual_seed(0)
        write_checkpoint(tmp_path / name, Mini(MiniConfig(**{**MINI, "detail": detail})))
    mean = average_checkpoints([tmp_path / "more", tmp_path / "less"])
    assert mean.config.detail
    own = load_checkpoint(tmp_path / "more").state_dict()
    assert all(torch.equal(v, own[n]) for n, v in mean.state_dict().items() if "detail." in n)
