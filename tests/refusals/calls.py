"""What functions, methods and rules refuse."""

import inspect
from collections.abc import Iterable, Iterator
from functools import partial

import torch
from torch import Tensor

from covlayers import functional as F
from covlayers.functional import BACKWARDS, METHODS
from covlayers.functional.solvers import SOLVERS
from tests.good_calls import GOOD, MEAN, SELECT, SPECTRAL, A, V, X, tensors_of
from tests.properties import spd
from tests.refusals.refusal import Refusal
from tests.refusals.wrong_values import Wrong, misshapen, wrong_options, wrong_tensors

VECTORS = ("v", "mean")
SQUARE = ("A", "cov", "S", "Q")
ANY_MATRIX = ("triu_vector", "shrink", "select")
CALLS = GOOD | SELECT

MISSHAPEN: dict[tuple[str, str], tuple[Tensor, ...]] = {
    ("triu_matrix", "v"): (V[..., 1:], V[..., :0]),
    ("covariance", "x"): (X[..., :1], X[..., :0]),
    ("covariance_function", "x"): (X[..., :1], X[..., :0]),
    ("gaussian_embedding", "x"): (X[..., :1], X[..., :0]),
    ("cross_covariance", "y"): (X[..., 1:], X[..., :0]),
    ("solve_lyapunov", "Q"): (spd(2, n=2), spd(2, n=4)),
    ("whiten", "mean"): (MEAN[:, 1:], X[0, :, :4].mT),
    ("whiten", "W"): (spd(2, n=2), A[..., :2]),
    ("color", "C"): (spd(2, n=2), A[..., :2]),
    ("whiten_color", "content"): (X[..., :1], X[..., :0]),
    ("whiten_color", "style"): (X[:, :2], X[..., :1], X[..., :0]),
}


def called(
    function: str, argument: str, wrongs: Iterable[Wrong], says: str = ""
) -> Iterator[Refusal]:
    """The function with this argument wrong; the error may say so of another that has to fit it."""
    f = getattr(F, function)
    for what, value, came in wrongs:
        bound = inspect.signature(f).bind(**CALLS[function] | {argument: value})
        call = partial(f, *bound.args, **bound.kwargs)
        yield Refusal(f"{function}({argument}: {what})", call, says or argument, came)


def of_one_tensor() -> Iterator[Refusal]:
    """No tensor, another dtype, too few dimensions, another shape, no symmetry."""
    for function in CALLS:
        for name, good in tensors_of(function).items():
            yield from called(function, name, wrong_tensors(good, 1 if name in VECTORS else 2))
            yield from called(function, name, misshapen(*MISSHAPEN.get((function, name), ())))
            if name in SQUARE:
                yield from called(function, name, misshapen(good[..., :2], good[:, :1]))
            if name in SQUARE[:3] and function not in ANY_MATRIX:
                skewed = good + torch.ones(3, 3).triu(1)
                yield from called(function, name, [("asymmetric", skewed, ("asymmetry",))])


def of_two_tensors() -> Iterator[Refusal]:
    """Another dtype, another device, another batch than the tensor before."""
    for function in CALLS:
        first, *others = tensors_of(function)
        for name in others:
            good = tensors_of(function)[name]
            half, single, meta = good.half(), good.float(), good.to("meta")
            for what, value in {"half": half, "single": single}.items():
                yield from called(function, name, [(what, value, (str(value.dtype),))])
            yield from called(function, name, [("meta", meta, ("meta",))])
            yield from called(function, name, misshapen(torch.cat([good, good[:1]])))
        for name in others[:1]:
            good = tensors_of(function)[first]
            yield from called(function, first, [("meta", good.to("meta"), ("cpu",))], says=name)
            single = ("single", good.float(), ("torch.float64",))
            yield from called(function, first, [single], says=name)


def of_options() -> Iterator[Refusal]:
    """Out of range, of a wrong type, unknown."""
    for function in CALLS:
        for name, wrong in wrong_options(getattr(F, function), *tensors_of(function)):
            yield from called(function, name, [wrong])
    for kind in (*METHODS.values(), *BACKWARDS.values(), *SOLVERS.values()):
        for name, (what, value, came) in wrong_options(kind):
            yield Refusal(f"{kind.__name__}({what})", partial(kind, **{name: value}), name, came)
    for n in (2, 4):
        yield from called("triu_matrix", "n", [(f"{n}", n, ("(2, 6)",))])
    yield from called("spectral_projector", "rank", [("4", 4, ("4",))])


def of_cells() -> Iterator[Refusal]:
    """Pairs of a function and a method, or a rule, without a meaning."""
    products = ("newton_schulz", "pade", "polar_express", "taylor")
    gaps = ("loewner", "lyapunov", "smith", "unrolled")  # rules that are none of gaps
    for function in (*SPECTRAL, "eigh"):
        yield from called(function, "method", objects(METHODS, *products))
    for function in SPECTRAL:
        yield from called(function, "backward", objects(BACKWARDS, "lyapunov", "smith"))
    yield from called("eigh", "backward", objects(BACKWARDS, *gaps))
    for kind in ("pca", "pca_cor", "cholesky"):
        for option, menu, names in (("method", METHODS, products), ("backward", BACKWARDS, gaps)):
            for what, value, came in objects(menu, *names):
                call = partial(F.whitening_matrix, A, kind=kind, **{option: value})
                yield Refusal(f"whitening_matrix({kind}, {option}={what})", call, option, came)


def objects(menu: dict[str, type], *names: str) -> Iterator[Wrong]:
    """Objects of a menu."""
    for name in names:
        yield name, menu[name](), (repr(menu[name]()),)
