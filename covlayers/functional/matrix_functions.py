"""The doors of the functional tier: the root, the inverse root, and the other matrix functions."""

import math

from torch import Tensor

from covlayers.functional._base.checks import check_number, check_square, choose
from covlayers.functional._base.linalg import symmetric, symmetrised
from covlayers.functional._base.precision import full_precision
from covlayers.functional.backwards import BACKWARDS
from covlayers.functional.core import Fns, Method
from covlayers.functional.functions import INVSQRT, LOG, ROOTS, SQRT, power
from covlayers.functional.methods import METHODS
from covlayers.functional.methods._through_spectrum import shorter_way
from covlayers.functional.rule import Backward


def choose_method(method: str | Method) -> Method:
    """The method that a name stands for, or the object itself."""
    return choose("method", method, METHODS, Method)


def choose_backward(backward: str | Backward | None) -> Backward | None:
    """The backward rule that a name stands for; None is left for the method to choose."""
    return None if backward is None else choose("backward", backward, BACKWARDS, Backward)


def matrix_functions(
    fns: Fns, A: Tensor, method: str | Method, backward: str | Backward | None
) -> tuple[Tensor, ...]:
    """The one door: checks, symmetry, choice."""
    check_square("A", A)
    chosen = choose_method(method).select(fns, A)
    rule = choose("backward", backward or chosen.default_backward, BACKWARDS, Backward)
    if A.numel() == 0:
        return tuple(symmetric(A) for _ in fns)
    return rule.apply(fns, shorter_way(chosen, A), symmetrised("A", A))


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
    return matrix_functions((SQRT,), A, method, backward)[0]


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
    return matrix_functions((INVSQRT,), A, method, backward)[0]


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
    Y, Z = matrix_functions(ROOTS, A, method, backward)
    return Y, Z


@full_precision
def logm(
    A: Tensor, *, method: str | Method = "auto", backward: str | Backward | None = None
) -> Tensor:
    r"""Logarithm of symmetric positive definite matrices.

    .. math:: \log A = U \log(\Lambda)\, U^\top

    Args:
        A: symmetric positive definite matrices, as for :func:`sqrtm`.
        method: ``"auto"``, ``"eigh"`` or a :class:`SpectralMethod`.
        backward: ``"loewner"`` (default), a gap rule, or ``"autograd"``.

    Shape:
        - A: :math:`(*, n, n)`
        - Output: :math:`(*, n, n)`

    Raises:
        InvalidValueError: as :func:`sqrtm`.
        InvalidTypeError: as :func:`sqrtm`.
        UnsupportedError: for a method or a rule that serves the roots alone.
        ConvergenceError: as :func:`sqrtm`.

    Example:
        >>> logm(torch.eye(2))
        tensor([[0., 0.],
                [0., 0.]])

    Reference:
        :cite:t:`ionescu2015matrix`; :cite:t:`higham2008functions`, chapter 11.
    """
    return matrix_functions((LOG,), A, method, backward)[0]


@full_precision
def powm(
    A: Tensor, p: float, *, method: str | Method = "auto", backward: str | Backward | None = None
) -> Tensor:
    r"""Real power of symmetric positive definite matrices.

    .. math:: A^p = U \Lambda^p U^\top

    Args:
        A: symmetric positive definite matrices, as for :func:`sqrtm`.
        p: any finite exponent; 1/2 and -1/2 are :func:`sqrtm` and :func:`invsqrtm` themselves.
        method: ``"auto"``, ``"eigh"`` or a :class:`SpectralMethod`.
        backward: ``"loewner"`` (default), a gap rule, or ``"autograd"``.

    Shape:
        - A: :math:`(*, n, n)`
        - Output: :math:`(*, n, n)`

    Raises:
        InvalidValueError: as :func:`sqrtm`, and if ``p`` is not finite.
        InvalidTypeError: as :func:`sqrtm`, and if ``p`` is not a real number.
        UnsupportedError: for a method or a rule that serves the roots alone.
        ConvergenceError: as :func:`sqrtm`.

    Example:
        >>> powm(torch.tensor([[8.0, 0.0], [0.0, 27.0]]), 1 / 3)
        tensor([[2., 0.],
                [0., 3.]])

    Reference:
        :cite:t:`li2017second`; :cite:t:`higham2008functions`, chapter 7.
    """
    check_number("p", p, -math.inf)
    return matrix_functions((power(p),), A, method, backward)[0]
