import pytest
import torch
import torch.nn.functional as F
from torch import nn

from escnet.mini.efficientnet_lite import EfficientNetLite, InvertedResidual, SameConv2d


@pytest.fixture(scope="module")
def net() -> EfficientNetLite:
    torch.manual_seed(0)
    net = EfficientNetLite()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):  # a fresh norm hides a swapped or a lost one
            module.get_buffer("running_mean").normal_(0, 0.1)
            module.get_buffer("running_var").uniform_(0.5, 1.5)
    return net.eval()


def test_it_has_the_parameters_of_the_published_network(net: EfficientNetLite) -> None:
    assert sum(parameter.numel() for parameter in net.parameters()) == 6_092_072


@torch.no_grad()
def test_the_maps_have_their_strides_and_channels(net: EfficientNetLite) -> None:
    maps = net(torch.randn(1, 3, 96, 64))
    assert maps.quarter.shape == (1, 24, 24, 16)
    assert maps.eighth.shape == (1, 48, 12, 8)
    assert maps.sixteenth.shape == (1, 120, 6, 4)
    assert maps.deep.shape == (1, 352, 3, 2)
    assert maps.head.shape == (1, 1280, 3, 2)


@torch.no_grad()
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 9), (8, 5)])
def test_the_odd_pixel_of_the_padding_goes_to_the_right_and_bottom(
    kernel: int, stride: int, height: int, width: int
) -> None:
    conv = SameConv2d(4, 4, kernel, stride=stride, groups=4)
    x = torch.randn(2, 4, height, width, generator=torch.Generator().manual_seed(0))
    out_h, out_w = -(-height // stride), -(-width // stride)
    need_h = max((out_h - 1) * stride + kernel - height, 0)
    need_w = max((out_w - 1) * stride + kernel - width, 0)
    padded = torch.zeros(2, 4, height + need_h, width + need_w)
    padded[:, :, need_h // 2 :, need_w // 2 :][:, :, :height, :width] = x
    expected = F.conv2d(padded, conv.weight, stride=stride, groups=4)
    assert expected.shape[2:] == (out_h, out_w)
    torch.testing.assert_close(conv(x), expected)


@torch.no_grad()
def test_a_block_adds_its_input_only_where_the_shape_stays() -> None:
    x = torch.randn(1, 8, 6, 6, generator=torch.Generator().manual_seed(0))
    for width, channels, stride, adds in ((8, 8, 1, True), (8, 8, 2, False), (8, 12, 1, False)):
        block = InvertedResidual(width, channels, 3, stride, 6).eval()
        state = block.state_dict()
        state["_bn2.weight"].zero_()  # nothing but the residual is left
        found = block(x)
        assert found.equal(x) if adds else found.eq(0).all()


@torch.no_grad()
def test_a_block_expands_filters_and_projects() -> None:
    block = InvertedResidual(4, 4, 5, 1, 3).eval()
    x = 3 * torch.randn(2, 4, 6, 7, generator=torch.Generator().manual_seed(0))
    fresh = (1 + 1e-3) ** -0.5  # what a batch norm without statistics multiplies with
    inner = (F.conv2d(x, block._expand_conv.weight) * fresh).clamp(0, 6)
    inner = F.conv2d(inner, block._depthwise_conv.weight, padding=2, groups=12)
    inner = (inner * fresh).clamp(0, 6)
    expected = x + F.conv2d(inner, block._project_conv.weight) * fresh
    torch.testing.assert_close(block(x), expected)


@torch.no_grad()
def test_a_label_is_read_at_every_place_as_from_a_picture_of_its_own(net: EfficientNetLite) -> None:
    head = torch.randn(2, 1280, 2, 3, generator=torch.Generator().manual_seed(0))
    found = net.label_logits(head)
    for y in range(2):
        for x in range(3):
            expected = net._fc(head[:, :, y, x])
            torch.testing.assert_close(found[:, :, y, x], expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_a_batch_equals_its_single_pictures(net: EfficientNetLite) -> None:
    images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    together = net(images)
    for index in range(3):
        alone = net(images[index : index + 1])
        for ours, theirs in zip(together, alone, strict=True):
            torch.testing.assert_close(ours[index : index + 1], theirs, atol=1e-4, rtol=1e-4)


def test_a_trained_channelwise_convolution_is_in_single_precision_on_a_processor() -> None:
    """There its gradient would take three times as long; what comes out is as autocast wants it."""
    torch.manual_seed(0)
    conv = SameConv2d(8, 8, 3, stride=1, groups=8)
    x = torch.randn(1, 8, 12, 12).bfloat16()
    expected = conv(x.float())
    expected.sum().backward()
    assert conv.weight.grad is not None
    gradient = conv.weight.grad.clone()
    conv.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        trained = conv(x)
        with torch.no_grad():
            rounded = conv(x)
        whole = SameConv2d(8, 8, 3, stride=1)(x)
    assert trained.dtype == rounded.dtype == whole.dtype == torch.bfloat16
    assert trained.equal(expected.bfloat16())
    assert not rounded.equal(trained)
    trained.float().sum().backward()
    torch.testing.assert_close(conv.weight.grad, gradient)
