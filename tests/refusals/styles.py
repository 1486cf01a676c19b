"""What layers of style transfer, of data and of loss refuse."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

import covlayers as cl
from tests.built import MODULES, STYLE, features
from tests.refusals.layers import given
from tests.refusals.refusal import Refusal
from tests.refusals.wrong_values import (
    Wrong,
    misshapen,
    said,
    shape_of,
    wrong_tensors,
)

MASKS = torch.full((1, 2, 5, 4), 0.5)
WEIGHTS = ("ab", 3, [1], [1, 2, 3], [1, "x"], [None, 1], [-1.0, 2.0], [0.0, 0.0], [1j, 1])
KINDS = (cl.ZCAWhitening, cl.PCAWhitening, cl.CholeskyWhitening)


def of_styles() -> Iterator[Refusal]:
    """Content and style, each by itself and beside the other."""
    x = features(4)
    few = [*misshapen(x[:, :, :1, :1], x[..., :0])]
    unlike = [*misshapen(x[:, :4], torch.cat([x, x[:3]])), ("meta", x.to("meta"), ("meta",))]
    unlike += [(str(y.dtype), y, (str(y.dtype),)) for y in (x.double(), x.half())]
    for name in STYLE:
        layer = MODULES[name]().transfer
        for argument, other in (("content", "style"), ("style", "content")):
            wrongs = (*wrong_tensors(x, 3), *few, *(unlike if argument == "style" else ()))
            yield from given(name, layer, argument, wrongs, partial(layer, **{other: x}))


def of_regions() -> Iterator[Refusal]:
    """Masks and weights."""
    x, layer = features(4), cl.WhiteningColoring()
    call = partial(layer, x, [x, x])
    for argument in ("content_mask", "style_mask"):
        yield from given("masks", layer, argument, wrong_masks(), call)
    for value in WEIGHTS:
        tensor = torch.as_tensor(value) if value in ([1], [1, 2, 3]) else torch.ones(())
        wrong = repr(value), value, (*said(value), str(tuple(tensor.shape)), "[-1.0]")
        yield from given("weights", layer, "weights", [wrong], call)
    complex_weights = torch.ones(2, dtype=torch.complex64)
    wrong = "complex", complex_weights, (repr(complex_weights),)
    yield from given("weights", layer, "weights", [wrong], call)


def wrong_masks() -> Iterator[Wrong]:
    """Wrong values for the masks of two regions."""
    for mask in (MASKS[..., :2], MASKS.expand(3, -1, -1, -1)):
        yield f"shape {tuple(mask.shape)}", mask, shape_of(mask[:, 0])
    for mask, came in (
        (MASKS[0, 0], "(5, 4)"),
        (MASKS[:, :0], "(1, 0, 5, 4)"),
        (MASKS[:, :1], "1"),
    ):
        yield f"shape {tuple(mask.shape)}", mask, (came,)
    for mask in (MASKS.int(), MASKS.to(torch.complex64)):
        yield str(mask.dtype), mask, (str(mask.dtype),)
    labels = torch.zeros(1, 5, 4)
    for dtype in (torch.int64, torch.uint8):
        yield f"labels, {dtype}", labels.to(dtype), (str(dtype),)
    yield "one mask for each sample", labels, (str(tuple(labels.shape)),)
    yield "labels in a list", [labels.int(), labels.int()], ("torch.int32",)
    for value in (-1.0, 4.0, torch.nan, torch.inf):
        yield f"values {value}", MASKS * value, (repr(value / 2),)
    yield "meta", MASKS.to("meta"), ("meta",)
    yield from (("an array", MASKS.numpy(), ("ndarray",)), ("a number", 0.5, ("float",)))
    yield from (("a word", "x", ("str",)), ("no mask", [], ("[]",)), ("numbers", [1, 2], ("int",)))


def of_data() -> Iterator[Refusal]:
    """What is fitted, whitened and taken back."""
    x = features(20)[:, :3, 0]  # (20, 3, 4)
    for kind in KINDS:
        name, fitted, fresh = kind.__name__, kind().fit(x), kind()
        others = [*misshapen(x[:, :2], x[..., 1:])]
        for call, argument in (
            (fitted, "x"),
            (fitted.fit, "x"),
            (fitted.partial_fit, "x"),
            (fitted.inverse, "y"),
        ):
            of = f"{name}.{getattr(call, '__name__', 'forward')}"
            yield from given(of, fitted, argument, (*wrong_tensors(x, 2), *others), call)
        for learn in (fitted.fit, fitted.partial_fit):
            damaged = [(str(v), damage(x, v), (str(v),)) for v in (torch.nan, torch.inf)]
            empty = "empty", x[:0], ("0",)
            yield from given(f"{name}.{learn.__name__}", fitted, "x", (*damaged, empty), learn)
        yield from given(f"{name}.fit", fitted, "x", [("one sample", x[:1], ("1",))], fitted.fit)
        for what, call in {"forward": fresh, "inverse": fresh.inverse}.items():
            yield Refusal(f"{name}.{what} before fit", partial(call, x), name, ("none",), fresh)


def damage(x: Tensor, value: float) -> Tensor:
    """The same with one number of the second matrix replaced."""
    x = x.clone()
    x[1, 0, 0] = value
    return x


def of_losses() -> Iterator[Refusal]:
    """The two losses, and the power of singular values."""
    x = features(4)
    white, orthogonal = cl.WhiteningLoss(2), cl.ColoringOrthogonalityLoss()
    few = misshapen(x[:, :, :1, :1], x[..., :0])
    yield from given("WhiteningLoss", white, "x", (*wrong_tensors(x, 3), *few))
    wrong = "5 channels", x[:, :5], ("2",)
    yield Refusal(
        "WhiteningLoss(5 channels)", partial(white, wrong[1]), "num_groups", ("2",), white
    )
    strip = misshapen(x[0, 0])
    square = x[0, 0, :4, :4]
    yield from given(
        "ColoringOrthogonalityLoss", orthogonal, "X", (*wrong_tensors(square, 2), *strip)
    )
    norm = cl.SVPowerNorm(4, num_values=3, learnable=True)
    wrongs = (*wrong_tensors(x[0], 2), *misshapen(x[0, ..., :3], x[0, ..., :0]))
    yield from given("SVPowerNorm", norm, "Q", wrongs)
    call = partial(norm, x[0, :, :2])
    yield Refusal("SVPowerNorm(two rows)", call, "num_values", ("3",), norm)
