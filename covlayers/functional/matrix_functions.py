"""The core of every matrix function, and the doors of the roots."""

from dataclasses import dataclass
from functools import lru_cache

from torch import Tensor

from covlayers.functional._base.checks import choose
from covlayers.functional._base.function import compiling, transformed
from covlayers.functional._base.linalg import symmetric
from covlayers.functional._base.tensors import check_square, full_precision, symmetrised
from covlayers.functional._iterations.symmetric_part import symmetric_part
from covlayers.functional.backwards import BACKWARDS
from covlayers.functional.core import Computed, Fns, MatrixFunction, Method
from covlayers.functional.functions import INVSQRT, ROOTS, SQRT
from covlayers.functional.methods import METHODS
from covlayers.functional.rule import Applied, Backward, Rule, Vjp


class OwnRule(Backward):
    """The default rule of whichever method runs."""

    def apply(self, fns: Fns, method: Method, A: Tensor) -> tuple[Tensor, ...]:
        method = method.select(fns, A)
        return _DEFAULT_RULES[method.default_backward].apply(fns, method, A)

    def with_vjp(self, fn: MatrixFunction, method: Method, A: Tensor) -> tuple[Tensor, Vjp]:
        method = method.select((fn,), A)
        return _DEFAULT_RULES[method.default_backward].with_vjp(fn, method, A)


OWN_RULE = OwnRule()
_DEFAULT_RULES = {name: build() for name, build in BACKWARDS.items()}


def check_cell(
    fns: Fns, method: str | Method, backward: str | Backward | None
) -> tuple[Method, Backward | None]:
    """The method and the rule that the names stand for, None for None; no matrix is needed.

    ``(rule or OWN_RULE).apply(fns, method, A)`` is then the core: it computes each of ``fns`` for
    symmetric float32 or float64 matrices ``(*, n, n)``.

    Raises:
        InvalidValueError: for an unknown name.
        InvalidTypeError: for an object of another family.
        UnsupportedError: if the method or the rule cannot serve one of ``fns``.
    """
    chosen = choose("method", method, METHODS, Method)
    chosen.check(fns)
    if backward is None:
        return chosen, None
    rule = choose("backward", backward, BACKWARDS, Backward)
    rule.check(fns)
    return chosen, rule


_cell_of_names = lru_cache(maxsize=256)(check_cell)


def applied(fn: MatrixFunction, method: Method, backward: Backward | None) -> Applied:
    """The core for one function, with what :func:`check_cell` gives."""
    return Applied(fn, method, backward or OWN_RULE)


def checked(
    fns: Fns, A: Tensor, method: str | Method, backward: str | Backward | None
) -> tuple[Tensor, ...]:
    """What a door does: check the matrices and the options, then call the core."""
    check_square("A", A)
    names = isinstance(method, str) and isinstance(backward, str | None)
    resolve = _cell_of_names if names and not compiling() else check_cell
    chosen, rule = resolve(fns, method, backward)
    if A.numel() == 0:
        return tuple(symmetric(A) for _ in fns)
    if A.device.type == "cpu":
        return (rule or OWN_RULE).apply(fns, chosen, symmetrised("A", A))
    chosen = chosen.select(fns, A)
    rule = rule or _DEFAULT_RULES[chosen.default_backward]
    # Its gradient is symmetric, and the symmetric part would pass it as it is.
    if isinstance(rule, Rule) and rule.reads == ("outputs",) and not (compiling() or transformed()):
        return rule.apply(fns, _OfSymmetricPart(chosen), A)
    return rule.apply(fns, chosen, symmetric_part("A", A))


@dataclass(frozen=True)
class _OfSymmetricPart(Method):
    """A method that takes the symmetric part first, beside the graph."""

    method: Method

    def forward(self, fns: Fns, A: Tensor) -> Computed:
        return self.method.forward(fns, symmetric_part("A", A))


@full_precision
def sqrtm(
    A: Tensor, *, method: str | Method = "auto", backward: str | Backward | None = None
) -> Tensor:
    r"""Square root of symmetric positive matrices.

    .. math:: Y = A^{1/2}, \qquad Y Y = A, \quad Y \succeq 0

    ``A`` is symmetrised, and so is its gradient. A rank-deficient or zero matrix gives the finite
    regularised result that its method documents, with a finite gradient. A matrix with a
    non-finite entry gives NaN and leaves its neighbours in the batch exact. So does an indefinite
    matrix with ``"eigh"``. float16 and bfloat16 compute in float32.

    Args:
        A: symmetric positive semi-definite; an asymmetry up to 1% of the largest entry is rounding.
        method: how to compute: a :class:`Method`, or its name in :data:`METHODS`.
        backward: how to differentiate: a :class:`Backward`, its name in :data:`BACKWARDS`, or None
            for the method's own default.

    Shape:
        - A: :math:`(*, n, n)`
        - Output: :math:`(*, n, n)`

    Raises:
        InvalidValueError: if ``A`` is not square or far from symmetric (where values can be looked
            at: a CPU, outside vmap and compiled graphs; elsewhere such a matrix gives NaN), or a
            name is unknown.
        InvalidTypeError: if ``A`` is not a real floating tensor.
        UnsupportedError: if method and rule do not fit, and for a second derivative through a
            surrogate rule.
        ConvergenceError: if an eigendecomposition does not converge, not even in float64.

    Example:
        >>> sqrtm(torch.tensor([[4.0, 0.0], [0.0, 9.0]]))
        tensor([[2., 0.],
                [0., 3.]])

    Reference:
        See the method and the rule; :cite:t:`higham2008functions`, chapter 6.
    """
    return checked((SQRT,), A, method, backward)[0]


@full_precision
def invsqrtm(
    A: Tensor, *, method: str | Method = "auto", backward: str | Backward | None = None
) -> Tensor:
    r"""Inverse square root of symmetric positive matrices.

    .. math:: Z = A^{-1/2}, \qquad Z A Z = I, \quad Z \succ 0

    Args:
        A: symmetric positive definite matrices, as for :func:`sqrtm`.
        method: how to compute, as for :func:`sqrtm`.
        backward: how to differentiate, as for :func:`sqrtm`.

    Shape:
        - A: :math:`(*, n, n)`
        - Output: :math:`(*, n, n)`

    Raises:
        InvalidValueError: as :func:`sqrtm`.
        InvalidTypeError: as :func:`sqrtm`.
        UnsupportedError: as :func:`sqrtm`.
        ConvergenceError: as :func:`sqrtm`.

    Example:
        >>> invsqrtm(torch.tensor([[4.0, 0.0], [0.0, 16.0]]))
        tensor([[0.5000, 0.0000],
                [0.0000, 0.2500]])

    Reference:
        See the method and the rule; :cite:t:`song2022inverse`.
    """
    return checked((INVSQRT,), A, method, backward)[0]


@full_precision
def sqrtm_and_invsqrtm(
    A: Tensor, *, method: str | Method = "auto", backward: str | Backward | None = None
) -> tuple[Tensor, Tensor]:
    r"""Square root and inverse square root from one pass.

    .. math:: (Y, Z) = (A^{1/2}, A^{-1/2})

    Args:
        A: symmetric positive definite matrices, as for :func:`sqrtm`.
        method: how to compute, as for :func:`sqrtm`.
        backward: how to differentiate, as for :func:`sqrtm`.

    Shape:
        - A: :math:`(*, n, n)`
        - Output: two of :math:`(*, n, n)`

    Raises:
        InvalidValueError: as :func:`sqrtm`.
        InvalidTypeError: as :func:`sqrtm`.
        UnsupportedError: as :func:`sqrtm`.
        ConvergenceError: as :func:`sqrtm`.

    Example:
        >>> Y, Z = sqrtm_and_invsqrtm(4 * torch.eye(2))
        >>> Y @ Z
        tensor([[1., 0.],
                [0., 1.]])

    Reference:
        :cite:t:`song2022inverse`; :cite:t:`higham2008functions`, chapter 6.
    """
    Y, Z = checked(ROOTS, A, method, backward)
    return Y, Z
