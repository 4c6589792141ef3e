"""The whole network: what must stay equal whatever the settings."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from escnet.model.config import EscNetConfig, preset
from escnet.model.correlation import correlation_map
from escnet.model.escnet import EscNet, Prediction
from escnet.towers.patches import Patches

MakeNetwork = Callable[..., EscNet]
MakePatches = Callable[..., Patches]

# Every choice that changes what is computed, one at a time and in the mixtures that could clash.
SETTINGS: list[dict[str, Any]] = [
    {},
    {"prompts": ["point"]},
    {"prompts": ["box"]},
    {"prompts": ["mask"]},
    {"prompts": ["point", "box"]},
    {"prompts": ["box", "mask"]},
    {"prompts": ["point", "box", "mask"], "empty_region": "repeat"},
    {"sam": "none"},
    {"sam_layers": "alternate"},
    {"language_attention": "classes"},
    {"merge": "evidence"},
    {"text_token": True},
    {"sam_masks": True},
    {"sam_masks": True, "sam_layers": "alternate", "prompts": ["box"], "state": "scalar"},
    {"mask_prompt": "union", "mask_scale": 8.0},
    {"mask_prompt": "separate"},
    {"softmax": "class"},
    {"state": "scalar"},
    {"appearance": "restart"},
    {"correlation_residual": True},
    {"window": 3},
    {"num_blocks": 3, "language_attention": "classes", "state": "scalar", "merge": "evidence"},
]
TABLE_2 = [{"sam": "none"}, {"sam": "random"}, {"sam": "pretrained"}]
TABLE_3 = [
    {"prompts": prompts}
    for prompts in (
        ["point"],
        ["box"],
        ["point", "box"],
        ["point", "mask"],
        ["box", "mask"],
        ["point", "box", "mask"],
    )
]


def name_of(settings: dict[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in settings.items()) or "default"


all_settings = pytest.mark.parametrize("settings", SETTINGS, ids=name_of)


def assert_same(found: Prediction, expected: Prediction, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(found.logits, expected.logits, atol=tolerance, rtol=tolerance)
    ours, theirs = found.evidence + found.appearance, expected.evidence + expected.appearance
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=tolerance, rtol=tolerance)


@torch.no_grad()
@all_settings
def test_chunks_of_names_change_nothing(
    tiny_network: MakeNetwork,
    make_patches: MakePatches,
    text_embedding: Tensor,
    settings: dict[str, Any],
) -> None:
    network, patches = tiny_network(**settings), make_patches(h=4, w=5)
    whole = network.segment(patches, text_embedding)
    for class_chunk in (1, 3, 6, 7, 50):
        assert_same(network.segment(patches, text_embedding, class_chunk), whole)


@torch.no_grad()
@all_settings
def test_reordering_the_names_reorders_the_maps(
    tiny_network: MakeNetwork,
    make_patches: MakePatches,
    text_embedding: Tensor,
    settings: dict[str, Any],
) -> None:
    network, patches = tiny_network(**settings), make_patches(h=5, w=3)
    order = [4, 2, 6, 0, 1, 5, 3]
    whole = network.segment(patches, text_embedding)
    found = network.segment(patches, text_embedding[order])
    torch.testing.assert_close(found.logits, whole.logits[:, order], atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(found.evidence, whole.evidence, strict=True):
        torch.testing.assert_close(ours, theirs[:, order], atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(found.appearance, whole.appearance, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@all_settings
def test_a_batch_equals_its_single_pictures(
    tiny_network: MakeNetwork,
    make_patches: MakePatches,
    text_embedding: Tensor,
    settings: dict[str, Any],
) -> None:
    network, patches = tiny_network(**settings), make_patches(num_pictures=3, h=4, w=4)
    together = network.segment(patches, text_embedding)
    for index in range(3):
        own = slice(index, index + 1)
        alone = network.segment(patches.of_picture(index), text_embedding)
        assert_same(
            alone, Prediction(together.logits[own], *_cut(together, own), place=together.place[own])
        )


def _cut(prediction: Prediction, pictures: slice) -> tuple[list[Tensor], list[Tensor]]:
    return [x[pictures] for x in prediction.evidence], [x[pictures] for x in prediction.appearance]


@torch.no_grad()
@all_settings
@pytest.mark.parametrize(("h", "w"), [(1, 1), (2, 7)])
def test_a_single_name_on_any_grid_gives_finite_logits(
    tiny_network: MakeNetwork,
    make_patches: MakePatches,
    text_embedding: Tensor,
    settings: dict[str, Any],
    h: int,
    w: int,
) -> None:
    logits = tiny_network(**settings).segment(make_patches(h=h, w=w), text_embedding[:1]).logits
    assert logits.shape == (2, 1, 4 * h, 4 * w)
    assert logits.isfinite().all()


@torch.no_grad()
def test_two_thousand_names_are_two_thousand_maps(
    tiny_network: MakeNetwork, make_patches: MakePatches
) -> None:
    network, patches = tiny_network(), make_patches(num_pictures=1)
    text = torch.randn(2000, 16, generator=torch.Generator().manual_seed(5))
    found = network.segment(patches, text, class_chunk=300)
    assert found.logits.shape == (1, 2000, 16, 16)
    assert found.logits.isfinite().all()
    assert_same(found, network.segment(patches, text, class_chunk=77), tolerance=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("settings", [s for s in SETTINGS if s.get("sam") != "none"], ids=name_of)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_single(
    tiny_network: MakeNetwork,
    make_patches: MakePatches,
    text_embedding: Tensor,
    settings: dict[str, Any],
    dtype: torch.dtype,
) -> None:
    # One block: a later one reads its prompts off rounded maps, where points may move.
    network, patches = tiny_network(**{**settings, "num_blocks": 1}), make_patches()
    expected = network.segment(patches, text_embedding).logits
    with torch.autocast("cpu", dtype):
        found = network.segment(patches, text_embedding, class_chunk=3).logits.float()
    largest = 0.1 if dtype is torch.bfloat16 else 0.02
    assert (found - expected).abs().max() < largest * expected.abs().max()


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_whole_network_runs_in_half_precision(
    tiny_network: MakeNetwork, text_embedding: Tensor, dtype: torch.dtype
) -> None:
    network = tiny_network()
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    with torch.autocast("cpu", dtype):
        logits = network(image, text_embedding)
    assert logits.shape == (1, 7, 16, 16)
    assert logits.isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(32, 32), (16, 40), (64, 24)])
def test_forward_is_the_tower_and_then_the_rest_on_any_grid(
    tiny_network: MakeNetwork, text_embedding: Tensor, height: int, width: int
) -> None:
    network = tiny_network()
    image = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(4))
    logits = network(image, text_embedding)
    assert logits.shape == (2, 7, height // 2, width // 2)
    expected = network.segment(network.vision(image), text_embedding).logits
    torch.testing.assert_close(logits, expected)


@torch.no_grad()
def test_the_network_is_figure_2_written_out(
    tiny_network: MakeNetwork, make_patches: MakePatches, text_embedding: Tensor
) -> None:
    network, patches = tiny_network(), make_patches()
    correlation = network.logit_scale * correlation_map(patches.joint, text_embedding)
    correlation = correlation + network.logit_shift
    state = network.embed(correlation.flatten(0, 1)[:, None]).permute(0, 2, 3, 1)
    state = state.unflatten(0, (2, 7))
    appearance = network.sam_norm(network.to_sam_width(patches.joint)).permute(0, 2, 3, 1)
    evidence, seen = [correlation], []
    for block, read_out in zip(network.blocks, network.read_out, strict=True):
        state, appearance, _ = block(
            state, appearance, evidence[-1], text_embedding[None], network.prompt_encoder
        )
        evidence.append(correlation + read_out(state)[..., 0])
        seen.append(appearance)
    logits = network.decoder(state, patches.skips)
    found = network.segment(patches, text_embedding)
    assert_same(found, Prediction(logits, evidence, seen, place=found.place))


@torch.no_grad()
def test_chain_or_restart_differ_from_the_second_block_on(
    tiny_network: MakeNetwork, make_patches: MakePatches, text_embedding: Tensor
) -> None:
    patches = make_patches()
    chain = tiny_network(appearance="chain").segment(patches, text_embedding)
    restart = tiny_network(appearance="restart").segment(patches, text_embedding)
    torch.testing.assert_close(chain.appearance[0], restart.appearance[0])
    assert not torch.allclose(chain.appearance[1], restart.appearance[1])


@torch.no_grad()
def test_with_restart_every_block_refines_the_image_embedding(
    tiny_network: MakeNetwork, make_patches: MakePatches, text_embedding: Tensor
) -> None:
    network, patches = tiny_network(appearance="restart", sam="none"), make_patches()
    first = network.sam_norm(network.to_sam_width(patches.joint)).permute(0, 2, 3, 1)
    for appearance in network.segment(patches, text_embedding).appearance:
        torch.testing.assert_close(appearance, first)


@torch.no_grad()
def test_a_scalar_state_carries_only_a_map_to_the_next_block(
    tiny_network: MakeNetwork, make_patches: MakePatches, text_embedding: Tensor
) -> None:
    network, patches = tiny_network(state="scalar"), make_patches()
    network.read_out[0].get_parameter("weight").zero_()
    network.read_out[0].get_parameter("bias").zero_()
    network.blocks[0].get_submodule("sam").get_parameter("take.weight").zero_()
    network.blocks[0].get_submodule("sam").get_parameter("keep.weight").copy_(torch.eye(32))
    before = network.segment(patches, text_embedding).logits
    for parameter in network.blocks[0].get_submodule("fusion").parameters():
        parameter.add_(1.0)  # it can only speak through the map, which does not listen
    torch.testing.assert_close(network.segment(patches, text_embedding).logits, before)


@torch.no_grad()
def test_the_residual_adds_the_last_blocks_map_upsampled(
    tiny_network: MakeNetwork, make_patches: MakePatches, text_embedding: Tensor
) -> None:
    patches = make_patches()
    residual = tiny_network(correlation_residual=True)
    plain = tiny_network()
    plain.load_state_dict(residual.state_dict())
    bare = plain.segment(patches, text_embedding)
    last = bare.evidence[-1]
    added = F.interpolate(last, size=(16, 16), mode="bilinear", align_corners=False)
    assert not torch.allclose(last, bare.evidence[0])
    expected = bare.logits + added
    torch.testing.assert_close(residual.segment(patches, text_embedding).logits, expected)


def test_a_fresh_network_reads_its_prompts_off_the_correlation(
    make_patches: MakePatches, text_embedding: Tensor
) -> None:
    fresh = EscNet(preset("tiny"))
    first, *rest = fresh.segment(make_patches(), text_embedding).evidence
    assert len(rest) == 2
    for evidence in rest:
        torch.testing.assert_close(evidence, first)


def test_with_the_residual_a_fresh_network_answers_with_the_correlation(
    make_patches: MakePatches, text_embedding: Tensor
) -> None:
    config = EscNetConfig.from_dict({**preset("tiny").to_dict(), "correlation_residual": True})
    fresh, patches = EscNet(config), make_patches()
    correlation = fresh.correlate(patches, text_embedding)
    expected = F.interpolate(correlation, scale_factor=4, mode="bilinear", align_corners=False)
    torch.testing.assert_close(fresh.segment(patches, text_embedding).logits, expected)


def gradients(network: EscNet, patches: Patches, text: Tensor) -> dict[str, Tensor]:
    network.zero_grad()
    found = network.segment(patches, text)
    loss = found.logits.square().mean() + sum(x.square().mean() for x in found.evidence)
    loss.backward()
    return {
        name: parameter.grad.clone()
        for name, parameter in network.named_parameters()
        if parameter.grad is not None
    }


@pytest.mark.parametrize(
    "settings",
    [{}, {"sam_masks": True}, {"language_attention": "classes", "state": "scalar"}],
    ids=name_of,
)
def test_checkpointing_gives_the_same_gradients(
    tiny_network: MakeNetwork,
    make_patches: MakePatches,
    text_embedding: Tensor,
    settings: dict[str, Any],
) -> None:
    network, patches = tiny_network(**settings).train(), make_patches()
    plain = gradients(network, patches, text_embedding)
    network.gradient_checkpointing = True
    saved = gradients(network, patches, text_embedding)
    assert plain.keys() == saved.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(saved[name], gradient, msg=name)


def test_checkpointing_runs_every_block_twice(
    tiny_network: MakeNetwork, make_patches: MakePatches, text_embedding: Tensor
) -> None:
    network, patches = tiny_network().train(), make_patches()
    calls: list[int] = []
    for index, block in enumerate(network.blocks):
        block.register_forward_pre_hook(lambda *_, index=index: calls.append(index))
    network.gradient_checkpointing = True
    gradients(network, patches, text_embedding)
    assert sorted(calls) == [0, 0, 1, 1]


@pytest.mark.parametrize("settings", [*TABLE_2, *TABLE_3, {"sam_masks": True}], ids=name_of)
def test_the_variants_of_tables_2_and_3_learn(
    tiny_network: MakeNetwork, text_embedding: Tensor, settings: dict[str, Any]
) -> None:
    network = tiny_network(**settings).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    image = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    target = torch.rand(2, 7, 16, 16, generator=torch.Generator().manual_seed(5)).round()
    losses = []
    for _ in range(4):
        loss = F.binary_cross_entropy_with_logits(network(image, text_embedding), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("sam_masks", [False, True])
def test_every_parameter_of_the_blocks_is_trained_but_for_the_prompts_not_used(
    tiny_network: MakeNetwork, make_patches: MakePatches, text_embedding: Tensor, sam_masks: bool
) -> None:
    network = tiny_network(prompts=["point", "box", "mask"], sam_masks=sam_masks).train()
    trained = gradients(network, make_patches(), text_embedding)
    idle = {name for name, _ in network.named_parameters() if name not in trained}
    # The towers took no part here. Negative points and "no mask" are prompts that never occur.
    assert {name for name in idle if not name.startswith(("vision.", "text."))} == {
        "prompt_encoder.point_embeddings.0.weight",
        "prompt_encoder.no_mask_embed.weight",
    }


@torch.no_grad()
def test_masks_join_the_state_of_their_own_class_alone(
    tiny_network: MakeNetwork, make_patches: MakePatches, text_embedding: Tensor
) -> None:
    network, patches = tiny_network(num_blocks=1, sam_masks=True), make_patches()
    plain = tiny_network(num_blocks=1)
    plain.load_state_dict(network.state_dict(), strict=False)
    block, sam = network.blocks[0], network.blocks[0].sam
    drawn = torch.zeros(2, 7, 4, 4)
    drawn[:, 3] = torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(6))
    block.embed_mask.bias.zero_()
    sam.register_forward_hook(lambda _, __, answer: answer._replace(drawn=drawn))
    with_mask = network.segment(patches, text_embedding)
    without = plain.segment(patches, text_embedding)
    others = [0, 1, 2, 4, 5, 6]
    torch.testing.assert_close(with_mask.logits[:, others], without.logits[:, others])
    assert not torch.allclose(with_mask.logits[:, 3], without.logits[:, 3], atol=1e-3)


@torch.no_grad()
def test_a_map_is_half_the_correlation_and_half_what_the_last_masks_draw(
    tiny_network: MakeNetwork, make_patches: MakePatches, text_embedding: Tensor
) -> None:
    network, patches = tiny_network(sam_masks=True), make_patches()
    generator = torch.Generator().manual_seed(6)
    drawn = [torch.randn(2, 7, 4, 4, generator=generator) for _ in network.blocks]
    for block, own in zip(network.blocks, drawn, strict=True):
        block.sam.register_forward_hook(lambda _, __, answer, own=own: answer._replace(drawn=own))
    for layer in network.read_out:
        layer.weight.zero_()
        layer.bias.zero_()
    correlation, *later = network.segment(patches, text_embedding).evidence
    for found, own in zip(later, drawn, strict=True):
        torch.testing.assert_close(found, (correlation + own) / 2)
    without = network.segment(patches, text_embedding, with_sam=False).evidence
    assert all(torch.equal(one, correlation) for one in without)


def test_without_masks_nothing_is_there_that_was_not_there_before(
    tiny_network: MakeNetwork,
) -> None:
    old = preset("tiny").to_dict()
    del old["sam_masks"]  # as in the files of checkpoints that are older than the setting
    network = EscNet(EscNetConfig.from_dict(old))
    assert not network.config.sam_masks
    with_masks = tiny_network(sam_masks=True).state_dict().keys()
    added = {name for name in with_masks if ".mask_head." in name or ".embed_mask." in name}
    assert len(added) > 0
    assert network.state_dict().keys() == with_masks - added


_SMALL = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
TOWERS: list[dict[str, Any]] = [
    {},
    {"towers": "siglip"},
    {
        "towers": "vision-text-dual-encoder",
        "vision_config": {**_SMALL, "image_size": 32, "patch_size": 8, "projection_dim": 16},
        "text_config": {**_SMALL, "model_type": "bert", "vocab_size": 300, "projection_dim": 16},
    },
]


def with_own_width(settings: dict[str, Any]) -> dict[str, Any]:
    """SigLIP's towers have no projection: their own width is the joint space."""
    return {**settings, "joint_dim": 32} if settings.get("towers") == "siglip" else settings


@torch.no_grad()
@pytest.mark.parametrize("settings", TOWERS, ids=name_of)
def test_a_saved_network_is_the_same_when_loaded(
    tiny_network: MakeNetwork, tmp_path: Path, settings: dict[str, Any]
) -> None:
    network = tiny_network(**with_own_width(settings))
    network.save_pretrained(tmp_path)
    again = EscNet.from_pretrained(tmp_path).eval()
    assert again.config.to_dict().keys() == network.config.to_dict().keys()
    size = network.config.image_size
    image = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(4))
    token = torch.tensor([[298, 5, 7, 299], [298, 9, 4, 299]])
    for model in (network, again):
        assert not model.training
    text = network.encode_text(token, torch.ones_like(token))
    assert text.shape == (2, network.config.joint_dim)
    torch.testing.assert_close(again.encode_text(token, torch.ones_like(token)), text)
    torch.testing.assert_close(again(image, text), network(image, text))


@torch.no_grad()
@pytest.mark.parametrize(
    ("settings", "dtype"),
    [
        *((settings, torch.bfloat16) for settings in TOWERS),
        ({"prompts": ("point", "box", "mask"), "text_token": True}, torch.bfloat16),
        ({"sam_masks": True}, torch.float16),
    ],
)
def test_a_network_whose_weights_are_in_half_precision_stays_near_single(
    tiny_network: MakeNetwork, tmp_path: Path, settings: dict[str, Any], dtype: torch.dtype
) -> None:
    network = tiny_network(**with_own_width(settings))
    network.save_pretrained(tmp_path)
    half = EscNet.from_pretrained(tmp_path, dtype=dtype).eval()
    size = network.config.image_size
    image = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(4))
    text = torch.randn(3, network.config.joint_dim, generator=torch.Generator().manual_seed(5))
    expected = network(image, text)
    found = half(image.to(dtype), text.to(dtype))
    largest = 0.2 if dtype is torch.bfloat16 else 0.05
    assert (found.float() - expected).abs().max() < largest * expected.abs().max()


class AfterTowers(torch.nn.Module):
    """The network from what its vision tower gave, as an exporter wants it: tensors alone."""

    def __init__(self, network: EscNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, joint: Tensor, coarse: Tensor, fine: Tensor, text: Tensor) -> Tensor:
        return self.network.segment(Patches(joint, (coarse, fine)), text).logits


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Exporters trace with sizes that are symbols, which the shape checks cannot compare."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def example(num_pictures: int, num_names: int, make_patches: MakePatches) -> tuple[Tensor, ...]:
    patches = make_patches(num_pictures=num_pictures, h=4, w=4, seed=num_names)
    text = torch.randn(num_names, 16, generator=torch.Generator().manual_seed(num_names))
    return patches.joint, *patches.skips, text


def free_axes() -> tuple[dict[int, Any], ...]:
    pictures, names = torch.export.Dim("B"), torch.export.Dim("N")
    return {0: pictures}, {0: pictures}, {0: pictures}, {0: names}


@torch.no_grad()
@pytest.mark.usefixtures("unchecked")
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "settings",
    [
        {},
        pytest.param({"sam_masks": True}, marks=pytest.mark.slow),
        pytest.param({"language_attention": "classes"}, marks=pytest.mark.slow),
    ],
    ids=name_of,
)
def test_an_exported_network_takes_another_number_of_pictures_and_names(
    tiny_network: MakeNetwork, make_patches: MakePatches, settings: dict[str, Any]
) -> None:
    network = AfterTowers(tiny_network(num_blocks=1, **settings)).eval()
    inputs = example(2, 3, make_patches)
    program = torch.export.export(network, inputs, dynamic_shapes=free_axes(), strict=False)
    for sizes in ((2, 3), (3, 11)):
        inputs = example(*sizes, make_patches)
        torch.testing.assert_close(
            program.module()(*inputs), network(*inputs), atol=1e-5, rtol=1e-5
        )


@torch.no_grad()
@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
@pytest.mark.filterwarnings("ignore")
def test_onnxruntime_computes_what_torch_computes_for_another_number_of_names(
    tiny_network: MakeNetwork, make_patches: MakePatches, tmp_path: Path
) -> None:
    network = AfterTowers(tiny_network()).eval()
    program = torch.onnx.export(
        network,
        example(2, 3, make_patches),
        dynamo=True,
        dynamic_shapes=free_axes(),
        verbose=False,
    )
    assert program is not None
    program.save(tmp_path / "network.onnx")
    session = onnxruntime.InferenceSession(
        tmp_path / "network.onnx", providers=["CPUExecutionProvider"]
    )
    for sizes in ((2, 3), (2, 9), (1, 150)):
        inputs = example(*sizes, make_patches)
        named = {slot.name: x.numpy() for slot, x in zip(session.get_inputs(), inputs, strict=True)}
        found = torch.from_numpy(session.run(None, named)[0])
        torch.testing.assert_close(found, network(*inputs), atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(
    "settings",
    [{}, {"appearance": "restart"}, {"state": "scalar"}, {"sam_masks": True}],
    ids=name_of,
)
def test_without_sam_is_a_network_that_takes_nothing_from_its_answers(
    tiny_network: MakeNetwork,
    make_patches: MakePatches,
    text_embedding: Tensor,
    settings: dict[str, Any],
) -> None:
    network, patches = tiny_network(**settings), make_patches()
    full = network.segment(patches, text_embedding)
    without = network.segment(patches, text_embedding, with_sam=False)
    for block in network.blocks:
        block.sam.take.weight.zero_()
        block.sam.register_forward_hook(lambda _, __, answer: answer._replace(drawn=None))
    assert_same(without, network.segment(patches, text_embedding))
    assert not torch.allclose(without.logits, full.logits, atol=1e-3)
