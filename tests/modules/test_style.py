"""Whitening-coloring: moments, scale, few positions, gradients, the learnt strength."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import covlayers as cl
from covlayers.functional.centered_product import few_positions
from tests.style_reference import EPS, LAYERS, pair, transferred

each = pytest.mark.parametrize("name", LAYERS)


@pytest.mark.parametrize("alpha", [1.0, 0.4])
@each
def test_is_its_formula(name: str, alpha: float) -> None:
    groups, layer = LAYERS[name]
    content, style = pair()
    y = transferred(content, style, groups, EPS[name])
    expected = alpha * y + (1 - alpha) * content
    assert_close(layer(alpha=alpha)(content, style), expected, rtol=1e-8, atol=1e-8)
    single = layer(alpha=alpha)(content.float(), style.float())
    assert_close(single, expected.float(), rtol=1e-3, atol=1e-3)


@each
def test_has_the_moments_of_the_style_in_each_group(name: str) -> None:
    groups, layer = LAYERS[name]
    content, style = pair()
    y = layer()(content, style).flatten(2).unflatten(1, (groups, -1))
    style = style.flatten(2).unflatten(1, (groups, -1))
    assert_close(y.mean(-1), style.mean(-1), rtol=1e-8, atol=1e-8)
    tolerance = 1e-8 if EPS[name] == 0 else 2e-3
    for a, b in zip(y.flatten(0, 1), style.flatten(0, 1), strict=True):
        assert_close(a.cov(correction=0), b.cov(correction=0), rtol=tolerance, atol=10 * tolerance)


def test_adain_matches_mean_and_deviation_of_each_channel() -> None:
    content, style = pair()
    (mean, std), (target, other) = (
        (x.mean((2, 3), keepdim=True), x.std((2, 3), correction=0, keepdim=True))
        for x in (content, style)
    )
    y = other * (content - mean) / std + target
    assert_close(cl.AdaIN(0.3, eps=0.0)(content, style), 0.3 * y + 0.7 * content)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@each
def test_the_identity(name: str, dtype: torch.dtype) -> None:
    _, layer = LAYERS[name]
    content, style = pair(dtype)
    tolerance = 5e3 * torch.finfo(dtype).eps
    assert_close(layer()(content, content), content, rtol=tolerance, atol=tolerance)
    assert torch.equal(layer(alpha=0.0)(content, style), content)
    assert torch.equal(layer(alpha=0.0)(content, style.flatten(2)), content)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
@each
def test_the_scale_of_the_features_does_not_matter(name: str, scale: float) -> None:
    _, layer = LAYERS[name]
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 1e-3)):
        content, style = pair(dtype)
        y = layer()(content, style)
        for a, b in ((1, scale), (scale, 1), (scale, scale)):
            assert_close(
                layer()(a * content, b * style) / b, y, rtol=tolerance, atol=10 * tolerance
            )


@pytest.mark.parametrize(("some", "others"), [(2, 20), (20, 2), (2, 2), (4, 6), (6, 7), (7, 3)])
@pytest.mark.parametrize("groups", [1, 2])
def test_few_positions_shrink_the_covariance(groups: int, some: int, others: int) -> None:
    content, style = (x.flatten(2)[..., :n] for x, n in zip(pair(), (some, others), strict=True))
    layer = cl.WhiteningColoring(num_groups=groups, eps=0.0)
    expected = transferred(content, style, groups)
    assert_close(layer(content, style), expected, rtol=1e-8, atol=1e-8)
    single = layer(content.float(), style.float())
    assert_close(single, expected.float(), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("shrinkage", ["auto", None, 0.3])
@pytest.mark.parametrize("groups", [1, 2])
def test_few_positions_take_their_own_side(
    groups: int, shrinkage: float | str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)
    content, style = torch.randn(2, 2, 120, 20, dtype=torch.float64, generator=generator) + 3
    layer = cl.WhiteningColoring(num_groups=groups, eps=1e-3, shrinkage=shrinkage)
    sides: list[bool] = []
    found = []
    for few in (few_positions, lambda x, side: False):
        decide = lambda x, side, few=few: sides.append(few(x, side)) or sides[-1]
        monkeypatch.setattr("covlayers.functional.whitening_coloring.few_positions", decide)
        inputs = [x.clone().requires_grad_() for x in (content, style)]
        y = layer(*inputs)
        above = torch.sin(torch.arange(y.numel(), dtype=y.dtype)).view_as(y)
        found.append([y.detach(), *torch.autograd.grad(y, inputs, above)])
    assert sides == [True, True, False, False]
    for own, other in zip(*found, strict=True):
        assert_close(own, other, rtol=1e-8, atol=1e-9)
    if shrinkage == "auto":
        assert_close(found[0][0], transferred(content, style, groups, 1e-3), rtol=1e-8, atol=1e-8)


def test_two_positions_keep_the_variance_of_the_style() -> None:
    content, style = (x.flatten(2) for x in pair())
    style = style[..., :2]
    y = cl.WhiteningColoring(eps=0.0)(content, style)
    total = y.var(-1, correction=0).sum(-1)
    assert_close(total, style.var(-1, correction=0).sum(-1))
    few = cl.WhiteningColoring()(content[..., :2], style)
    share = few.var(-1, correction=0).sum(-1) / total
    assert ((share > 0.1) & (share <= 1)).all()  # neither flat nor blown up


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@each
def test_flat_features_take_the_mean_of_the_style(name: str, dtype: torch.dtype) -> None:
    _, layer = LAYERS[name]
    content, style = pair(dtype)
    first = content[..., :1, :1].expand_as(content)
    flat = [torch.full_like(x, value) for x in (content, style) for value in (0.0, 0.1)]
    for a, b in (
        *((flat[i], style) for i in (0, 1)),
        *((content, flat[i]) for i in (2, 3)),
        (content, style[..., :1, :1].expand_as(style)),
        (first, style),
        (flat[0], flat[2]),
        (first, flat[3]),
    ):
        a, b = a.clone().requires_grad_(), b.clone().requires_grad_()
        y = layer()(a, b)
        assert_close(y, b.mean((2, 3), keepdim=True).expand_as(y), rtol=1e-5, atol=1e-6)
        ga, gb = torch.autograd.grad((y * torch.randn_like(y)).sum(), (a, b))
        assert not ga.any()
        assert gb.abs().max() < 10


@pytest.mark.parametrize("value", [0.0, 0.1])
@each
def test_a_gradient_past_silent_channels_is_bounded(name: str, value: float) -> None:
    _, layer = LAYERS[name]
    content, style = pair()
    content[:, :3] = value  # a whole group of each layer but the first
    content.requires_grad_()
    y = layer(eps=1e-5)(content, style)
    (grad,) = torch.autograd.grad((y * torch.randn_like(y)).sum(), content)
    ratio = style.std() / content[:, 3:].std()
    assert grad.abs().max() < 30 * ratio / 1e-5**0.5


@pytest.mark.parametrize(("some", "others"), [(5, 4), (2, 2), (5, 3)])
@pytest.mark.parametrize("groups", [1, 2])
def test_gradient(groups: int, some: int, others: int) -> None:
    layer = cl.GroupWhiteningColoring(groups)
    content, style = (x[:1, :4].flatten(2) for x in pair())
    inputs = [x.contiguous().requires_grad_() for x in (content[..., :some], style[..., :others])]
    alpha = torch.tensor(0.6).double().requires_grad_()

    def f(alpha: Tensor, *inputs: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {"alpha": alpha}, inputs)

    assert torch.autograd.gradcheck(f, (alpha, *inputs))
    assert torch.autograd.gradgradcheck(f, (alpha, *inputs), fast_mode=True)
    fixed = cl.WhiteningColoring(0.7, num_groups=groups)
    assert torch.autograd.gradcheck(fixed, inputs, check_forward_ad=True, fast_mode=True)


def test_adain_gradient() -> None:
    inputs = [x[:1, :2, :2, :2].contiguous().requires_grad_() for x in pair()]
    assert torch.autograd.gradcheck(cl.AdaIN(0.7), inputs)
    assert torch.autograd.gradgradcheck(cl.AdaIN(0.7), inputs)


@pytest.mark.parametrize(
    ("strength", "counts_as", "back"), [(1.5, 1.0, 1), (-0.5, 0.0, -1), (0.3, 0.3, 0)]
)
def test_a_learnt_strength_is_bounded(strength: float, counts_as: float, back: int) -> None:
    content, style = pair()
    layer = cl.GroupWhiteningColoring(2, dtype=torch.float64)
    torch.nn.init.constant_(layer.alpha, strength)
    y = layer(content, style)
    expected = cl.WhiteningColoring(counts_as, num_groups=2)(content, style)
    assert_close(y, expected, rtol=1e-6, atol=1e-6)
    step = cl.WhiteningColoring(num_groups=2)(content, style) - content
    for sign in (1, -1):
        (grad,) = torch.autograd.grad(sign * (step * y).sum(), layer.alpha, retain_graph=True)
        expected = sign * step.square().sum() * (back != -sign)
        assert_close(grad, expected)


def test_a_learnt_strength_does_not_stick_at_its_bounds() -> None:
    content, style = pair()
    layer = cl.GroupWhiteningColoring(2, 0.9, dtype=torch.float64)
    step = (cl.WhiteningColoring(num_groups=2)(content, style) - content).detach()
    optimiser = torch.optim.SGD(layer.parameters(), 0.1 / float(step.square().mean()))
    for goal in (3.0, -2.0, 0.5):
        for _ in range(50):
            optimiser.zero_grad()
            (layer(content, style) - content - goal * step).square().mean().backward()
            optimiser.step()
        assert -0.7 <= layer.alpha <= 1.6
        reached = min(max(goal, 0.0), 1.0)
        assert_close(layer(content, style), content + reached * step, rtol=1e-3, atol=1e-3)


def test_names_its_options() -> None:
    layer = cl.WhiteningColoring(0.5, num_groups=2, method="pade", backward="lyapunov")
    words = ("alpha=0.5", "num_groups=2", "eps=1e-05", "shrinkage=auto", "Pade", "Lyapunov")
    assert all(word in repr(layer) for word in words)
    assert repr(cl.AdaIN(0.5)) == "AdaIN(alpha=0.5, eps=1e-05)"
    assert "alpha" not in repr(cl.GroupWhiteningColoring(2))
    assert list(cl.GroupWhiteningColoring(2).state_dict()) == ["alpha"]
