"""The reference below follows the published network by its own tensor names, class by class.

It shares no code with ours: no common guidance, no chunks, padding as real classes.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from escnet.catseg.config import CATSEG_PRESETS
from escnet.catseg.conversion import (
    catseg_shapes,
    config_from_shapes,
    read_catseg,
    tokenizer_folder,
)
from escnet.catseg.network import CatSeg
from escnet.errors import WeightsError
from escnet.weights.checkpoint import (
    load_any_network,
    load_checkpoint,
    load_network,
    summarize_checkpoint,
    write_checkpoint,
)

CLIP = "sem_seg_head.predictor.clip_model."
HEAD = "sem_seg_head.predictor.transformer."
Tensors = dict[str, Tensor]


@pytest.fixture(scope="module")
def tensors() -> Tensors:
    """A small checkpoint in the published naming, every number of which matters."""
    generator = torch.Generator().manual_seed(0)
    found = {}
    for name, shape in catseg_shapes(CatSeg(CATSEG_PRESETS["tiny"]())).items():
        tensor = torch.randn(shape, generator=generator)
        scale = 0.3 if tensor.ndim < 2 or "padding" in name else shape[-1] ** -0.5
        is_norm = name.endswith("weight") and tensor.ndim == 1
        found[name] = is_norm + scale * tensor
    for name in found:
        if name.endswith("attn_mask"):
            found[name] = shift_mask(24, 12, 6)
    return found


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, tensors: Tensors) -> Path:
    path = tmp_path_factory.mktemp("catseg") / "model_final.pth"
    torch.save({"model": tensors, "iteration": 79_999, "scheduler": {"last_epoch": 80_000}}, path)
    return path


@pytest.fixture(scope="module")
def network(published: Path) -> CatSeg:
    return read_catseg(published)


@pytest.fixture
def pixels() -> Tensor:
    return 255 * torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def text_of(num_classes: int) -> Tensor:
    return torch.randn(num_classes, 16, generator=torch.Generator().manual_seed(2))


# --- the published network, by its own names ------------------------------------------------------


def linear(t: Tensors, name: str, x: Tensor) -> Tensor:
    return F.linear(x, t[f"{name}.weight"], t[f"{name}.bias"])


def norm(t: Tensors, name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], t[f"{name}.weight"], t[f"{name}.bias"])


def conv(t: Tensors, name: str, x: Tensor, padding: int) -> Tensor:
    return F.conv2d(x, t[f"{name}.weight"], t[f"{name}.bias"], padding=padding)


def clip_block(t: Tensors, name: str, x: Tensor, *, is_causal: bool) -> Tensor:
    y = norm(t, f"{name}.ln_1", x)  # (B, L, V); a single head of 64
    q_bias, k_bias, v_bias = t[f"{name}.attn.in_proj_bias"].split(x.shape[-1])
    q = y @ t[f"{name}.attn.q_proj_weight"].T + q_bias
    k = y @ t[f"{name}.attn.k_proj_weight"].T + k_bias
    v = y @ t[f"{name}.attn.v_proj_weight"].T + v_bias
    scores = q @ k.transpose(1, 2) / 8
    if is_causal:
        scores = scores + torch.full(scores.shape[1:], -torch.inf).triu(1)
    x = x + linear(t, f"{name}.attn.out_proj", scores.softmax(dim=-1) @ v)
    return clip_mlp(t, name, x)


def clip_mlp(t: Tensors, name: str, x: Tensor) -> Tensor:
    y = linear(t, f"{name}.mlp.c_fc", norm(t, f"{name}.ln_2", x))
    return x + linear(t, f"{name}.mlp.c_proj", y * torch.sigmoid(1.702 * y))


def dense_clip(t: Tensors, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Joint embedding and the two taps, each (B, _, 24, 24), of a normalised picture."""
    v = f"{CLIP}visual."
    x = F.conv2d(image, t[f"{v}conv1.weight"], stride=2).flatten(2).transpose(1, 2)
    x = torch.cat([t[f"{v}class_embedding"].expand(len(x), 1, -1), x], dim=1)
    position = t[f"{v}positional_embedding"]
    grid = position[1:].reshape(1, 14, 14, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=(24, 24), mode="bicubic", align_corners=False)
    x = x + torch.cat([position[:1], grid[0].flatten(1).T])
    x = norm(t, f"{v}ln_pre", x)
    taps = []
    for index in (0, 1):
        x = clip_block(t, f"{v}transformer.resblocks.{index}", x, is_causal=False)
        taps.append(x)
    last = f"{v}transformer.resblocks.2"
    bias = t[f"{last}.attn.in_proj_bias"][-64:]
    value = norm(t, f"{last}.ln_1", x) @ t[f"{last}.attn.v_proj_weight"].T + bias
    x = linear(t, f"{last}.attn.out_proj", value) + x[:, :1]
    joint = norm(t, f"{v}ln_post", clip_mlp(t, last, x)) @ t[f"{v}proj"]
    maps = [y[:, 1:].transpose(1, 2).unflatten(2, (24, 24)) for y in (joint, *taps)]
    return maps[0], maps[1], maps[2]


def shift_mask(side: int, window: int, shift: int) -> Tensor:
    area = torch.zeros(side)
    area[side - window : side - shift], area[side - shift :] = 1, 2
    area = cut(3 * area[:, None] + area[None], window)
    return -100.0 * (area[:, :, None] != area[:, None, :])


def cut(x: Tensor, window: int) -> Tensor:
    """(H, W, ...) to (windows, window * window, ...)."""
    rows = [x[i : i + window] for i in range(0, x.shape[0], window)]
    cells = [r[:, j : j + window] for r in rows for j in range(0, x.shape[1], window)]
    return torch.stack([cell.flatten(0, 1) for cell in cells])


def paste(windows: Tensor, side: int, window: int) -> Tensor:
    cells = [cell.unflatten(0, (window, window)) for cell in windows]
    n = side // window
    return torch.cat([torch.cat(cells[i * n : (i + 1) * n], dim=1) for i in range(n)])


def swin(t: Tensors, name: str, x: Tensor, guidance: Tensor, shift: int) -> Tensor:
    """One class: x (24, 24, C), guidance (24, 24, A)."""
    y = torch.cat([norm(t, f"{name}.norm1", x), guidance], dim=-1).roll((-shift, -shift), (0, 1))
    y = cut(y, 12)
    q, k = (linear(t, f"{name}.attn.{part}", y).unflatten(-1, (4, -1)) for part in "qk")
    v = linear(t, f"{name}.attn.v", y[..., : x.shape[-1]]).unflatten(-1, (4, -1))
    scores = torch.einsum("wlhd,wmhd->whlm", q, k) / q.shape[-1] ** 0.5
    if shift:
        scores = scores + t[f"{name}.attn_mask"][:, None]
    found = torch.einsum("whlm,wmhd->wlhd", scores.softmax(dim=-1), v).flatten(-2)
    found = paste(linear(t, f"{name}.attn.proj", found), 24, 12).roll((shift, shift), (0, 1))
    x = x + found
    inner = F.gelu(linear(t, f"{name}.mlp.fc1", norm(t, f"{name}.norm2", x)))
    return x + linear(t, f"{name}.mlp.fc2", inner)


def among_classes(
    t: Tensors, name: str, x: Tensor, text: Tensor, most: int, pooling: int
) -> Tensor:
    """One picture: x (T, C, 24, 24), text (T, A)."""
    missing = max(0, most - len(x))
    p = F.avg_pool2d(x, pooling)
    size_hw = p.shape[2:]
    extra = t[f"{name}.padding_tokens"][0, :, :, None, None]
    p = torch.cat([p, extra.expand(missing, -1, *size_hw)])
    text = torch.cat([text, t[f"{name}.padding_guidance"][0].expand(missing, -1)])
    p = p.permute(2, 3, 0, 1).flatten(0, 1)  # (places, T + missing, C)
    y = norm(t, f"{name}.norm1", p)
    guided = torch.cat([y, text.expand(len(y), -1, -1)], dim=-1)
    q, k = (
        F.elu(linear(t, f"{name}.attention.{part}", guided)).add(1).unflatten(-1, (4, -1))
        for part in "qk"
    )
    v = linear(t, f"{name}.attention.v", y).unflatten(-1, (4, -1))
    q = q[:, : len(x)]
    weight = torch.einsum("pihd,pjhd->pihj", q, k)
    found = torch.einsum("pihj,pjhe->pihe", weight, v)
    found = found / (weight.sum(3, keepdim=True) + 1e-6)
    p = p[:, : len(x)] + found.flatten(2)
    inner = F.relu(linear(t, f"{name}.MLP.0", norm(t, f"{name}.norm2", p)))
    p = p + linear(t, f"{name}.MLP.2", inner)
    p = p.permute(1, 2, 0).unflatten(2, size_hw)
    return x + F.interpolate(p, size=(24, 24), mode="bilinear", align_corners=True)


def grow(t: Tensors, name: str, x: Tensor, skip: Tensor) -> Tensor:
    x = F.conv_transpose2d(x, t[f"{name}.up.weight"], t[f"{name}.up.bias"], stride=2)
    x = torch.cat([x, skip.expand(len(x), -1, -1, -1)], dim=1)
    for first in (0, 3):
        inside = f"{name}.conv.double_conv"
        x = F.conv2d(x, t[f"{inside}.{first}.weight"], padding=1)
        weight, bias = t[f"{inside}.{first + 1}.weight"], t[f"{inside}.{first + 1}.bias"]
        x = F.relu(F.group_norm(x, len(weight) // 16, weight, bias))
    return x


def reference(
    t: Tensors, pixels: Tensor, text: Tensor, *, most: int = 256, pooling: int = 1
) -> Tensor:
    """Logits of pixels in 0..255, from text embeddings (T, D)."""
    mean = torch.tensor([122.7709383, 116.7460125, 104.09373615])[:, None, None]
    deviation = torch.tensor([68.5005327, 66.6321579, 70.3231630])[:, None, None]
    image = F.interpolate((pixels - mean) / deviation, size=(48, 48), mode="bilinear")
    joint, tap1, tap2 = dense_clip(t, image)
    res4 = F.conv_transpose2d(tap1, t["upsample1.weight"], t["upsample1.bias"], stride=2)
    res5 = F.conv_transpose2d(tap2, t["upsample2.weight"], t["upsample2.bias"], stride=4)
    unit = F.normalize(text, dim=-1)
    pictures = []
    for b in range(len(pixels)):
        cosine = torch.einsum("dhw,td->thw", F.normalize(joint[b], dim=0), unit)
        kept = cosine.flatten(1).amax(1).topk(min(most, len(text))).indices
        x = conv(t, f"{HEAD}conv1", cosine[kept][:, None], padding=3)
        guidance = F.relu(conv(t, f"{HEAD}guidance_projection.0", joint[b : b + 1], padding=1))
        guidance = guidance[0].permute(1, 2, 0)
        own = F.relu(linear(t, f"{HEAD}text_guidance_projection.0", unit[kept]))
        for index in range(2):
            block = f"{HEAD}layers.{index}.swin_block"
            g = norm(t, f"{block}.guidance_norm", guidance)
            states = []
            for one in x:
                y = swin(t, f"{block}.block_1", one.permute(1, 2, 0), g, shift=0)
                states.append(swin(t, f"{block}.block_2", y, g, shift=6).permute(2, 0, 1))
            name = f"{HEAD}layers.{index}.attention"
            x = among_classes(t, name, torch.stack(states), own, most, pooling)
        for index, grown in enumerate((res4, res5)):
            project = f"{HEAD}decoder_guidance_projection.{index}.0"
            skip = F.relu(conv(t, project, grown[b : b + 1], padding=1))
            x = grow(t, f"{HEAD}decoder{index + 1}", x, skip)
        logits = torch.full((len(text), 96, 96), -100.0)
        logits[kept] = conv(t, f"{HEAD}head", x, padding=1)[:, 0]
        pictures.append(logits)
    return torch.stack(pictures)


def ours(network: CatSeg, pixels: Tensor, text: Tensor, class_chunk: int | None = None) -> Tensor:
    image = F.interpolate(pixels, size=(48, 48), mode="bilinear") / 255
    with torch.inference_mode():
        return network(image, text, class_chunk)


# --- agreement ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("num_classes", "most"),
    [(3, 256), (3, 8), (8, 8), (11, 8)],
    ids=["padded", "padded-to-few", "exact", "truncated"],
)
def test_the_converted_network_answers_as_the_published_one(
    network: CatSeg,
    tensors: Tensors,
    pixels: Tensor,
    num_classes: int,
    most: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(network.config, "max_classes", most)
    for layer in network.layers:
        monkeypatch.setattr(layer.classes, "pad_to", most)
    text = text_of(num_classes)
    expected = reference(tensors, pixels, text, most=most)
    assert expected.std() > 0.1
    torch.testing.assert_close(ours(network, pixels, text), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours(network, pixels, text, 2), expected, rtol=1e-4, atol=1e-4)


def test_the_pooling_of_training_answers_as_the_published_one(
    network: CatSeg, tensors: Tensors, pixels: Tensor
) -> None:
    text = text_of(3)
    expected = reference(tensors, pixels, text, pooling=2)
    network.train()
    found = ours(network, pixels, text)
    network.eval()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(ours(network, pixels, text), expected, atol=1e-2)


def test_the_text_tower_answers_as_the_published_one(network: CatSeg, tensors: Tensors) -> None:
    token = torch.tensor([[298, 5, 7, 299, 299, 299], [298, 9, 4, 250, 3, 299]])
    is_token = torch.tensor([[1, 1, 1, 1, 0, 0], [1] * 6])
    x = tensors[f"{CLIP}token_embedding.weight"][token]
    x = x + tensors[f"{CLIP}positional_embedding"][:6]
    for index in range(2):
        x = clip_block(tensors, f"{CLIP}transformer.resblocks.{index}", x, is_causal=True)
    x = norm(tensors, f"{CLIP}ln_final", x)[[0, 1], [3, 5]]
    expected = x @ tensors[f"{CLIP}text_projection"]
    with torch.inference_mode():
        found = network.encode_text(token, is_token)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


# --- the file -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "num_head", "num_clip"),
    [("vit-b-16", 4_669, 149_621), ("vit-l-14", 5_783, 427_944)],
)
def test_the_published_sizes_are_met(name: str, num_head: int, num_clip: int) -> None:
    with torch.device("meta"):
        network = CatSeg(CATSEG_PRESETS[name]())
    shapes = catseg_shapes(network)
    count = {n: torch.Size(s).numel() for n, s in shapes.items() if not n.endswith("attn_mask")}
    clip = sum(number for n, number in count.items() if n.startswith(CLIP))
    assert round(clip / 1000) == num_clip
    assert round((sum(count.values()) - clip) / 1000) == num_head
    assert config_from_shapes(shapes).to_dict() == network.config.to_dict()
    num_blocks = network.config.vision_config["num_hidden_layers"] + 12
    assert len([n for n in shapes if n.endswith("attn.in_proj_bias")]) == num_blocks
    for expected in (
        "upsample1.weight", "upsample2.bias", f"{HEAD}layers.1.swin_block.block_2.attn_mask",
        f"{HEAD}layers.0.swin_block.block_1.attn.q.weight", f"{HEAD}decoder2.up.bias",
        f"{HEAD}layers.1.attention.attention.v.weight", f"{HEAD}layers.0.attention.MLP.2.bias",
        f"{HEAD}decoder1.conv.double_conv.4.weight", f"{CLIP}visual.proj", f"{CLIP}logit_scale",
    ):  # fmt: skip
        assert expected in shapes


def test_each_tensor_of_the_file_is_one_of_the_network(network: CatSeg, tensors: Tensors) -> None:
    ours_left = list(network.state_dict().values())
    for name, tensor in tensors.items():
        if name.endswith(("attn_mask", "logit_scale")):
            continue  # a constant, and of no use
        is_turned = name.endswith((".proj", ".text_projection"))
        num_parts = 3 if name.endswith("in_proj_bias") else 1
        for part in (tensor.T if is_turned else tensor).chunk(num_parts):
            is_same = [torch.equal(own.flatten(), part.flatten()) for own in ours_left]
            assert is_same.count(True) == 1, name
            ours_left.pop(is_same.index(True))
    assert ours_left == []


def test_a_checkpoint_of_it_is_read_again(
    tmp_path: Path, network: CatSeg, published: Path, pixels: Tensor
) -> None:
    write_checkpoint(tmp_path, network)
    again = load_network(tmp_path, CatSeg)
    assert torch.equal(ours(again, pixels, text_of(3)), ours(network, pixels, text_of(3)))
    assert isinstance(load_any_network(tmp_path), CatSeg)
    origins = summarize_checkpoint(tmp_path).origins
    assert [(o.part, o.name) for o in origins] == [("CAT-Seg", published.name)]
    with pytest.raises(WeightsError, match="type 'escnet_catseg', not 'escnet'"):
        load_checkpoint(tmp_path)


def without(name: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {n: t for n, t in tensors.items() if n != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("upsample1.bias"), r"lacks 1 of \d+ tensors \(upsample1.bias\)"),
        (without(f"{HEAD}conv1.weight"), r"lacks \d+ of .*CAT-Seg's model_final.pth"),
        (lambda t: {**t, "logits": torch.ones(2)}, r"holds 1 that do not belong \(logits\)"),
        (
            lambda t: {**t, "upsample2.bias": torch.ones(3)},
            r"1 of another shape \(upsample2.bias is \[3\], not \[10\]\)",
        ),
        (
            lambda t: {
                **without("upsample2.weight")(t), "more": torch.ones(1),
                f"{HEAD}head.bias": torch.ones(2),
            },
            r"lacks 1 of .* holds 1 that do not belong .* has 1 of another shape",
        ),
        (lambda _: {"weight": torch.ones(1)}, r"lacks \d+ of \d+ tensors"),
        (
            lambda t: {**t, f"{CLIP}visual.conv1.weight": torch.ones(64, 3, 2)},
            "does not describe a network",
        ),
        (
            lambda t: {**t, "upsample2.bias": torch.full((10,), torch.nan)},
            r"infinite or no number in 1 of \d+ tensors \(upsample2\.bias\)",
        ),
        (
            lambda t: {**t, f"{CLIP}visual.class_embedding": torch.full((64,), torch.inf)},
            r"infinite or no number in 1 of \d+ tensors \(.*visual\.class_embedding\)",
        ),
    ],
)  # fmt: skip
def test_a_file_that_is_not_exactly_one_is_refused_in_one_error(
    tmp_path: Path, tensors: Tensors, change: Callable[[Tensors], Tensors], message: str
) -> None:
    path = tmp_path / "model.pth"
    torch.save({"model": change(tensors)}, path)
    with pytest.raises(WeightsError, match=message):
        read_catseg(path)


class NoCasts(TorchFunctionMode):
    """Within it nothing is converted to float32."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func is not Tensor.float, "a tensor was converted"
        return func(*args, **(kwargs or {}))


def test_shapes_are_checked_before_anything_is_made_larger(
    tmp_path: Path, tensors: Tensors
) -> None:
    path = tmp_path / "model.pth"
    torch.save({"model": {**tensors, "logits": torch.ones(2, dtype=torch.uint8)}}, path)
    with NoCasts(), pytest.raises(WeightsError, match="holds 1 that do not belong"):
        read_catseg(path)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="is a folder: give CAT-Seg's model_final"):
        read_catseg(tmp_path)


# --- the tokenizer --------------------------------------------------------------------------------


def test_the_tokenizer_comes_from_the_folder_that_is_given(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no tokenizer\.json in .*: give the folder of a CLIP"):
        tokenizer_folder(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}")
    assert tokenizer_folder(str(tmp_path)) == tmp_path


@pytest.mark.parametrize("name", ["no such folder/x", "a/" + "b" * 5000, "~no-such-user/x"])
def test_a_folder_that_is_not_there_is_one_error(name: str) -> None:
    with pytest.raises(WeightsError):
        tokenizer_folder(name)


def test_without_one_the_hubs_cache_is_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match=r"looked for openai/clip-vit-base-patch16, .*--clip"):
        tokenizer_folder()
    snapshot = tmp_path / "models--openai--clip-vit-large-patch14-336" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "tokenizer.json").write_text("{}")
    reference_file = snapshot.parents[1] / "refs" / "main"
    reference_file.parent.mkdir()
    reference_file.write_text("abc")
    assert tokenizer_folder() == snapshot
    assert tokenizer_folder("openai/clip-vit-large-patch14-336") == snapshot
