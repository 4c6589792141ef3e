"""Towers from folders as the hub has them, of every kind, layout and precision."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from tokenizers.processors import TemplateProcessing
from torch import Tensor
from transformers import (
    BertConfig,
    CLIPConfig,
    CLIPModel,
    Dinov2Config,
    MetaClip2Config,
    MetaClip2Model,
    PreTrainedModel,
    SiglipConfig,
    SiglipModel,
    VisionTextDualEncoderConfig,
    VisionTextDualEncoderModel,
)

from escnet.errors import WeightsError
from escnet.inference.methods.model_name import ModelName
from escnet.inference.methods.training_free import load_training_free
from escnet.inference.segmenter import Segmenter
from escnet.model.config import EscNetConfig
from escnet.towers.table import TOWER_KINDS
from escnet.training.pictures_plan import build_with_towers
from escnet.training.pictures_recipe import TowersSection
from escnet.weights.assemble import FROM_TOWERS, assemble, config_for
from escnet.weights.checkpoint import load_checkpoint, write_checkpoint
from escnet.weights.tower_folder import TowerFolder

# Random towers may take two names for one.
pytestmark = pytest.mark.filterwarnings("ignore::escnet.errors.NamesWarning")

WIDTHS = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}
VISION = {**WIDTHS, "num_hidden_layers": 3, "image_size": 32, "patch_size": 8}
WORDS = ["[PAD]", "[UNK]", "a", "photo", "of", "cat", "dog", "grass", "."]
TEXT = {**WIDTHS, "num_hidden_layers": 2, "vocab_size": 40, "max_position_embeddings": 64}
ENDS = {"bos_token_id": 38, "eos_token_id": 39}


def _clip(**text: Any) -> PreTrainedModel:
    config = CLIPConfig(
        vision_config=VISION, text_config={**TEXT, **ENDS, **text}, projection_dim=24
    )
    return CLIPModel(config)


def _siglip(vocab_size: int = 40) -> PreTrainedModel:
    text = {**TEXT, "vocab_size": vocab_size, "projection_size": 32, "pad_token_id": 0}
    return SiglipModel(SiglipConfig(vision_config=VISION, text_config=text))


def _metaclip_2() -> PreTrainedModel:
    config = MetaClip2Config(vision_config=VISION, text_config={**TEXT, **ENDS}, projection_dim=24)
    return MetaClip2Model(config)


def _tipsv2() -> PreTrainedModel:
    own = {name: value for name, value in VISION.items() if name != "intermediate_size"}
    config = transformers.Tipsv2Config(vision_config={**own, "mlp_ratio": 1.5}, text_config=TEXT)
    return transformers.Tipsv2Model(config)


def _dual_encoder() -> PreTrainedModel:
    return VisionTextDualEncoderModel(
        VisionTextDualEncoderConfig.from_vision_text_configs(
            Dinov2Config(**VISION), BertConfig(**TEXT), projection_dim=24
        )
    )


MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "clip": _clip,
    "laion": lambda: _clip(hidden_act="gelu"),
    "metaclip2": _metaclip_2,
    "siglip": _siglip,
    "siglip2": lambda: _siglip(vocab_size=60),
    "dual": _dual_encoder,
}
HAS_TIPSV2 = hasattr(transformers, "Tipsv2Model")
if HAS_TIPSV2:
    MODELS["tipsv2"] = _tipsv2


def put_tokenizer(folder: Path) -> None:
    index = {word: number for number, word in enumerate(WORDS)} | {"<s>": 38, "</s>": 39}
    tokenizer = Tokenizer(WordLevel(index, unk_token="[UNK]"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 38), ("</s>", 39)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))


@pytest.fixture(scope="module")
def answers(snapshots: dict[str, Path]) -> dict[str, np.ndarray]:
    """What the towers of each kind answer."""
    return {kind: answer_of(folder) for kind, folder in snapshots.items()}


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """For each kind a folder as `save_pretrained` writes it, always with the same weights."""
    folders = {}
    for name, make in MODELS.items():
        torch.manual_seed(0)
        folders[name] = tmp_path_factory.mktemp(name)
        make().save_pretrained(folders[name])
        put_tokenizer(folders[name])
    return folders


def _tensors(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def as_pickle(folder: Path) -> None:
    torch.save(_tensors(folder), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def _cut(folder: Path, name: str, save: Callable[[dict[str, Tensor], Path], object]) -> None:
    tensors = _tensors(folder)
    (folder / "model.safetensors").unlink()
    stem, suffix = name.split(".")
    names = sorted(tensors)
    where = {one: f"{stem}-0000{1 + i % 2}-of-00002.{suffix}" for i, one in enumerate(names)}
    for file in set(where.values()):
        save({one: tensors[one] for one in names if where[one] == file}, folder / file)
    index = {"metadata": {}, "weight_map": where}
    (folder / f"{name}.index.json").write_text(json.dumps(index))


def in_pieces(folder: Path) -> None:
    from safetensors.torch import save_file

    _cut(folder, "model.safetensors", save_file)


def in_pickled_pieces(folder: Path) -> None:
    _cut(folder, "pytorch_model.bin", torch.save)


def as_it_is(folder: Path) -> None:
    del folder


def _in_half(folder: Path, dtype: torch.dtype, places: tuple[str, ...]) -> None:
    from safetensors.torch import save_file

    tensors = {name: value.to(dtype) for name, value in _tensors(folder).items()}
    save_file(tensors, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    for place in places:
        part = config if not place else config[place]
        part["dtype"] = part["torch_dtype"] = str(dtype).removeprefix("torch.")
    (folder / "config.json").write_text(json.dumps(config))


def in_float16(folder: Path) -> None:
    _in_half(folder, torch.float16, ("", "vision_config", "text_config"))


def in_bfloat16(folder: Path) -> None:
    _in_half(folder, torch.bfloat16, ("vision_config",))


def prepared(snapshots: dict[str, Path], kind: str, target: Path, change: Any) -> Path:
    folder = shutil.copytree(snapshots[kind], target / kind)
    change(folder)
    return folder


def answer_of(folder: Path) -> np.ndarray:
    segmenter = Segmenter.load(f"training-free:{folder}", device="cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    return segmenter.segment(pixels, ["cat", "dog", "grass"]).label_map


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("change", [as_pickle, in_pieces, in_pickled_pieces])
def test_however_the_files_are_cut_the_towers_and_their_answer_are_the_same(
    snapshots: dict[str, Path],
    answers: dict[str, np.ndarray],
    tmp_path: Path,
    kind: str,
    change: Callable[[Path], None],
) -> None:
    folder = prepared(snapshots, kind, tmp_path, change)
    expected, found = (TowerFolder.read(one).towers() for one in (snapshots[kind], folder))
    for mine, theirs in zip(found, expected, strict=True):
        own = theirs.state_dict()
        assert own
        assert all(torch.equal(value, own[name]) for name, value in mine.state_dict().items())
    assert (answer_of(folder) == answers[kind]).all()


def small_config(folder: Path) -> EscNetConfig:
    """The settings that the towers call for, with one thin block."""
    small = {"num_blocks": 1, "hidden_dim": 16, "sam_dim": 32, "sam_mlp_dim": 32}
    return EscNetConfig.from_dict({**config_for(TowerFolder.read(folder)).to_dict(), **small})


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("change", [in_float16, in_bfloat16])
def test_half_precision_on_disk_is_computed_with_in_single(
    snapshots: dict[str, Path], tmp_path: Path, kind: str, change: Callable[[Path], None]
) -> None:
    folder = prepared(snapshots, kind, tmp_path, change)
    for tower in TowerFolder.read(folder).towers():
        assert {value.dtype for value in tower.parameters()} == {torch.float32}
    assert answer_of(folder).shape == (40, 56)
    network = assemble(small_config(folder), towers=folder, sam=None)
    assert {value.dtype for value in network.parameters()} == {torch.float32}


@pytest.mark.parametrize("kind", MODELS)
def test_an_assembled_network_has_the_towers_of_the_folder(
    snapshots: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    network = assemble(small_config(snapshots[kind]), towers=snapshots[kind], sam=None)
    assert network.config.grid_size == 24
    write_checkpoint(tmp_path, network, tokenizer_from=snapshots[kind])
    loaded = load_checkpoint(tmp_path)
    theirs = TowerFolder.read(snapshots[kind]).towers()
    for mine, their in ((loaded.vision, theirs.vision), (loaded.text, theirs.text)):
        state = their.state_dict()
        assert all(torch.equal(value, state[name]) for name, value in mine.state_dict().items())
    result = Segmenter.load(tmp_path, device="cpu").segment(
        np.zeros((20, 30, 3), np.uint8), ["cat", "dog"]
    )
    assert result.label_map.shape == (20, 30)


@pytest.mark.parametrize("kind", MODELS)
def test_a_recipe_trains_behind_towers_of_every_kind(snapshots: dict[str, Path], kind: str) -> None:
    folder = TowerFolder.read(snapshots[kind])
    config = small_config(snapshots[kind])
    config.sam = "random"
    network = build_with_towers(config, TowersSection(model=str(snapshots[kind])))
    state = folder.towers().vision.state_dict()
    assert all(
        torch.equal(value, state[name]) for name, value in network.vision.state_dict().items()
    )


def test_clips_answer_is_that_of_transformers(snapshots: dict[str, Path]) -> None:
    theirs = CLIPModel.from_pretrained(snapshots["laion"]).eval()
    text = TowerFolder.read(snapshots["laion"]).towers().text.eval()
    token = torch.tensor([[38, 5, 6, 39]])
    with torch.no_grad():
        expected = theirs.get_text_features(input_ids=token)
        expected = getattr(expected, "pooler_output", expected)
        torch.testing.assert_close(text(token, torch.ones_like(token)), expected)


def test_a_dual_encoders_answer_is_that_of_transformers(snapshots: dict[str, Path]) -> None:
    theirs = VisionTextDualEncoderModel.from_pretrained(snapshots["dual"]).eval()
    towers = TowerFolder.read(snapshots["dual"]).towers()
    token = torch.tensor([[2, 5, 6, 3]])
    image = torch.rand(1, 3, 32, 32)
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    deviation = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    with torch.no_grad():
        expected = theirs.get_text_features(input_ids=token)
        expected = getattr(expected, "pooler_output", expected)
        found = towers.text.eval()(token, torch.ones_like(token))
        torch.testing.assert_close(found, expected)
        hidden = theirs.vision_model((image - mean) / deviation).last_hidden_state[:, 1:]
        patches = theirs.visual_projection(hidden).mT.unflatten(2, (4, 4))
        torch.testing.assert_close(towers.vision.eval()(image).joint, patches)


def test_texts_of_siglip_reach_its_tokenizer_in_lower_case_and_without_punctuation(
    snapshots: dict[str, Path],
) -> None:
    method, _ = load_training_free(
        ModelName.parse(f"training-free:{snapshots['siglip2']}?templates=single"),
        device="cpu",
        dtype="float32",
    )
    found, expected = method.encode_text(["CAT!"]), method.encode_text(["cat"])
    assert (found == expected).all()
    assert not np.allclose(found, method.encode_text(["dog"]))


@pytest.mark.parametrize("files", [1, 2])
def test_other_weights_have_another_hash(
    snapshots: dict[str, Path], tmp_path: Path, files: int
) -> None:
    folder = prepared(snapshots, "clip", tmp_path, in_pickled_pieces if files == 2 else as_pickle)
    before = TowerFolder.read(folder)
    digest, recorded = before.sha256(), before.origin().sha256
    assert len(before.files) == files
    tensors = torch.load(before.files[-1], weights_only=True)
    name = next(name for name, value in tensors.items() if value.is_floating_point())
    torch.save({**tensors, name: tensors[name] + 1}, before.files[-1])
    assert TowerFolder.read(folder).sha256() != digest
    assert TowerFolder.read(folder).origin().sha256 != recorded


def _refusals(folder: Path) -> Iterator[str]:
    """What each door says of a folder, whose tensors nobody has."""
    for load in (
        lambda: TowerFolder.read(folder),
        lambda: Segmenter.load(f"training-free:{folder}"),
        lambda: assemble(FROM_TOWERS, towers=folder, sam=None),
    ):
        with pytest.raises(WeightsError) as error:
            load()
        assert "\n" not in str(error.value)
        yield str(error.value)


def test_towers_of_an_unknown_kind_are_one_error_before_anything_large_is_read(
    tmp_path: Path,
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "aimv2"}')
    for refusal in _refusals(tmp_path):
        assert "has the layout 'aimv2': the towers that are read are" in refusal
        assert all(kind in refusal for kind in TOWER_KINDS)


@pytest.mark.parametrize(
    ("model_type", "name", "instead"),
    [
        ("siglip2", "SigLIP 2 NaFlex", "google/siglip2-base-patch16-256"),
        ("clip_vision_model", "CLIP's image tower alone", "the whole CLIP"),
        ("dinov3_vit", "DINOv3's image tower alone", "openai/clip-vit-base-patch16"),
    ],
)
def test_known_towers_that_are_not_read_are_named_with_what_to_use_instead(
    tmp_path: Path, model_type: str, name: str, instead: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    for refusal in _refusals(tmp_path):
        assert f"holds {name}, which is not read: give" in refusal
        assert instead in refusal


def test_a_folder_of_openclip_that_is_in_the_layout_of_transformers_too_is_read(
    snapshots: dict[str, Path], tmp_path: Path
) -> None:
    folder = prepared(snapshots, "laion", tmp_path, as_it_is)
    (folder / "open_clip_config.json").write_text('{"model_cfg": {}}')
    assert TowerFolder.read(folder).kind.name == "clip"


def test_towers_that_this_transformers_lacks_are_one_error_with_the_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "tipsv2"}')
    monkeypatch.setattr("escnet.towers.kind.transformers.__version__", "4.57.6")
    for refusal in _refusals(tmp_path):
        assert "TIPSv2 needs transformers 5.14 or later, and 4.57.6 is installed" in refusal


def test_a_checkpoint_of_a_training_program_says_which_tensors_are_lacking(
    snapshots: dict[str, Path], tmp_path: Path
) -> None:
    folder = prepared(snapshots, "clip", tmp_path, as_it_is)
    tensors = {f"module.{name}": value for name, value in _tensors(folder).items()}
    (folder / "model.safetensors").unlink()
    torch.save({"epoch": 3, "state_dict": tensors}, folder / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"lacks 56 of 56 tensors \(vision_model"):
        TowerFolder.read(folder).towers()


def test_a_tower_with_a_value_that_is_no_number_is_refused(
    snapshots: dict[str, Path], tmp_path: Path
) -> None:
    folder = prepared(snapshots, "clip", tmp_path, as_pickle)
    tensors = torch.load(folder / "pytorch_model.bin", weights_only=True)
    tensors["visual_projection.weight"][0, 0] = torch.nan
    torch.save(tensors, folder / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"no number in 1 of \d+ tensors \(visual_projection"):
        TowerFolder.read(folder).towers()


def test_a_piece_that_is_not_there_is_named(snapshots: dict[str, Path], tmp_path: Path) -> None:
    folder = prepared(snapshots, "clip", tmp_path, in_pieces)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"lacks 1 of 2 pieces \(model-00002-of-00002"):
        TowerFolder.read(folder)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "a/b.bin", 3])
def test_an_index_that_leads_out_of_its_folder_is_refused(tmp_path: Path, name: Any) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    index = {"weight_map": {"tensor": name}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(WeightsError, match="names files outside of its folder"):
        TowerFolder.read(tmp_path)


def test_a_tokenizer_of_two_files_reads_as_that_of_one(
    snapshots: dict[str, Path], tmp_path: Path
) -> None:
    folder = prepared(snapshots, "clip", tmp_path, as_it_is)
    (folder / "tokenizer.json").unlink()
    letters = "acdgophtr"
    pairs = ["c a", "ca t</w>", "d o", "do g</w>"]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "ca", "cat</w>", "do", "dog</w>"]
    vocabulary = {word: index for index, word in enumerate(words)}
    vocabulary |= {"<|startoftext|>": 38, "<|endoftext|>": 39}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(pairs) + "\n")
    method, _ = load_training_free(
        ModelName.parse(f"training-free:{folder}?templates=single"), device="cpu", dtype="float32"
    )
    tokens = method._tokenize(["Cat dog"])
    expected = [38, vocabulary["cat</w>"], vocabulary["dog</w>"], 39]
    assert tokens.token.tolist() == [expected]
    write_checkpoint(
        tmp_path / "ours", assemble(FROM_TOWERS, towers=folder, sam=None), tokenizer_from=folder
    )
    segmenter = Segmenter.load(tmp_path / "ours", device="cpu")
    assert segmenter.method.tokenize(["Cat dog"]).token.tolist() == [expected]  # type: ignore[attr-defined]
