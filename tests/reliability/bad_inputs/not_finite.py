"""Batches with a damaged matrix or sample: what is lost with it, and what stays whole."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import torch
from torch import Tensor, nn

import covlayers as cl
from covlayers import functional as F
from covlayers.functional.backwards import BACKWARDS
from covlayers.functional.methods import METHODS
from covlayers.functional.solvers import SOLVERS
from tests.built import BATCH_NORMS, MODULES, sample, waves
from tests.properties import spd
from tests.reliability.bad_inputs.calls import GOOD, SPECTRAL, tensors_of
from tests.reliability.bad_inputs.layers import in_training
from tests.reliability.bad_inputs.refusals import identical, same_state, state

DAMAGES = (torch.nan, torch.inf, -torch.inf)
PLACES = ((0, 0), (0, 1))
KINDS = ("zca", "pca", "cholesky", "zca_cor", "pca_cor")
ROOTS = ("sqrtm", "invsqrtm", "sqrtm_and_invsqrtm")
OF_FEATURES = ("covariance", "cross_covariance", "gaussian_embedding", "shrink", "whiten", "color")
Map = Callable[[Tensor], Tensor | tuple[Tensor, ...]]
Outcome = tuple[str, bool]


def damaged(x: Tensor, value: float, place: tuple[int, ...] = ()) -> Tensor:
    """The same with one number of the second of the batch replaced, the last unless told."""
    x = x.detach().clone()
    x[(1, *(place or (-1,) * (x.dim() - 1)))] = value
    return x


def matrix_maps(quick: bool) -> Iterator[tuple[str, Map]]:
    """Every function of a matrix, under every method and, unless quick, every rule."""
    for kind in KINDS:
        yield f"whitening_matrix {kind}", partial(F.whitening_matrix, kind=kind)
    for solver in SOLVERS:
        yield f"solve_lyapunov {solver}", lambda S, s=solver: F.solve_lyapunov(S, 0 * S, solver=s)
    for function in (*ROOTS, *SPECTRAL, "eigh"):
        f = getattr(F, function)
        more = {"powm": (0.3,), "spectral_projector": (2,)}.get(function, ())
        for method, backward in product(METHODS, [None] if quick else BACKWARDS):
            options = {"method": method} | ({"backward": backward} if backward else {})
            yield (
                f"{function} {method} {backward or ''}",
                lambda A, f=f, more=more, options=options: f(A, *more, **options),
            )


def of_matrices(quick: bool, worst: list[float]) -> Iterator[Outcome]:
    """NaN for the damaged matrix; its neighbours as before, of which ``worst`` gets the change."""
    A = spd(3)
    for name, f in matrix_maps(quick):
        try:
            before = value_and_gradient(f, A)
        except F.UnsupportedError:  # a cell without a meaning
            continue
        for value, place in product(DAMAGES, ((0, 0), (2, 1))):
            after = value_and_gradient(f, damaged(A, value, place))
            worst.append(change_of_gradient(before, after))
            lost = all(torch.isnan(y[1]).all() for y in after[:-1])
            outcome = lost and neighbours_stay(before, after)
            yield f"{name}: {value} at {place}", outcome


def of_features() -> Iterator[Outcome]:
    """Nothing finite where the damaged number went, its neighbours as before."""
    for function in (*OF_FEATURES, "whiten_color", "triu_vector", "triu_matrix"):
        for name, x in tensors_of(function).items():
            x = torch.cat([x, x[:1]])
            rest = {
                key: torch.cat([good, good[:1]]) if isinstance(good, Tensor) else good
                for key, good in GOOD[function].items()
            }
            f = partial(_called, getattr(F, function), rest, name)
            before = value_and_gradient(f, x)
            for value, place in product(DAMAGES, PLACES):
                bad = damaged(x, value, place[-(x.dim() - 1) :])
                after = value_and_gradient(f, bad)
                lost = not torch.isfinite(after[0][1]).all()
                outcome = lost and neighbours_stay(before, after)
                yield f"{function}({name}: {value} at {place})", outcome


def _called(f: Map, rest: dict[str, object], name: str, x: Tensor) -> Tensor:
    return f(**rest | {name: x})


def value_and_gradient(f: Map, x: Tensor) -> tuple[Tensor, ...]:
    """What a map gives, and the gradient of a loss in which every output counts differently."""
    x = x.detach().clone().requires_grad_()
    y = f(x)
    outputs = y if isinstance(y, tuple) else (y,)
    loss = sum((out * waves(out[0])).sum() for out in outputs)
    return *(out.detach() for out in outputs), torch.autograd.grad(loss, x)[0]


NEIGHBOURS = [0, 2]
ROUNDING = 1e-12
"""Of a gradient in float64: a damaged neighbour makes all of a batch take the symmetric part."""


def neighbours_stay(before: tuple[Tensor, ...], after: tuple[Tensor, ...]) -> bool:
    """The values of all but the second bit for bit, their gradients but for rounding."""
    pairs = zip(before[:-1], after[:-1], strict=True)
    values = all(identical(a[NEIGHBOURS], b[NEIGHBOURS]) for a, b in pairs)
    return values and change_of_gradient(before, after) <= ROUNDING


def change_of_gradient(before: tuple[Tensor, ...], after: tuple[Tensor, ...]) -> float:
    """The largest, relative to the largest entry, of the neighbours."""
    a, b = before[-1][NEIGHBOURS], after[-1][NEIGHBOURS]
    return float((a - b).abs().max() / a.abs().max().clamp_min(torch.finfo(a.dtype).tiny))


def in_evaluation() -> Iterator[Outcome]:
    """Every module: nothing finite in place of the damaged sample, the other samples as before.

    An infinity, unlike NaN, may end at the zero of a ReLU.
    """
    for name in MODULES:
        module, x = in_training(name).eval(), sample(name, 6)
        held, y = state(module), module(x)
        relu = any(isinstance(part, nn.ReLU | cl.TemporalConv) for part in module.modules())
        for value in DAMAGES:
            z = module(damaged(x, value))
            rest = [i for i in range(len(y)) if i != 1]
            whole = identical(y[rest], z[rest]) and same_state(held, state(module))
            ended = relu and value in (torch.inf, -torch.inf)
            yield f"{name}: {value}", whole and (ended or not z[1].isfinite().all())


def with_averages(norms: dict[str, Callable[[], nn.Module]] = BATCH_NORMS) -> Iterator[Outcome]:
    """Every layer with running averages: they stay, and the output tells."""
    for name, build in norms.items():
        module, x = build().train(), sample("IterNorm")
        module(x)
        held = state(module)
        for value in DAMAGES:
            y = module(damaged(x, value))
            yield f"{name}: {value}", same_state(held, state(module)) and not y.isfinite().all()
