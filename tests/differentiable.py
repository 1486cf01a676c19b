"""Every public function as one of a single tensor, and its derivatives as functions again."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from covlayers import functional as F
from tests.built import KINDS, weighted
from tests.properties import spd, weights_like

Function = Callable[[Tensor], Tensor | tuple[Tensor, ...]]

A = spd(3, n=3, condition=4.0)
X = torch.randn(3, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

OF_MATRICES: dict[str, Function] = {
    "sqrtm": F.sqrtm,
    "invsqrtm": F.invsqrtm,
    "sqrtm, products": partial(F.sqrtm, method="polar_express", backward="smith"),
    "sqrtm, published": partial(F.sqrtm, method="pade"),
    "sqrtm_and_invsqrtm": F.sqrtm_and_invsqrtm,
    "logm": F.logm,
    "powm 1/3": partial(F.powm, p=1 / 3),
    "powm -2": partial(F.powm, p=-2.0),
    "spectral_projector": partial(F.spectral_projector, rank=1),
    "eigh": F.eigh,
    "eigh, a surrogate": partial(F.eigh, backward="taylor_gaps"),
    "solve_lyapunov eigh": lambda A: F.solve_lyapunov(A, A @ weights_like(A), solver="eigh"),
    "solve_lyapunov smith": lambda A: F.solve_lyapunov(A, A @ weights_like(A), solver="smith"),
    "shrink": partial(F.shrink, shrinkage=0.3),
    "triu_vector": partial(F.triu_vector, isometric=True),
    "triu_matrix": lambda A: F.triu_matrix(A.flatten(-2)[..., :6], 3, isometric=True),
    **{f"whitening_matrix {kind}": partial(F.whitening_matrix, kind=kind) for kind in KINDS},
}
OF_FEATURES: dict[str, Function] = {
    "covariance": partial(F.covariance, eps=0.1, shrinkage=0.2),
    "covariance about zero": partial(F.covariance, center=False),
    "covariance, weighted": lambda x: F.covariance(x, weights=x[..., 0, :].square()),
    "covariance_function": partial(F.covariance_function, eps=0.1, side="positions"),
    "covariance_function logm": partial(
        F.covariance_function, function="logm", eps=0.1, shrinkage=0.2, side="positions"
    ),
    "covariance_function, published": lambda x: F.covariance_function(
        x.mT, "invsqrtm", eps=0.1, method="newton_schulz", center=False, side="positions"
    ),
    "cross_covariance": lambda x: F.cross_covariance(x, x[..., :2, :].square()),
    "cross_covariance, weighted": lambda x: F.cross_covariance(
        x, x[..., :2, :].square(), weights=x[..., 0, :].square()
    ),
    "gaussian_embedding": partial(F.gaussian_embedding, eps=0.1),
    "whiten": lambda x: F.whiten(x, x.mean(-1), x @ x.mT),
    "color": lambda x: F.color(x, x.mean(-1), x @ x.mT),
    "whiten_color": lambda x: F.whiten_color(x, x.flip(-2).square()),
}
CASES = {name: (f, A) for name, f in OF_MATRICES.items()} | {
    name: (f, X) for name, f in OF_FEATURES.items()
}


# They give another gradient than the derivative of their value, so it is not tried against that.
SURROGATES = {"sqrtm, published", "eigh, a surrogate"}


def outputs(f: Function, x: Tensor) -> tuple[Tensor, ...]:
    y = f(x)
    return y if isinstance(y, tuple) else (y,)


def flat(f: Function) -> Callable[[Tensor], Tensor]:
    """All outputs as one vector."""
    return lambda x: torch.cat([y.flatten() for y in outputs(f, x)])


def loss(f: Function) -> Callable[[Tensor], Tensor]:
    """One number of all outputs, in which each entry counts differently."""
    return lambda x: weighted(flat(f)(x).square())


def direction(x: Tensor) -> Tensor:
    """One direction for all elements of a batch, symmetric where ``x`` is square."""
    E = torch.sin(1 + torch.arange(x[0].numel(), dtype=x.dtype) ** 2).view(x[0].shape)
    return (E + E.mT if E.shape[-1] == E.shape[-2] else E).expand(x.shape)


def gradient(f: Function, x: Tensor) -> Tensor:
    return torch.func.grad(loss(f))(x)


def tangent(f: Function, x: Tensor, *, along: Tensor | None = None) -> Tensor:
    E = direction(x[None])[0] if along is None else along
    return torch.func.jvp(flat(f), (x,), (E,))[1]


def each_alone(f: Function, x: Tensor) -> Tensor:
    return torch.func.vmap(flat(f))(x)


def gradient_of_each(f: Function, x: Tensor) -> Tensor:
    return torch.func.vmap(partial(gradient, f))(x)


def gradient_of_all(f: Function, x: Tensor) -> Tensor:
    return torch.func.grad(lambda x: torch.func.vmap(loss(f))(x).sum())(x)


def tangent_of_each(f: Function, x: Tensor) -> Tensor:
    return torch.func.vmap(partial(tangent, f, along=direction(x)[0]))(x)


def reverse_over_reverse(f: Function, x: Tensor) -> Tensor:
    return torch.func.grad(lambda x: (gradient(f, x) * direction(x)).sum())(x)


def forward_over_reverse(f: Function, x: Tensor) -> Tensor:
    return torch.func.jvp(partial(gradient, f), (x,), (direction(x),))[1]


def reverse_over_forward(f: Function, x: Tensor) -> Tensor:
    return torch.func.grad(lambda x: torch.func.jvp(loss(f), (x,), (direction(x),))[1])(x)


def forward_over_forward(f: Function, x: Tensor) -> Tensor:
    slope = lambda x: torch.func.jvp(loss(f), (x,), (direction(x),))[1]
    return torch.func.jvp(slope, (x,), (direction(x).cos(),))[1]


# What a transform computes for a whole batch, and the function that computes it for one element.
EACH = {
    each_alone: lambda f, x: flat(f)(x),
    gradient_of_each: gradient,
    tangent_of_each: tangent,
    gradient_of_all: gradient,
}
SECOND = (reverse_over_reverse, forward_over_reverse, reverse_over_forward, forward_over_forward)
