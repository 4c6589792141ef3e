import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel
from typer.testing import CliRunner, Result

from escnet.catseg.config import CATSEG_PRESETS
from escnet.catseg.conversion import catseg_shapes
from escnet.catseg.network import CatSeg
from escnet.cli.weights import app
from escnet.errors import ConfigError, OutputError, WeightsError
from escnet.model.config import EscNetConfig, preset
from escnet.model.escnet import EscNet
from escnet.weights.catalog import BUILT_IN_FOLDER, CATALOG
from escnet.weights.checkpoint import load_checkpoint, weights_hash, write_checkpoint
from escnet.weights.origin import Origin, file_sha256
from escnet.weights.sam import sam_shapes
from escnet.weights.tensor_file import read_tensors

ORIGIN = Origin(
    part="SAM", name="sam.pth", sha256="a1" * 32, licence="Apache-2.0", description="SAM ViT-B"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    config = EscNetConfig(**{**preset("tiny").to_diff_dict(), "origins": (ORIGIN.to_dict(),)})
    write_checkpoint(folder, EscNet(config), storage="int8")
    return folder


@pytest.fixture(scope="module")
def sam_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sam") / "sam.safetensors"
    save_file({name: torch.zeros(shape) for name, shape in sam_shapes().items()}, path)
    return path


def escnet_weights(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_show_tells_storage_hash_parts_and_origins(folder: Path) -> None:
    result = escnet_weights("show", folder)
    assert result.exit_code == 0
    for text in (
        "int8",
        weights_hash(folder),
        "joint_dim",
        "vision",
        "parameters and buffers",
        "SAM: sam.pth (Apache-2.0)",
        f"sha256 {ORIGIN.sha256}",
    ):
        assert text in result.stdout


def test_show_as_json_is_one_document_with_the_same_facts(folder: Path) -> None:
    document = json.loads(escnet_weights("show", folder, "--json").stdout)
    assert document["weights_hash"] == weights_hash(folder)
    assert document["origins"] == [ORIGIN.to_dict()]
    assert document["storage"] == "int8"
    assert document["config"]["joint_dim"] == 16
    assert document["num_values"]["text"] > 0


def test_a_model_without_origins_says_so(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, EscNet(preset("tiny")))
    assert "origins: none recorded" in escnet_weights("show", tmp_path).stdout


def test_list_names_everything_in_the_catalog() -> None:
    listed = escnet_weights("list").stdout
    assert CATALOG
    assert all(name in listed for name in CATALOG)
    document = json.loads(escnet_weights("list", "--json").stdout)
    assert [known["name"] for known in document["weights"]] == list(CATALOG)


def test_list_tells_sizes_hashes_and_what_each_model_needs() -> None:
    listed = escnet_weights("list").stdout
    known = CATALOG["sam_vit_b_01ec64.pth"]
    for text in (
        f"375.0 MB, sha256 {known.sha256[known.name]}",
        known.published,
        "training-free:CLIP+sam:SAM",
        "model_final.pth of CAT-Seg",
    ):
        assert text in listed
    document = json.loads(escnet_weights("list", "--json").stdout)
    assert {model["model"] for model in document["models"]} >= {"mini", "training-free:CLIP"}


def test_fetch_shows_what_came(folder: Path) -> None:
    result = escnet_weights("fetch", folder)
    assert result.exit_code == 0
    assert f"sha256 {file_sha256(folder / 'config.json')}" in result.stdout
    document = json.loads(escnet_weights("fetch", folder, "--json").stdout)
    names = [file["file"] for file in document["files"]]
    assert names == sorted(path.name for path in folder.iterdir())
    assert all(file["known_as"] is None for file in document["files"])


def test_fetch_of_what_is_not_on_the_hub_tells_where_it_is() -> None:
    result = escnet_weights("fetch", "sam_vit_h_4b8939.pth")
    assert isinstance(result.exception, WeightsError)
    assert "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_h" in str(result.exception)


def test_check_passes_what_is_complete(folder: Path, sam_file: Path) -> None:
    assert "checkpoint, complete" in escnet_weights("check", folder).stdout
    checked = escnet_weights("check", sam_file).stdout
    assert "SAM without its image encoder, complete, 137 tensors" in checked
    document = json.loads(escnet_weights("check", folder, "--json").stdout)
    assert document["sha256"] == weights_hash(folder)
    assert document["kind"] == "checkpoint"


def test_check_knows_catseg_as_published(tmp_path: Path) -> None:
    path = tmp_path / "model_final.pth"
    shapes = catseg_shapes(CatSeg(CATSEG_PRESETS["tiny"]()))
    torch.save({"model": {name: torch.zeros(shape) for name, shape in shapes.items()}}, path)
    assert f"CAT-Seg as published, complete, {len(shapes)}" in escnet_weights("check", path).stdout


def test_check_knows_a_clip_and_what_it_lacks(tmp_path: Path) -> None:
    config = CATSEG_PRESETS["tiny"]()
    sizes = {"vision_config": config.vision_config, "text_config": config.text_config}
    CLIPModel(CLIPConfig(**sizes, projection_dim=16)).save_pretrained(tmp_path)
    failed = escnet_weights("check", tmp_path)
    assert "no tokenizer.json in" in str(failed.exception)
    shutil.copy(BUILT_IN_FOLDER / "tokenizer.json", tmp_path)
    assert "CLIP, complete" in escnet_weights("check", tmp_path).stdout


def test_check_of_another_kind_of_model_names_what_can_be_checked(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "sam2"}')
    result = escnet_weights("check", tmp_path)
    assert isinstance(result.exception, WeightsError)
    assert "of type 'sam2': give a checkpoint of this project, towers" in str(result.exception)


def test_check_refuses_what_is_not(sam_file: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(sam_file.read_bytes()[:-1])
    result = escnet_weights("check", cut)
    assert isinstance(result.exception, WeightsError)
    assert "no complete .safetensors file" in str(result.exception)


def test_showing_what_is_no_model_is_an_error(sam_file: Path) -> None:
    assert isinstance(escnet_weights("show", sam_file).exception, WeightsError)
    assert isinstance(escnet_weights("show", "no-such-model").exception, WeightsError)


def test_convert_catseg_writes_a_checkpoint_of_ours(tmp_path: Path) -> None:
    clip, out, source = tmp_path / "clip", tmp_path / "ours", tmp_path / "model_final.pth"
    shapes = catseg_shapes(CatSeg(CATSEG_PRESETS["tiny"]()))
    torch.save({"model": {name: torch.zeros(shape) for name, shape in shapes.items()}}, source)
    clip.mkdir()
    failed = escnet_weights("convert", "catseg", source, "--clip", clip, "--out", out)
    assert isinstance(failed.exception, WeightsError)
    assert "no tokenizer.json in" in str(failed.exception)
    assert not out.exists()
    (clip / "tokenizer.json").write_text("{}")
    done = escnet_weights("convert", "catseg", source, "--clip", clip, "--out", out)
    assert done.exit_code == 0
    assert f"{out}: CAT-Seg, complete" in done.stdout
    assert (out / "tokenizer.json").read_text() == "{}"
    assert "checkpoint, complete" in escnet_weights("check", out).stdout
    assert "CAT-Seg: model_final.pth (unknown)" in escnet_weights("show", out).stdout


def storage_of(folder: Path) -> dict[str, torch.Tensor]:
    return read_tensors(folder / "model_int8.safetensors")


def test_packing_in_the_storage_it_has_changes_no_tensor(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    write_checkpoint(source, EscNet(preset("tiny")), storage="int8", halve=["text.*"])
    assert escnet_weights("pack", source, out).exit_code == 0
    before, after = storage_of(source), storage_of(out)
    assert {tensor.dtype for tensor in before.values()} >= {torch.int8, torch.float16}
    assert after.keys() == before.keys()
    for name, tensor in before.items():
        assert after[name].dtype == tensor.dtype
        assert torch.equal(after[name], tensor)


def test_packing_halves_what_is_asked_for_and_nothing_else(tmp_path: Path) -> None:
    source, half, out = tmp_path / "source", tmp_path / "half", tmp_path / "out"
    write_checkpoint(source, EscNet(preset("tiny")), storage="int8", halve=["text.*"])
    assert escnet_weights("pack", source, out, "--halve", "vision.*").exit_code == 0
    packed = storage_of(out)
    kinds = {name: tensor.dtype for name, tensor in packed.items() if f"{name}.scale" in packed}
    assert any(name.startswith("text.") for name in kinds)
    assert not any(name.startswith("vision.") for name in kinds)
    assert escnet_weights("pack", source, half, "--storage", "float16").exit_code == 0
    assert escnet_weights("pack", half, out).exit_code == 0  # half precision is no wish of its own
    assert torch.int8 in {tensor.dtype for tensor in storage_of(out).values()}


def test_a_pattern_to_halve_that_has_no_effect_is_an_error(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = escnet_weights("pack", folder, out, "--halve", "text.*", "--halve", "txt.*")
    assert isinstance(result.exception, ConfigError)
    assert "halve 'txt.*' matches none of" in str(result.exception)
    result = escnet_weights("pack", folder, out, "--halve", "text.*", "--storage", "float16")
    assert isinstance(result.exception, ConfigError)
    assert "halve 'text.*' is for int8 storage" in str(result.exception)
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("mine", ["config.json", "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize(
    "command",
    [
        ("convert", "catseg", "absent.pth", "--out", "OUT"),
        ("average", "tiny", "tiny", "--out", "OUT"),
        ("assemble", "vit-b-16", "OUT", "--clip", "absent"),
    ],
)
def test_no_checkpoint_is_written_over_somebody_s_own_files(
    tmp_path: Path, command: tuple[str, ...], mine: str
) -> None:
    (tmp_path / mine).write_text('{"model_type": "clip"}')
    result = escnet_weights(*(tmp_path if word == "OUT" else word for word in command))
    assert isinstance(result.exception, OutputError)
    assert f"{mine} is no result of escnet" in str(result.exception)
    assert (tmp_path / mine).read_text() == '{"model_type": "clip"}'


def test_average_writes_the_mean_with_the_first_ones_tokenizer(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for seed, folder in enumerate(folders):
        torch.manual_seed(seed)
        write_checkpoint(folder, EscNet(preset("tiny")))
    (folders[0] / "tokenizer_config.json").write_text("{}")
    out = tmp_path / "mean"
    result = escnet_weights("average", *folders, "--share", "0.6", "--share", "0.4", "--out", out)
    assert result.exit_code == 0, result.output
    assert (out / "tokenizer_config.json").read_text() == "{}"
    a, b, mean = (load_checkpoint(folder).state_dict() for folder in (*folders, out))
    name = max(mean, key=lambda name: mean[name].numel())
    torch.testing.assert_close(mean[name], 0.6 * a[name] + 0.4 * b[name])
