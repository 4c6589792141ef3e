"""Folders in OpenCLIP's layout.

`open_clip_answers.json` holds, for small towers, the names and shapes of OpenCLIP's own tensors and
what its code answers to `IMAGE` and `TOKENS` with the weights of `tensors_of` (open_clip 3.3.0 and
timm 1.0.31, neither of which is needed here).
"""

import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from typer.testing import CliRunner

from escnet.cli.main import app
from escnet.errors import WeightsError
from escnet.inference.segmenter import Segmenter
from escnet.training.pictures_plan import build_with_towers
from escnet.training.pictures_recipe import TowersSection
from escnet.weights import open_clip
from escnet.weights.assemble import FROM_TOWERS, assemble, config_for
from escnet.weights.checkpoint import load_checkpoint, write_checkpoint
from escnet.weights.open_clip import TimmTower, read_open_clip
from escnet.weights.tower_folder import TowerFolder
from tests.weights.test_tower_folder import put_tokenizer

# Random towers may take two names for one.
pytestmark = pytest.mark.filterwarnings("ignore::escnet.errors.NamesWarning")

ANSWERS: dict[str, Any] = json.loads(
    (Path(__file__).parent / "open_clip_answers.json").read_text(encoding="utf-8")
)
IMAGE = torch.tensor(np.random.RandomState(0).rand(1, 3, 32, 32), dtype=torch.float32)
TOKENS = torch.tensor([[38, 5, 6, 7, 39], [38, 9, 9, 9, 39]])
OPEN_CLIP_FILE, TENSORS, PICKLE = (
    "open_clip_config.json",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
)


def _small(tower: TimmTower, **settings: Any) -> TimmTower:
    settings = {**tower.settings, "num_attention_heads": 3, **settings}
    return TimmTower(
        settings=settings, pool=tower.pool, proj=tower.proj, mean=tower.mean, std=tower.std
    )


@pytest.fixture(autouse=True)
def small_towers(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {
        "eva02_test": _small(open_clip.eva02(24, 3, 8, 32)),
        "vit_pe_core_test": open_clip.pe_core(24, 3, 8, 32, heads=3),
        "vit_pe_core_giant_test": open_clip.pe_core(24, 3, 8, 32, heads=3, inner=70, rope_start=0),
        "convnext_plain_test": open_clip.convnext(8, 12, 16, 24, depths=(1, 1, 1, 1)),
        "convnext_test": open_clip.convnext(8, 12, 16, 24, depths=(1, 1, 2, 1), eps=1e-5),
    }
    for name, tower in small.items():
        monkeypatch.setitem(open_clip.TIMM_TOWERS, name, tower)


def tensors_of(case: str) -> dict[str, Tensor]:
    """The weights of a case: pseudo-random numbers by the tensors' names, norms about one."""
    tensors = {}
    for name, shape in ANSWERS[case]["shapes"].items():
        values = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape) * 0.2
        if len(shape) == 1 and name.endswith("weight"):
            values += 1
        tensors[name] = torch.tensor(values, dtype=torch.float32)
    return tensors


def put_folder(folder: Path, case: str, *, change: Callable[[Any], None] | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    config = json.loads(json.dumps({"model_cfg": ANSWERS[case]["config"], "preprocess_cfg": {}}))
    if change is not None:
        change(config)
    (folder / OPEN_CLIP_FILE).write_text(json.dumps(config))
    save_file(tensors_of(case), folder / TENSORS)
    put_tokenizer(folder)
    return folder


@pytest.mark.parametrize("case", ANSWERS)
def test_texts_are_embedded_as_by_openclip(tmp_path: Path, case: str) -> None:
    text = TowerFolder.read(put_folder(tmp_path, case)).towers().text.eval()
    # Of the second text OpenCLIP's tokens fill the whole context; here a third text does.
    token = torch.tensor([[38, *[9] * 14, 39]])
    with torch.no_grad():
        found = [text(one, torch.ones_like(one))[0] for one in (TOKENS[:1], token)]
    torch.testing.assert_close(
        torch.stack(found), torch.tensor(ANSWERS[case]["text"]), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("case", ANSWERS)
def test_patches_are_embedded_as_by_openclip(tmp_path: Path, case: str) -> None:
    folder = TowerFolder.read(put_folder(tmp_path, case))
    vision: Any = folder.towers(taps=folder.settings.taps or (0, 1)).vision.eval()
    with torch.no_grad():
        if case.startswith("vit"):
            inner = vision.tower.vision_model
            normed = inner.post_layernorm(vision._hidden(IMAGE)[-1])
            patches = vision.tower.visual_projection(normed)[0, 1:]
        elif case.startswith("convnext"):
            patches = vision(IMAGE).joint[0].flatten(1).mT
        else:
            patches = vision._projected(vision._hidden(IMAGE)[-1], (4, 4))[0].flatten(1).mT
    torch.testing.assert_close(
        patches, torch.tensor(ANSWERS[case]["patches"]), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("case", ["vit", "eva02", "pe_core_giant", "convnext_mlp"])
def test_a_folder_serves_for_segmenting_for_a_network_and_for_training(
    tmp_path: Path, case: str
) -> None:
    folder = put_folder(tmp_path / "clip", case)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    names = ["cat", "dog", "grass"]
    segmenter = Segmenter.load(f"training-free:{folder}", device="cpu")
    assert segmenter.segment(pixels, names).label_map.shape == (40, 56)

    towers = TowerFolder.read(folder).towers(taps=(2, 1))
    network = assemble(FROM_TOWERS, towers=folder, sam=None)
    write_checkpoint(tmp_path / "network", network, tokenizer_from=folder)
    loaded = load_checkpoint(tmp_path / "network")
    for mine, theirs in ((loaded.vision, towers.vision), (loaded.text, towers.text)):
        state = theirs.state_dict()
        assert all(torch.equal(value, state[name]) for name, value in mine.state_dict().items())
    side = 4 * network.config.patch_size
    with torch.no_grad():
        logits = network(torch.rand(1, 3, side, side), torch.rand(2, network.config.joint_dim))
    assert logits.shape == (1, 2, 16, 16)

    config = config_for(TowerFolder.read(folder))
    config.sam = "random"
    trained = build_with_towers(config, TowersSection(model=str(folder)))
    assert torch.equal(next(trained.vision.parameters()), next(network.vision.parameters()))


@pytest.mark.parametrize("case", ["eva02", "convnext"])
def test_whatever_the_file_of_tensors_and_their_precision(tmp_path: Path, case: str) -> None:
    whole = TowerFolder.read(put_folder(tmp_path / "whole", case))
    pickled = put_folder(tmp_path / "pickled", case)
    torch.save(tensors_of(case), pickled / PICKLE)
    (pickled / TENSORS).unlink()
    half = put_folder(tmp_path / "half", case)
    save_file({k: v.to(torch.bfloat16) for k, v in tensors_of(case).items()}, half / TENSORS)
    expected = whole.towers().vision.state_dict()
    for folder, atol in ((pickled, 0.0), (half, 0.02)):
        towers = TowerFolder.read(folder)
        assert towers.sha256() != whole.sha256()
        for name, value in towers.towers().vision.state_dict().items():
            torch.testing.assert_close(value, expected[name], atol=atol, rtol=0.0)


def test_the_command_line_checks_a_folder_and_tells_how_to_use_it(tmp_path: Path) -> None:
    folder = put_folder(tmp_path, "eva02")
    answer = CliRunner().invoke(app, ["weights", "check", str(folder)])
    assert answer.exit_code == 0, answer.output
    assert "CLIP in OpenCLIP's layout, complete" in answer.output
    with pytest.raises(WeightsError, match="alone, without a trained network: give it as training"):
        Segmenter.load(str(folder))


@pytest.mark.parametrize("case", ["vit", "eva02", "pe_core", "convnext"])
@pytest.mark.parametrize("amiss", ["lacks", "holds"])
def test_tensors_that_do_not_fit_the_settings_are_one_error(
    tmp_path: Path, case: str, amiss: str
) -> None:
    tensors = tensors_of(case)
    if amiss == "lacks":
        del tensors[max(name for name in tensors if name.startswith("visual."))]
    else:
        tensors["visual.extra" if case == "vit" else "visual.trunk.extra"] = torch.ones(2)
    folder = put_folder(tmp_path, case)
    save_file(tensors, folder / TENSORS)
    with pytest.raises(WeightsError, match=f"open_clip_model.safetensors {amiss} 1 "):
        TowerFolder.read(folder).towers()


def _published(timm_name: str | None = None, **text: Any) -> dict[str, Any]:
    vision: dict[str, Any] = {"layers": 12, "width": 768, "patch_size": 16, "image_size": 224}
    if timm_name is not None:
        vision = {"timm_model_name": timm_name, "timm_pool": "token", "timm_proj": None}
    return {"embed_dim": 512, "vision_cfg": vision, "text_cfg": {"context_length": 77, **text}}


def _with_vision(**vision: Any) -> dict[str, Any]:
    config = _published()
    return {**config, "vision_cfg": {**config["vision_cfg"], **vision}}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "EVA01-g-14": (_published("eva_giant_patch14_clip_224"), "EVA-01 CLIP"),
    "EVA02-E-14": (_published("eva02_enormous_patch14_clip_224"), "EVA02-CLIP E/14"),
    "MobileCLIP-S1": (_published("fastvit_mci1"), "MobileCLIP"),
    "MobileCLIP-B": (_published("vit_base_mci_224"), "MobileCLIP B"),
    "ViTamin-B": (_published("vitamin_base_224"), "ViTamin"),
    "swin": (_published("swin_base_patch4_window7_224"), "a CLIP with a Swin transformer"),
    "SigLIP": (_published("vit_base_patch16_siglip_224"), "SigLIP"),
    "SigLIP 2": (_published("vit_so400m_patch14_siglip_gap_378"), "SigLIP"),
    "another": (_published("vit_medium_patch16_gap_256"), "timm's vit_medium_patch16_gap_256"),
    "pooled otherwise": (_published("vit_pe_core_base_patch16_224"), "and timm_pool 'token'"),
    "RN50": (_with_vision(layers=[3, 4, 6, 3]), "a CLIP with a ResNet"),
    "ViT-L-14-CLIPA": (_with_vision(no_ln_pre=True), "image tower has no_ln_pre True"),
    "roberta-ViT-B-32": (_published(hf_model_name="roberta-base"), "the text tower roberta-base"),
    "worldwide": (_published(pool_type="eos"), "a CLIP whose text tower has pool_type 'eos'"),
    "coca": ({**_published(), "multimodal_cfg": {}}, "CoCa"),
}


def _refusals(folder: Path) -> Iterator[str]:
    """What each door says of a folder, whose tensors nobody has."""
    for load in (
        lambda: TowerFolder.read(folder),
        lambda: Segmenter.load(str(folder)),
        lambda: Segmenter.load(f"training-free:{folder}"),
        lambda: assemble(FROM_TOWERS, towers=folder, sam=None),
    ):
        with pytest.raises(WeightsError) as error:
            load()
        assert "\n" not in str(error.value)
        yield str(error.value)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_is_named_before_its_tensors_are_read(tmp_path: Path, name: str) -> None:
    config, title = REFUSED[name]
    (tmp_path / OPEN_CLIP_FILE).write_text(json.dumps({"model_cfg": config}))
    for refusal in _refusals(tmp_path):
        assert title in refusal
        assert (
            "in OpenCLIP's layout, which is not read: give one in that of transformers" in refusal
        )
        assert ("google/siglip" in refusal) == (title == "SigLIP")


def test_pixels_that_are_normalised_in_another_way_are_refused_or_followed(tmp_path: Path) -> None:
    def change(config: Any) -> None:
        config["preprocess_cfg"] = {"mean": [0.4, 0.5, 0.6], "std": [0.1, 0.2, 0.3]}

    with pytest.raises(WeightsError, match=r"a CLIP whose pixels have the mean \[0\.4, 0\.5, 0\.6"):
        TowerFolder.read(put_folder(tmp_path, "vit", change=change))
    vision: Any = TowerFolder.read(put_folder(tmp_path, "eva02", change=change)).towers().vision
    assert vision.tower.config.image_mean == (0.4, 0.5, 0.6)
    assert vision.tower.config.image_std == (0.1, 0.2, 0.3)


@pytest.mark.parametrize(
    "damage", ["{", "[]", '{"model_cfg": {}}', '{"model_cfg": {"text_cfg": 3}}']
)
def test_damaged_settings_are_one_error(tmp_path: Path, damage: str) -> None:
    (tmp_path / OPEN_CLIP_FILE).write_text(damage)
    for refusal in _refusals(tmp_path):
        assert OPEN_CLIP_FILE in refusal


def test_sizes_beyond_every_model_are_refused_before_anything_is_built(tmp_path: Path) -> None:
    def change(config: Any) -> None:
        config["model_cfg"]["text_cfg"]["width"] = 10**9

    with pytest.raises(WeightsError, match=r"text_config\.hidden_size 1000000000, which is not in"):
        TowerFolder.read(put_folder(tmp_path, "convnext", change=change))


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("eva02_base_patch16_clip_224", (768, 2048, 12, 12, 224)),
        ("eva02_large_patch14_clip_336", (1024, 2730, 24, 16, 336)),
        ("vit_pe_core_base_patch16_224", (768, 3072, 12, 12, 224)),
        ("vit_pe_core_large_patch14_336", (1024, 4096, 24, 16, 336)),
        ("vit_pe_core_gigantic_patch14_448", (1536, 8960, 50, 16, 448)),
    ],
)
def test_the_published_towers_have_timms_sizes(
    tmp_path: Path, name: str, sizes: tuple[int, ...]
) -> None:
    pool = "map" if "pe_core" in name else "token"
    model = _published(name)
    model["vision_cfg"] |= {"timm_pool": pool}
    (tmp_path / OPEN_CLIP_FILE).write_text(json.dumps({"model_cfg": model}))
    record = read_open_clip(tmp_path)
    assert record is not None
    own = record["vision_config"]
    fields = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    assert tuple(own[field] for field in (*fields, "image_size")) == sizes


def test_a_folder_in_both_layouts_is_read_in_the_one_whose_tensors_it_has(tmp_path: Path) -> None:
    folder = put_folder(tmp_path, "vit")
    (folder / "config.json").write_text('{"model_type": "clip"}')
    assert TowerFolder.read(folder).files == (folder / TENSORS,)
    (folder / "config.json").write_text(
        '{"architecture": "vit_pe_core_base_patch16_224"}'
    )  # timm's
    assert TowerFolder.read(folder).files == (folder / TENSORS,)
