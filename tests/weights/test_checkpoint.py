import json
import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers.utils import logging as transformers_logging

from escnet.errors import ConfigError, OutputError, WeightsError
from escnet.mini.config import MiniConfig
from escnet.mini.network import Mini
from escnet.model.config import EscNetConfig, preset
from escnet.model.escnet import EscNet
from escnet.weights.checkpoint import (
    is_checkpoint,
    load_any_network,
    load_checkpoint,
    summarize_checkpoint,
    weights_hash,
    write_checkpoint,
)
from escnet.weights.origin import Origin, file_sha256
from escnet.weights.storage import STORAGES, Storage
from tests.mini.conftest import MINI

ORIGIN = Origin(
    part="SAM", name="sam.pth", sha256="0" * 64, licence="Apache-2.0", description="SAM ViT-B"
)


def tiny_config(**settings: object) -> EscNetConfig:
    return EscNetConfig(**{**preset("tiny").to_diff_dict(), **settings})


def network(config: EscNetConfig) -> EscNet:
    torch.manual_seed(0)
    model = EscNet(config)
    with torch.no_grad():
        for buffer in model.buffers():  # so that a forgotten buffer shows
            if buffer.is_floating_point():
                buffer.add_(torch.rand_like(buffer))
    return model.eval()


@pytest.fixture(scope="module")
def tiny() -> EscNet:
    return network(tiny_config(origins=(ORIGIN.to_dict(),)))


@pytest.fixture
def folder(tmp_path: Path, tiny: EscNet) -> Path:
    write_checkpoint(tmp_path / "tiny", tiny)
    return tmp_path / "tiny"


def test_a_checkpoint_replaces_another_one_and_a_half_written_one(
    folder: Path, tiny: EscNet
) -> None:
    write_checkpoint(folder, tiny)
    (folder / "config.json").unlink()  # killed before it was moved into place
    write_checkpoint(folder, tiny)
    assert is_checkpoint(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_checkpoint_replaces_nothing_else(tmp_path: Path, tiny: EscNet, name: str) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / name, metadata={"format": "pt"})
    before = (tmp_path / name).read_bytes()
    with pytest.raises(OutputError, match=f"{name} is no result of escnet"):
        write_checkpoint(tmp_path, tiny)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == before


@torch.no_grad()
def outputs(model: EscNet) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    size = model.config.image_size
    image = torch.rand(1, 3, size, size, generator=generator)
    text_embedding = torch.randn(3, model.config.joint_dim, generator=generator)
    token = torch.randint(1, 200, (2, 7), generator=generator)
    return model(image, text_embedding), model.encode_text(token, torch.ones_like(token))


@pytest.mark.parametrize(
    ("storage", "largest"), [("float32", 0.0), ("float16", 2e-3), ("int8", 5e-2)]
)
def test_a_network_comes_back_as_it_was_stored(
    tmp_path: Path, tiny: EscNet, storage: Storage, largest: float
) -> None:
    write_checkpoint(tmp_path, tiny, storage=storage)
    loaded = load_checkpoint(tmp_path)
    assert not loaded.training
    assert loaded.dtype == torch.float32
    for found, expected in zip(outputs(loaded), outputs(tiny), strict=True):
        difference = (found - expected).norm() / expected.norm()
        assert difference <= largest
        assert largest == 0 or difference > 0  # it was indeed stored smaller


def test_towers_whose_tensors_have_other_names_in_files_come_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Mini(MiniConfig(**MINI)).eval()
    write_checkpoint(tmp_path, model)
    loaded, expected = load_checkpoint(tmp_path).state_dict(), model.state_dict()
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.items())


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_plain_from_pretrained_reads_what_is_not_8_bit(
    tmp_path: Path, tiny: EscNet, storage: Storage
) -> None:
    write_checkpoint(tmp_path, tiny, storage=storage)
    plain, ours = EscNet.from_pretrained(tmp_path).eval(), load_checkpoint(tmp_path)
    for found, expected in zip(outputs(plain), outputs(ours), strict=True):
        torch.testing.assert_close(found, expected)


def test_plain_from_pretrained_refuses_8_bits_instead_of_reading_nonsense(
    tmp_path: Path, tiny: EscNet
) -> None:
    write_checkpoint(tmp_path, tiny, storage="int8")
    with pytest.raises(OSError, match=r"no file named .*model\.safetensors"):
        EscNet.from_pretrained(tmp_path)


def test_what_save_pretrained_wrote_is_read(tmp_path: Path, tiny: EscNet) -> None:
    tiny.save_pretrained(tmp_path)
    assert torch.equal(outputs(load_checkpoint(tmp_path))[0], outputs(tiny)[0])


def test_what_save_pretrained_cut_into_pieces_is_read(tmp_path: Path, tiny: EscNet) -> None:
    tiny.save_pretrained(tmp_path, max_shard_size="200KB")  # as `push_to_hub` does it
    pieces = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(pieces) > 1
    assert torch.equal(outputs(load_checkpoint(tmp_path))[0], outputs(tiny)[0])
    summary = summarize_checkpoint(tmp_path)
    assert summary.num_bytes == sum(piece.stat().st_size for piece in pieces)
    assert sum(summary.num_values.values()) == sum(t.numel() for t in tiny.state_dict().values())
    before = weights_hash(tmp_path)
    assert summary.weights_hash == before
    tensors = load_file(pieces[-1])
    save_file({name: value + 1 for name, value in tensors.items()}, pieces[-1])
    assert weights_hash(tmp_path) != before
    pieces[0].unlink()
    with pytest.raises(WeightsError, match=rf"lacks 1 of {len(pieces)} pieces \({pieces[0].name}"):
        load_checkpoint(tmp_path)


def test_the_summary_is_what_was_written(folder: Path, tiny: EscNet) -> None:
    summary = summarize_checkpoint(folder)
    assert summary.origins == (ORIGIN,)
    assert summary.storage == "float32"
    assert sum(summary.num_values.values()) == sum(t.numel() for t in tiny.state_dict().values())
    assert summary.num_values["text"] == sum(t.numel() for t in tiny.text.state_dict().values())
    assert summary.weights_hash == weights_hash(folder) == file_sha256(folder / "model.safetensors")
    assert summary.num_bytes == (folder / "model.safetensors").stat().st_size
    assert summary.config["joint_dim"] == tiny.config.joint_dim


def test_the_storage_does_not_change_what_is_counted(tmp_path: Path, tiny: EscNet) -> None:
    counted = []
    for storage in STORAGES:
        write_checkpoint(tmp_path, tiny, storage=storage)
        summary = summarize_checkpoint(tmp_path)
        assert summary.storage == storage
        counted.append(summary.num_values)
    assert counted[0] == counted[1] == counted[2]


def test_rewriting_leaves_no_file_of_the_other_storage(tmp_path: Path, tiny: EscNet) -> None:
    for storage in ("float32", "int8", "float16"):
        write_checkpoint(tmp_path, tiny, storage=storage)
        load_checkpoint(tmp_path)
        assert len(list(tmp_path.iterdir())) == 2  # nor a trace of the writing


def test_the_files_can_be_read_by_whoever_reads_the_folder(folder: Path) -> None:
    modes = {file.name: file.stat().st_mode for file in folder.iterdir()}
    assert modes["model.safetensors"] == modes["config.json"]


def test_the_tokenizer_goes_with_the_network(tmp_path: Path, tiny: EscNet) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "README.md", "model.safetensors"):
        (source / name).write_text(name)
    write_checkpoint(tmp_path / "tiny", tiny, tokenizer_from=source)
    written = {file.name for file in (tmp_path / "tiny").iterdir()}
    assert written == {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    load_checkpoint(tmp_path / "tiny")


def test_a_failed_write_leaves_the_earlier_checkpoint(
    folder: Path, tiny: EscNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {file.name: file.read_bytes() for file in folder.iterdir()}

    def disk_full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("escnet.weights.checkpoint.save_file", disk_full)
    with pytest.raises(OutputError, match=r"cannot be written \(No space left on device"):
        write_checkpoint(folder, tiny, storage="int8")
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_a_folder_that_is_a_file_cannot_be_written(tmp_path: Path, tiny: EscNet) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file cannot be written"):
        write_checkpoint(tmp_path / "file", tiny)


def test_loading_leaves_transformers_as_talkative_as_it_was(folder: Path) -> None:
    before = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    load_checkpoint(folder)
    after = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    assert after == before


def test_loading_says_nothing(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_checkpoint(folder)
    assert capfd.readouterr() == ("", "")


def lacking(tensors: dict[str, Tensor]) -> None:
    for name in [name for name in tensors if name.startswith("decoder.")]:
        del tensors[name]


def with_a_stranger(tensors: dict[str, Tensor]) -> None:
    tensors["stranger"] = torch.ones(1)


def misshaped(tensors: dict[str, Tensor]) -> None:
    tensors["to_sam_width.bias"] = torch.ones(5)


def all_three(tensors: dict[str, Tensor]) -> None:
    lacking(tensors)
    with_a_stranger(tensors)
    misshaped(tensors)


LACKS, HOLDS = r"lacks \d+ of \d+ tensors \(decoder\.", r"holds 1 that do not belong \(stranger\)"
SHAPE = r"has 1 of another shape \(to_sam_width\.bias is \[5\], not \[32\]\)"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lacking, LACKS),
        (with_a_stranger, HOLDS),
        (misshaped, SHAPE),
        (all_three, f"{LACKS}.*{HOLDS}.*{SHAPE}.*copy the whole folder again"),
    ],
)
def test_tensors_that_are_not_those_of_the_config_are_one_error(
    folder: Path,
    spoil: Callable[[dict[str, Tensor]], None],
    message: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    tensors = load_file(folder / "model.safetensors")
    spoil(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsError, match=message):
        load_checkpoint(folder)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_a_truncated_checkpoint_is_one_error(folder: Path, share: float) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    for read in (load_checkpoint, summarize_checkpoint):
        with pytest.raises(WeightsError, match=r"no complete \.safetensors file"):
            read(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("[" * 100_000, "nested more than 64"),
        ("[" * 200_000, "nested more than 64"),
        ("[]", "holds a JSON list, not an object"),
        ("{}", "holds a model of type None, not escnet"),
        ('{"model_type": []}', r"has model_type \[\], no text"),
        ('{"model_type": {}}', r"has model_type \{\}, no text"),
        ('{"model_type": "clip"}', "holds a model of type 'clip', not escnet"),
        ('{"model_type": "escnet", "image_size": "big"}', "image_size 'big', which is no whole"),
        ('{"model_type": "escnet", "vision_config": 7}', "does not describe a network"),
        (
            '{"model_type": "escnet", "taps": [0, 1], "vision_config": {"hidden_size": "big"}}',
            r"vision_config\.hidden_size 'big', which is no whole number",
        ),
    ],
)
def test_a_config_that_is_none_of_ours_is_one_error(
    folder: Path, content: str, message: str
) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(WeightsError, match=message):
        load_checkpoint(folder)


@pytest.mark.parametrize("read", [load_checkpoint, load_any_network, summarize_checkpoint])
def test_a_checkpoint_of_a_later_format_asks_for_a_later_version(
    folder: Path, read: Callable[[Path], object]
) -> None:
    config = json.loads((folder / "config.json").read_text())
    assert config["format_version"] == 1
    later = {**config, "format_version": 2, "model_type": "escnet_next"}
    (folder / "config.json").write_text(json.dumps(later))
    with pytest.raises(WeightsError, match=r"has the format 2, .* install a later version"):
        read(folder)


def test_a_config_that_asks_for_a_library_that_is_not_here_is_one_error(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    asked = {"quantization_config": {"quant_method": "gptq", "bits": 4}}
    (folder / "config.json").write_text(json.dumps({**config, **asked}))
    with pytest.raises(WeightsError, match=r"does not describe a network .*GPTQ"):
        load_checkpoint(folder)


def test_origins_that_are_no_list_are_one_error(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "origins": 5}))
    for read in (load_checkpoint, summarize_checkpoint):
        with pytest.raises(WeightsError):
            read(folder)


@pytest.mark.parametrize("value", [float("nan"), -float("inf")])
def test_values_that_are_no_numbers_are_one_error(
    tmp_path: Path, tiny: EscNet, value: float
) -> None:
    spoilt = deepcopy(tiny)
    with torch.no_grad():
        spoilt.to_sam_width.bias[1] = value
    write_checkpoint(tmp_path, spoilt)
    with pytest.raises(WeightsError, match=r"infinite or no number in 1 of .*to_sam_width\.bias"):
        load_checkpoint(tmp_path)


def test_a_config_that_contradicts_itself_is_one_error(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "image_size": 33}))
    with pytest.raises(ConfigError, match="image_size 33 is not a multiple"):
        load_checkpoint(folder)


def test_a_missing_folder_or_config_says_which(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no checkpoint folder"):
        load_checkpoint(tmp_path / "nothing")
    with pytest.raises(WeightsError, match=r"has no config\.json"):
        load_checkpoint(tmp_path)


def test_two_files_of_tensors_or_none_are_refused(tmp_path: Path, tiny: EscNet) -> None:
    write_checkpoint(tmp_path, tiny, storage="int8")
    shutil.copy(tmp_path / "model_int8.safetensors", tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=r"has both model\.safetensors and model_int8"):
        load_checkpoint(tmp_path)
    (tmp_path / "model_int8.safetensors").unlink()
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"has neither model\.safetensors nor model_int8"):
        weights_hash(tmp_path)


def test_a_storage_of_the_future_is_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    save_file(load_file(path), path, metadata={"format": "pt", "storage": "int2"})
    with pytest.raises(WeightsError, match="stored as 'int2', which this version does not know"):
        load_checkpoint(folder)


def test_the_header_says_how_the_tensors_are_stored(folder: Path) -> None:
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt", "storage": "float32"}


def test_only_a_folder_of_ours_is_taken_for_one(folder: Path, tmp_path: Path) -> None:
    assert is_checkpoint(folder)
    assert not is_checkpoint(tmp_path)
    assert not is_checkpoint(folder / "config.json")
    for content in ('{"model_type": "sam"}', '{"model_type": []}'):
        (tmp_path / "config.json").write_text(content)
        assert not is_checkpoint(tmp_path)
