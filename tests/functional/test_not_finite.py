"""Batches with a damaged matrix or sample: it is lost alone."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import pytest
import torch
from torch import Tensor

from covlayers import functional as F
from covlayers.functional import BACKWARDS, METHODS
from covlayers.functional.solvers import SOLVERS
from tests.built import KINDS, waves
from tests.counted import Counted
from tests.good_calls import GOOD, tensors_of
from tests.properties import spd
from tests.refusals.refusal import identical

DAMAGES = (torch.nan, torch.inf, -torch.inf)
PLACES = ((0, 0), (0, 1))
OF_FEATURES = (
    *("covariance", "cross_covariance", "gaussian_embedding", "shrink", "whiten", "color"),
    *("whiten_color", "triu_vector", "triu_matrix"),
)
Map = Callable[[Tensor], Tensor | tuple[Tensor, ...]]


def damaged(x: Tensor, value: float, place: tuple[int, ...] = ()) -> Tensor:
    """The same with one number of the second of the batch replaced, the last unless told."""
    x = x.detach().clone()
    x[(1, *(place or (-1,) * (x.dim() - 1)))] = value
    return x


def matrix_maps() -> Iterator[tuple[str, Map]]:
    """What takes a matrix, beside the cells of tests/functional/degenerate_spectra."""
    for kind in KINDS:
        yield f"whitening_matrix {kind}", partial(F.whitening_matrix, kind=kind)
    for solver in SOLVERS:
        yield f"solve_lyapunov {solver}", lambda S, s=solver: F.solve_lyapunov(S, 0 * S, solver=s)
    functions = {"eigh": F.eigh, "spectral_projector": partial(F.spectral_projector, rank=2)}
    for (name, f), method, rule in product(functions.items(), METHODS, BACKWARDS):
        yield f"{name}, {method}, {rule}", partial(f, method=method, backward=rule)


@pytest.mark.promise(
    "bad inputs", "NaN or infinity in a matrix of other functions: NaN for it alone"
)
def test_matrices(counted: Counted) -> None:
    A = spd(3)
    for name, f in matrix_maps():
        try:
            before = value_and_gradient(f, A)
        except F.UnsupportedError:  # a cell without a meaning
            continue
        for value, place in product(DAMAGES, ((0, 0), (2, 1))):
            after = value_and_gradient(f, damaged(A, value, place))
            counted.figure(change_of_gradient(before, after), "{} of a neighbour's gradient")
            with counted(name, value, place):
                assert all(torch.isnan(y[1]).all() for y in after[:-1])
                assert neighbours_stay(before, after)
    counted.beside = eigh_of_torch()


def eigh_of_torch() -> str:
    """Whether an eigendecomposition keeps the neighbours, in place of an error for them all."""
    A = spd(3)
    before = torch.linalg.eigh(A)[0]
    kept = 0
    cases = [*product(DAMAGES, ((0, 0), (2, 1)))]
    for value, place in cases:
        try:
            after = torch.linalg.eigh(damaged(A, value, place))[0]
        except torch.linalg.LinAlgError:
            continue
        kept += torch.equal(after[[0, 2]], before[[0, 2]]) and bool(after[1].isnan().all())
    return f"torch.linalg.eigh: {kept} of {len(cases)}"


@pytest.mark.promise("bad inputs", "NaN or infinity in features: lost for the sample alone")
def test_features(counted: Counted) -> None:
    for function in OF_FEATURES:
        for name, x in tensors_of(function).items():
            x = torch.cat([x, x[:1]])
            rest = {
                key: torch.cat([good, good[:1]]) if isinstance(good, Tensor) else good
                for key, good in GOOD[function].items()
            }
            f = lambda x: getattr(F, function)(**rest | {name: x})
            before = value_and_gradient(f, x)
            for value, place in product(DAMAGES, PLACES):
                after = value_and_gradient(f, damaged(x, value, place[-(x.dim() - 1) :]))
                with counted(function, name, value, place):
                    assert not torch.isfinite(after[0][1]).all()
                    assert neighbours_stay(before, after)


def value_and_gradient(f: Map, x: Tensor) -> tuple[Tensor, ...]:
    """What a map gives, and the gradient of a loss in which every output counts differently."""
    x = x.detach().clone().requires_grad_()
    y = f(x)
    outputs = y if isinstance(y, tuple) else (y,)
    loss = sum((out * waves(out[0])).sum() for out in outputs)
    return *(out.detach() for out in outputs), torch.autograd.grad(loss, x)[0]


NEIGHBOURS = [0, 2]
ROUNDING = 1e-12
"""Allowed in a gradient in float64: beside a damaged neighbour the batch is symmetrised."""


def neighbours_stay(before: tuple[Tensor, ...], after: tuple[Tensor, ...]) -> bool:
    """All except the second keep values bit for bit, and gradients up to rounding."""
    pairs = zip(before[:-1], after[:-1], strict=True)
    values = all(identical(a[NEIGHBOURS], b[NEIGHBOURS]) for a, b in pairs)
    return values and change_of_gradient(before, after) <= ROUNDING


def change_of_gradient(before: tuple[Tensor, ...], after: tuple[Tensor, ...]) -> float:
    """The largest, relative to the largest entry, of the neighbours."""
    a, b = before[-1][NEIGHBOURS], after[-1][NEIGHBOURS]
    return float((a - b).abs().max() / a.abs().max().clamp_min(torch.finfo(a.dtype).tiny))


def test_a_map_that_mixes_matrices_is_seen() -> None:
    A = spd(3)
    damaged = A.clone()
    damaged[1, 0, 0] = torch.nan
    mixing = lambda A: A - A.nan_to_num().mean(0)
    assert not neighbours_stay(value_and_gradient(mixing, A), value_and_gradient(mixing, damaged))
    alone = lambda A: A @ A
    assert neighbours_stay(value_and_gradient(alone, A), value_and_gradient(alone, damaged))
