"""Training runs in small: random parts of the right form, drawn pictures, recipes for them."""

import json
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordPiece
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel, Dinov2Config, Dinov2Model

from escnet.mini.efficientnet_lite import NUM_LABELS, EfficientNetLite
from escnet.mini.training.recipe import MiniRecipe
from escnet.training.pictures_recipe import PicturesRecipe
from escnet.training.recipe import Recipe
from escnet.weights.sam import sam_shapes

MakeRecipe = Callable[..., Recipe]

CLASSES = ["sky", "cat", "dog", "diningtable", "tram", "chair"]
ANNOTATED = {"voc": [0, 1, 2, 3], "street": [0, 4]}  # nobody annotates the chair
JOINT_DIM = 12

VIT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
BERT = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "vocab_size": 4 + 2 * len(string.ascii_lowercase + string.digits),
}
NETWORK = {
    "vision_config": VIT,
    "layers": [1, 2],
    "head_dim": 8,
    "upsampling": "bilinear",
    "presence": False,
    "detail": False,
    "share_prior": 0.0,
    "text_config": BERT,
    "image_size": 64,
    "joint_dim": JOINT_DIM,
    "num_blocks": 1,
    "regions_per_class": 2,
    "kmeans_steps": 2,
    "hidden_dim": 8,
    "num_heads": 2,
    "window": 2,
    "embed_kernel": 3,
    "skip_dims": [4, 4],
    "decoder_dims": [8, 4],
}
# CLIP's towers in small, with the tokenizer that this file writes.
PICTURES_TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "projection_dim": 16,
    "vocab_size": BERT["vocab_size"],
    "max_position_embeddings": 77,
    "bos_token_id": 2,
    "eos_token_id": 3,
}
RANDOM_SAM = {"sam": "random", "sam_dim": 32, "sam_mlp_dim": 32}


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six drawn pictures of two sources: a coloured thing on a ground, a strip unlabelled."""
    root = tmp_path_factory.mktemp("data")
    (root / "images").mkdir()
    (root / "masks").mkdir()
    table = {
        "classes": CLASSES,
        "sources": {
            "voc": {"annotated": ANNOTATED["voc"], "has_background": True},
            "street": {"annotated": ANNOTATED["street"], "has_background": False},
        },
    }
    (root / "classes.json").write_text(json.dumps(table))
    for index, thing in enumerate([1, 2, 3, 1, 4, 4]):
        source = "street" if thing == 4 else "voc"
        label_map = np.full((24, 32), 254 if source == "voc" else 0, np.uint8)
        label_map[12:] = 0
        label_map[4:16, 6 + index : 20 + index] = thing
        label_map[:, 30:] = 255
        pixels = np.stack([label_map * 40, 255 - label_map * 30, label_map // 2], axis=2)
        Image.fromarray(pixels.astype(np.uint8)).save(root / "images" / f"{source}__{index}.png")
        Image.fromarray(label_map).save(root / "masks" / f"{source}__{index}.png")
    return root


@pytest.fixture(scope="session")
def parts_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights and made-up vectors in the published files' forms."""
    root = tmp_path_factory.mktemp("parts")
    torch.manual_seed(0)
    Dinov2Model(Dinov2Config(**VIT)).save_pretrained(root / "vit")
    torch.save(EfficientNetLite().state_dict(), root / "efficientnet.pth")
    save_file({name: 0.1 * torch.randn(size) for name, size in sam_shapes().items()}, root / "sam")
    BertModel(BertConfig(**BERT), add_pooling_layer=False).save_pretrained(root / "sentence")
    _write_tokenizer(root / "sentence" / "tokenizer.json")
    _write_vectors(root / "vectors")
    texts = {f"in1k__n{index:04d}": [f"label {index}", "x"] for index in range(NUM_LABELS)}
    (root / "texts.json").write_text(json.dumps({"other__1": ["y"], **texts}))
    return root


def _write_tokenizer(path: Path) -> None:
    """A token for each letter, so that every name can be read."""
    letters = string.ascii_lowercase + string.digits
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{one}" for one in letters)]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(path))


def _write_vectors(folder: Path) -> None:
    folder.mkdir()
    lvis = [{"id": 2, "name": "tv_set"}, {"id": 1, "name": "Apple"}]
    (folder / "lvis_v1_train_cat_info.json").write_text(json.dumps(lvis))
    (folder / "Objects365_names_fix.csv").write_text("1,Dining,x\n2,Table,y\n3,Wild Bird,z\n")
    generator = np.random.default_rng(0)
    for file, count in (
        ("lvis_v1_clip_a+cname", 2),
        ("o365_clip_a+cnamefix", 3),
        ("coco_clip_a+cname", 80),
    ):
        np.save(folder / f"{file}.npy", generator.normal(size=(count, JOINT_DIM)))


ALIGNMENT = {"kind": "alignment", "steps": 4, "batch_size": 2}
WHOLE = {"kind": "network", "steps": 4, "batch_size": 1, "names_per_picture": 3}
PRESENCE = {"kind": "presence", "steps": 4, "batch_size": 8}
DETAIL = {"kind": "detail", "steps": 4, "batch_size": 1, "side": 32, "most_names": 3}
EVERYTHING = {"upsampling": "guided", "presence": True, "detail": True, "share_prior": 0.5}


@pytest.fixture(scope="session")
def make_recipe(data_folder: Path, parts_folder: Path) -> MakeRecipe:
    """A recipe of the built-in model's kind in small, with some of its sections."""

    def make(
        *stages: dict[str, Any],
        data: dict[str, Any] | None = None,
        model: dict[str, Any] | None = None,
        parts: dict[str, Any] | None = None,
        records: dict[str, Any] | None = None,
        **training: Any,
    ) -> MiniRecipe:
        if parts is None or "start_from" not in parts or len(parts) > 1:
            parts = {
                "vit": parts_folder / "vit" / "model.safetensors",
                "efficientnet": parts_folder / "efficientnet.pth",
                "sentence": parts_folder / "sentence",
                "sam": parts_folder / "sam",
                "clip_text": parts_folder / "vectors",
                "label_names": parts_folder / "texts.json",
                **(parts or {}),
            }
            model = NETWORK | (RANDOM_SAM if model is None else model)
        return MiniRecipe.model_validate(
            {
                "model": {"settings": model or {}},
                "parts": parts,
                "data": {"train": data_folder, "workers": 0, **(data or {})},
                "stages": stages or (ALIGNMENT, WHOLE),
                "training": {"save_every": 3, **training},
                "records": records or {},
            }
        )

    return make


@pytest.fixture(scope="session")
def captions_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five pictures of one colour each, with captions that say class names."""
    root = tmp_path_factory.mktemp("captions")
    (root / "images").mkdir()
    texts = {
        "p0": ["a cat and a dog", "two animals"],
        "p1": ["Cats under the sky"],
        "p2": ["nothing of note"],
        "p3": ["the dog"],
        "p4": ["a kitchen with a cat"],
    }
    for index, stem in enumerate(texts):
        Image.new("RGB", (20, 16), (50 * index, 0, 0)).save(root / "images" / f"{stem}.png")
    (root / "texts.json").write_text(json.dumps(texts))
    return root


@pytest.fixture(scope="session")
def make_pictures_recipe(data_folder: Path, parts_folder: Path) -> MakeRecipe:
    """A recipe that trains towers on pictures, with some settings of its sections."""

    def make(
        *,
        model: dict[str, Any] | None = None,
        preset: str = "tiny",
        towers: dict[str, Any] | None = None,
        pictures: dict[str, Any] | None = None,
        records: dict[str, Any] | None = None,
        **training: Any,
    ) -> PicturesRecipe:
        return PicturesRecipe.model_validate(
            {
                "model": {
                    "preset": preset,
                    "settings": {"text_config": PICTURES_TEXT, **(model or {})},
                },
                "towers": {
                    "model": "",
                    "tokenizer": str(parts_folder / "sentence"),
                    "rate": 0.5,
                    "sam_rate": 0.5,
                    **(towers or {}),
                },
                "pictures": {
                    "sources": [{"data": "folder", "root": data_folder}],
                    "augmentation": {"short_side": (20, 28), "crop": 20},
                    "workers": 0,
                    **(pictures or {}),
                },
                "training": {"steps": 4, "batch_size": 2, "save_every": 3, **training},
                "records": records or {},
            }
        )

    return make
