"""How many kernels an operator launches, without a look at a GPU or at Triton."""

from collections.abc import Sequence

from torch import Tensor

from covlayers.functional._base import tuning
from covlayers.functional._iterations.newton import newton_steps


def launches_of_roots(
    A: Tensor,
    coefficients: Sequence[float],
    tight: bool,
    root: bool,
    inverse_root: bool,
    mended: bool = False,
) -> int:
    """Of the operator ``roots``, with its arguments.

    One for all steps; of large matrices one for each product, where the first step has two, or one
    if every ``r`` is zero, and each later step has three, or two. One more mends.
    """
    if A.shape[-1] <= tuning.LARGEST_IN_CACHE:
        return 1 + mended
    products = 3 if tight or any(coefficients[2::3]) else 2
    return products - 1 + products * max(len(coefficients) // 3 - 1, 1) + mended


def launches_of_root_gradient(
    Y: Tensor, Z: object, gY: object, gZ: Tensor | None, lower: float, doublings: int
) -> int:
    """Of the operator ``root_gradient``, with its arguments.

    One for all steps; of large matrices one for each step: for the square of the root, each Newton
    step, the right-hand side of an inverse root, its solution to first order, and each doubling.
    """
    if Y.shape[-1] <= tuning.LARGEST_IN_CACHE:
        return 1
    return 1 + newton_steps(lower**0.5) + (gZ is not None) + 1 + doublings
