"""A function of a covariance, from the features."""

import math
from collections.abc import Callable, Mapping

from torch import Tensor

from covlayers.functional._base.checks import check_choice, check_number, choose
from covlayers.functional._base.errors import UnsupportedError
from covlayers.functional._base.function import in_forward_mode
from covlayers.functional._base.tensors import full_precision
from covlayers.functional.backwards import BACKWARDS
from covlayers.functional.by_positions import (
    Cell,
    Wanted,
    by_positions,
    cell_by_positions,
    share_and_base,
)
from covlayers.functional.by_products import products_of
from covlayers.functional.centered_product import (
    few_positions,
    regularized_covariance,
    weighted,
)
from covlayers.functional.core import MatrixFunction, Method
from covlayers.functional.covariances import check_features
from covlayers.functional.functions import INVSQRT, LOG, SQRT, power
from covlayers.functional.matrix_functions import OWN_RULE, check_cell
from covlayers.functional.methods import Auto, Eigh
from covlayers.functional.position_weights import relative_weights
from covlayers.functional.rule import Backward

SIDES = ("auto", "channels", "positions")
Menu = Mapping[str, Callable[[], MatrixFunction]]
FUNCTIONS: Menu = {"sqrtm": lambda: SQRT, "invsqrtm": lambda: INVSQRT, "logm": lambda: LOG}


def cell_of_few_positions(
    fn: MatrixFunction, method: Method, backward: Backward | None, side: str
) -> Cell | None:
    """The cell for the side of the positions, None where the channels are taken in any case.

    Raises:
        InvalidValueError: for an unknown side.
        UnsupportedError: for the side of the positions where method or rule have no formula.
    """
    check_choice("side", side, SIDES)
    exact = Eigh() if isinstance(method, Auto) else method
    rule = backward or BACKWARDS[exact.default_backward]()
    cell = cell_by_positions(fn, exact, rule)
    if side == "positions" and cell is None:
        raise UnsupportedError(
            f"side='positions' has no formula for {method} with {rule}; take Eigh with Loewner, "
            "Lyapunov or a gap rule, a published method (NewtonSchulz, Taylor, Pade) with one of "
            "these or Autograd, or side='channels'."
        )
    if cell is None or side == "channels":
        return None
    return cell._replace(products=products_of(fn, method, rule if exact is method else backward))


@full_precision
def covariance_function(
    x: Tensor,
    function: str | float | MatrixFunction = "sqrtm",
    *,
    center: bool = True,
    eps: float = 0.0,
    shrinkage: float | None = None,
    weights: Tensor | None = None,
    method: str | Method = "auto",
    backward: str | Backward | None = None,
    side: str = "auto",
) -> Tensor:
    r"""A function of the covariance of channels over positions.

    .. math:: Y = f(A), \qquad A = (1 - s)\, \Sigma + s\, \tfrac{\operatorname{tr} \Sigma}{C} I
              + \varepsilon I, \qquad \Sigma = \sum_j p_j\, (x_j - \mu)(x_j - \mu)^\top

    with the :math:`p` of :func:`covariance`.

    ``sqrtm(covariance(x))`` and its kin in one step, on whichever side costs less. With fewer
    positions than channels that is the :math:`M \times M` side of the positions, which is faster,
    keeps less for the backward pass, and for a root rounds less: the directions without features
    are not looked for. For the derivation see :doc:`/derivations/smaller_side`.

    Without ``eps`` and ``shrinkage`` a covariance of few positions is singular, and has the finite
    regularised function that the method documents: eigenvalues below
    :math:`\epsilon \lambda_{\max}` (machine epsilon) are raised to it, and count as zero where
    :math:`f(0) = 0`.

    Args:
        x: features.
        function: :math:`f`: ``"sqrtm"``, ``"invsqrtm"``, ``"logm"``, a real number :math:`p` for
            the power :math:`A^p`, or a :class:`MatrixFunction`.
        center: whether to subtract the mean :math:`\mu` over the positions.
        eps: :math:`\varepsilon \ge 0`, added to the diagonal, in squared units of ``x``.
        shrinkage: :math:`s` in [0, 1], the weight of the scaled identity; None for none.
        weights: how much each position counts, as for :func:`covariance`. Weights of which a
            gradient is asked take the channels.
        method: how to compute :math:`f`, as for :func:`sqrtm`.
        backward: how to differentiate it, as for :func:`sqrtm`.
        side: ``"channels"``, through the matrix :math:`(C, C)`; ``"positions"``, through
            :math:`(M, M)`; ``"auto"``, the one that costs less as measured, see :func:`select`.

    Shape:
        - x: :math:`(*, C, M)`, ``M`` positions
        - weights: :math:`(*, M)`, or what broadcasts to it
        - Output: :math:`(*, C, C)`

    Raises:
        InvalidValueError: if ``x`` has fewer than two dimensions, fewer than two positions (one
            without ``center``), an option is out of range, ``weights`` are wrong as for
            :func:`covariance`, or a name is unknown.
        InvalidTypeError: if ``x`` is not a real floating tensor, or an option has a wrong type.
        UnsupportedError: if function, method and rule do not fit; for ``side="positions"`` with a
            method or a rule that has no formula there; for a second derivative through a rule that
            has none.
        ConvergenceError: as :func:`sqrtm`.

    Example:
        >>> x = torch.randn(256, 49)
        >>> Y = covariance_function(x, eps=1e-5)
        >>> torch.allclose(Y @ Y, covariance(x, eps=1e-5), atol=1e-5)
        True

    Reference:
        :cite:t:`higham2008functions`, theorem 1.35.
    """
    check_features(x, center, eps, shrinkage)
    fn = chosen_function(function)
    chosen, rule = check_cell((fn,), method, backward)
    cell = cell_of_few_positions(fn, chosen, rule, side)
    shares = relative_weights(weights, x)
    # A root of the weights, as the positions take it, has no slope at zero.
    constant = weights is None or not (weights.requires_grad or in_forward_mode())
    if cell and constant and few_positions(x, side, cell.products, eps, shrinkage):
        if shares is not None:
            x, center = weighted(x, center, shares), False
        return by_positions(x, *share_and_base(x, center, eps, shrinkage), Wanted(cell, center))
    A = regularized_covariance(x, center, eps, shrinkage, shares)
    return (rule or OWN_RULE).apply((fn,), chosen, A)[0]


def chosen_function(
    function: str | float | MatrixFunction, menu: Menu = FUNCTIONS
) -> MatrixFunction:
    """The function that a name of the menu or an exponent stands for, or the object itself."""
    if isinstance(function, int | float):
        check_number("function", function, -math.inf)
        return power(function)
    return choose("function", function, menu, MatrixFunction)
