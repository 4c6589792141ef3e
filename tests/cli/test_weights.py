import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner, Result

from escnet.cli.weights import app
from escnet.errors import WeightsError
from escnet.model.catseg import CatSeg
from escnet.model.catseg_config import catseg_preset
from escnet.model.config import EscNetConfig, preset
from escnet.model.escnet import EscNet
from escnet.weights.catalog import CATALOG
from escnet.weights.catseg import catseg_shapes
from escnet.weights.checkpoint import weights_hash, write_checkpoint
from escnet.weights.origin import Origin
from escnet.weights.sam import sam_shapes

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
    documents = json.loads(escnet_weights("list", "--json").stdout)
    assert [document["name"] for document in documents] == list(CATALOG)


def test_check_passes_what_is_complete(folder: Path, sam_file: Path) -> None:
    assert "checkpoint, complete" in escnet_weights("check", folder).stdout
    assert "SAM, complete, 137 tensors" in escnet_weights("check", sam_file).stdout
    document = json.loads(escnet_weights("check", folder, "--json").stdout)
    assert document["sha256"] == weights_hash(folder)
    assert document["kind"] == "checkpoint"


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
    shapes = catseg_shapes(CatSeg(catseg_preset("tiny")))
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
