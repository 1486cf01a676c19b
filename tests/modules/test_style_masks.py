"""Whitening-coloring by regions, and of several styles at once."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import covlayers as cl
from covlayers.functional import InvalidTypeError
from tests.built import features
from tests.style_reference import EPS, LAYERS, halves, pair, transferred

each = pytest.mark.parametrize("name", LAYERS)


@each
def test_soft_regions_are_the_formula_with_weights(name: str) -> None:
    groups, layer = LAYERS[name]
    content, style = pair()
    masks, own = halves(soft=True), torch.rand(1, 2, 4, 3).double()
    expected = content
    for m, v, one in zip(masks[0], own[0], (style, -style), strict=True):
        y = transferred(content, one, groups, EPS[name], m, v)
        expected = expected + m * (y - content)
    y = layer()(content, [style, -style], content_mask=masks, style_mask=own)
    assert_close(y, expected, rtol=1e-8, atol=1e-8)
    listed = layer()(content, [style, -style], content_mask=masks, style_mask=list(own.unbind(1)))
    assert torch.equal(listed, y)


def test_few_positions_of_a_region_shrink_the_covariance() -> None:
    content, style = pair()
    few, other = torch.zeros(5, 4).double(), torch.zeros(4, 3).double()
    few[1, 1:], other[0] = torch.tensor([1.0, 0.5, 0.3]), torch.tensor([0.2, 1.0, 0.4])
    layer = cl.WhiteningColoring(eps=0.0)
    y = layer(content, style, content_mask=few[None, None], style_mask=other[None, None])
    expected = content + few * (transferred(content, style, 1, 0.0, few, other) - content)
    assert_close(y, expected, rtol=1e-8, atol=1e-8)


@each
def test_masks_of_ones_change_nothing(name: str) -> None:
    layer = LAYERS[name][1]()
    content, style = pair()
    ones = torch.ones(1, 1, 5, 4, dtype=torch.bool)
    y = layer(content, style)
    assert_close(layer(content, style, content_mask=ones), y)
    assert_close(layer(content, style, style_mask=torch.ones(2, 1, 4, 3)), y)
    assert_close(layer(content, [style], content_mask=ones, style_mask=[torch.ones(1, 4, 3)]), y)


@each
def test_a_region_is_what_it_is_alone(name: str) -> None:
    layer = LAYERS[name][1](alpha=0.8)
    content, style = pair()
    masks, own = halves(), torch.arange(4).eq(1)[:, None].logical_not().expand(1, 1, 4, 3)
    y = layer(content, style, content_mask=masks[:, :1], style_mask=own)
    alone = layer(content[..., :2], style[..., [0, 2, 3], :])
    assert_close(y[..., :2], alone)
    assert torch.equal(y[..., 2:], content[..., 2:])
    once = layer(content, [style, -style], content_mask=masks)
    first = layer(content, style, content_mask=masks[:, :1])
    assert_close(once, layer(first, -style, content_mask=masks[:, 1:]))
    boolean = layer(content, [style, -style], content_mask=masks.bool())
    assert torch.equal(boolean, once)


@each
def test_what_lies_outside_the_masks_does_not_count(name: str) -> None:
    layer = LAYERS[name][1]()
    content, style = pair()
    masks, own = halves()[:, :1], torch.ones(1, 1, 4, 3)
    own[..., 0, :] = 0
    expected = layer(content, style, content_mask=masks, style_mask=own)
    content[..., 3], style[..., 0, :] = torch.nan, torch.inf
    y = layer(content, style, content_mask=masks, style_mask=own)
    assert_close(y[..., :3], expected[..., :3])


def test_pairs_of_regions_of_one_style() -> None:
    layer = cl.WhiteningColoring()
    content, style = pair()
    masks, own = halves(), torch.stack([torch.arange(4) < 2, torch.arange(4) > 1])
    own = own[None, :, :, None].expand(2, 2, 4, 3)
    y = layer(content, style, content_mask=masks, style_mask=own)
    for r in range(2):
        content = layer(
            content, style, content_mask=masks[:, r : r + 1], style_mask=own[:, r : r + 1]
        )
    assert_close(y, content)


@each
def test_regions_of_no_or_one_position(name: str) -> None:
    layer = LAYERS[name][1]()
    for dtype in (torch.float32, torch.float64):
        content, style = (x.requires_grad_() for x in pair(dtype))
        none = torch.zeros(1, 1, 5, 4, dtype=dtype, requires_grad=True)
        y = layer(content, style, content_mask=none)
        assert torch.equal(y, content)
        grads = torch.autograd.grad(y.square().sum(), (content, style, none))
        assert all(grad.isfinite().all() for grad in grads)
        one = torch.arange(20).view(1, 1, 5, 4).eq(9)
        outlier = content + 1e3 * torch.arange(20).view(1, 1, 5, 4).eq(0)
        y = layer(outlier, style, content_mask=one)
        assert_close(y[..., 2, 1], style.mean((2, 3)), rtol=1e-5, atol=1e-5)
        y = layer(content, style, content_mask=one)
        assert torch.equal(y[(~one).expand_as(y)], content[(~one).expand_as(y)])


@each
def test_constant_masks_are_weights(name: str) -> None:
    layer = LAYERS[name][1](alpha=0.8)
    content, style = pair()
    masks = torch.tensor([0.25, 0.75]).double()[None, :, None, None].expand(1, 2, 5, 4)
    by_mask = layer(content, [style, -style], content_mask=masks)
    for weights in ([1, 3], torch.tensor([0.5, 1.5])):
        assert_close(layer(content, [style, -style], weights=weights), by_mask)


@each
def test_a_mixture_is_the_mean_of_its_parts(name: str) -> None:
    layer = LAYERS[name][1]()
    content, style = pair()
    styles = [style, features(1, seed=5).double(), -style[:, :, :2]]
    parts = torch.stack([layer(content, one) for one in styles])
    assert_close(layer(content, styles), parts.mean(0))
    for weights in ([2.0, 5.0, 1.0], torch.tensor([2.0, 5.0, 1.0])):
        expected = (2 * parts[0] + 5 * parts[1] + parts[2]) / 8
        assert_close(layer(content, tuple(styles), weights=weights), expected)
    assert_close(layer(content, styles, weights=[0, 1, 0]), parts[1])


@each
def test_the_order_of_positions_and_the_neighbours_do_not_matter(name: str) -> None:
    layer = LAYERS[name][1]()
    content, style = (x.flatten(2) for x in pair())
    mask = torch.rand(2, 1, 20).double()
    y = layer(content, style, content_mask=mask)
    order = torch.randperm(20)
    shuffled = layer(content[..., order], style.flip(-1), content_mask=mask[..., order])
    assert_close(shuffled, y[..., order])
    alone = layer(content[1:], style[1:], content_mask=mask[1:])
    assert_close(alone, y[1:])
    shared = layer(content, style[:1], content_mask=mask[:1])
    both = layer(content, style[:1].expand(2, 6, 12), content_mask=mask[:1].expand(2, 1, 20))
    assert_close(shared, both)
    for spoilt in (content, style):
        spoilt[0, 1, 2] = torch.nan
        y = layer(content, style, content_mask=mask)
        assert y[0].isnan().any()
        assert_close(y[1:], alone)


def test_gradient_reaches_masks_and_weights() -> None:
    content, style = (x[:1, :3, :2, :3].contiguous().requires_grad_() for x in pair())
    masks = (0.2 + 0.2 * torch.rand(1, 2, 2, 3).double()).requires_grad_()
    own = (0.2 + 0.5 * torch.rand(1, 2, 2, 3).double()).requires_grad_()
    weights = torch.tensor([0.5, 2.0]).double().requires_grad_()
    layer = cl.WhiteningColoring(0.7)

    def placed(content: Tensor, style: Tensor, masks: Tensor, own: Tensor) -> Tensor:
        return layer(content, [style, style**2], content_mask=masks, style_mask=own)

    def mixed(content: Tensor, style: Tensor, weights: Tensor) -> Tensor:
        return layer(content, [style, style**2], weights=weights)

    for f, inputs in ((placed, (content, style, masks, own)), (mixed, (content, style, weights))):
        assert torch.autograd.gradcheck(f, inputs)
        assert torch.autograd.gradgradcheck(f, inputs, fast_mode=True)
    few = own.detach().clone()
    few[0, 0, 0], few[0, 1, 1] = 0, 0  # three positions of three channels: shrunk
    few.requires_grad_()
    f = lambda content, style: placed(content, style, masks.detach(), few.detach())
    assert torch.autograd.gradcheck(f, (content, style))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@each
def test_half_features_and_memory_formats(name: str, dtype: torch.dtype) -> None:
    layer = LAYERS[name][1]()
    content, style = pair(dtype)
    masks = halves(soft=True).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(content, [style, -style], content_mask=masks)
    assert y.dtype == dtype
    assert y.is_contiguous()
    upper = layer(content.float(), [style.float(), -style.float()], content_mask=masks)
    assert_close(y, upper.to(dtype), rtol=0, atol=0)
    last = content.contiguous(memory_format=torch.channels_last)
    fast = layer(last, [style, -style], content_mask=masks)
    assert fast.is_contiguous(memory_format=torch.channels_last)
    assert_close(fast, y, rtol=1e-2, atol=1e-2)
    for empty in (content[:0], last[:0]):
        for some in (style[:0], [style[:1], style[:0]]):
            count = len(some) if isinstance(some, list) else 2
            assert layer(empty, some, content_mask=masks[:, :count]).shape == empty.shape


@pytest.mark.parametrize("name", ["learnt", pytest.param("AdaIN", marks=pytest.mark.full)])
def test_compiles_with_dynamic_shapes(name: str, whole_graph: Callable[..., Any]) -> None:
    layer = LAYERS[name][1](alpha=0.8)
    compiled = whole_graph(layer, dynamic=True)
    # No size of a style is one of a content by chance, and contents are laid out alike.
    content, style = (x.contiguous() for x in pair())
    style = style[..., :3, :].contiguous()
    assert_close(compiled(content, style), layer(content, style))
    some = content[..., :3].contiguous()
    with torch.compiler.set_stance("fail_on_recompile"):
        assert_close(compiled(some, style), layer(some, style))


def test_compiled_graphs_agree_and_raise(whole_graph: Callable[..., Any]) -> None:
    layer = LAYERS["learnt"][1](alpha=0.8)
    inputs = content, style = [x.requires_grad_() for x in pair()]
    masks, own = halves(soft=True), torch.rand(1, 2, 4, 3).double()
    compiled = whole_graph(layer)
    y, expected = (
        f(content, [style, -style], content_mask=masks, style_mask=own) for f in (compiled, layer)
    )
    assert_close(y, expected)
    grads = (torch.autograd.grad(one.square().sum(), inputs) for one in (y, expected))
    assert_close(*grads)
    for wrong, other, words in (
        (3 * masks, own, "content_mask.* must lie in"),
        (masks + 0.1, own, "content_mask must sum"),
        (masks * torch.nan, own, "content_mask.* must lie in"),
        (masks, -own, "style_mask.* must lie in"),
        (masks, 0 * own, "style_mask must cover two"),
    ):
        with pytest.raises(RuntimeError, match=words):
            compiled(content, [style, -style], content_mask=wrong, style_mask=other)
    with pytest.raises(RuntimeError, match="weights must be"), torch.no_grad():
        compiled(content, [style, -style], weights=torch.tensor([-1.0, 2.0]))


def test_masks_of_labels_are_made_as_the_error_says() -> None:
    x, style = features(2), features(2, seed=1)
    labels = torch.arange(20).view(5, 4).expand(2, 5, 4) % 3
    layer = cl.WhiteningColoring()
    with pytest.raises(InvalidTypeError, match=r"^content_mask must have .*one_hot") as error:
        layer(x, [style] * 3, content_mask=labels)
    recipe = re.search(r"torch\S*one_hot\(.*bool\(\)", str(error.value)).group()
    masks = eval(recipe, {"torch": torch, "labels": labels, "S": 3})
    assert masks.shape == (2, 3, 5, 4)
    assert layer(x, [style] * 3, content_mask=masks).shape == x.shape
