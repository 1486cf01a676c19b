"""What would run for a tensor, and why."""

from dataclasses import dataclass

from torch import Tensor

from covlayers.functional._base.checks import choose
from covlayers.functional._base.tensors import check_square, full
from covlayers.functional.backwards import BACKWARDS
from covlayers.functional.core import MatrixFunction, Method
from covlayers.functional.functions import INVSQRT, LOG, SQRT
from covlayers.functional.matrix_functions import check_cell
from covlayers.functional.rule import Backward

FUNCTIONS = {"sqrtm": lambda: SQRT, "invsqrtm": lambda: INVSQRT, "logm": lambda: LOG}


@dataclass(frozen=True)
class Selection:
    """The method and the rule that run, how the method computes, and why.

    Args:
        method: the method that runs.
        backward: the rule that differentiates it.
        implementation: how the method computes for this input.
        reason: why this method and this implementation.

    Example:
        >>> select(torch.eye(3)).method
        Eigh(refine=False)
    """

    method: Method
    backward: Backward
    implementation: str
    reason: str


def select(
    A: Tensor,
    function: str | MatrixFunction = "sqrtm",
    *,
    method: str | Method = "auto",
    backward: str | Backward | None = None,
) -> Selection:
    r"""The method, the rule and the implementation that would run for matrices, and why.

    Nothing is computed, and no value of the matrices is read: what runs depends on their shape,
    their dtype, their device, and whether a gradient is asked of them.

    Args:
        A: the matrices :math:`A`.
        function: :math:`f`: ``"sqrtm"``, ``"invsqrtm"``, ``"logm"``, or a
            :class:`MatrixFunction`.
        method: as for :func:`sqrtm`.
        backward: as for :func:`sqrtm`.

    Shape:
        - A: :math:`(*, n, n)`

    Raises:
        InvalidValueError: if ``A`` is not square, or a name is unknown.
        InvalidTypeError: if ``A`` is not a real floating tensor.
        UnsupportedError: if function, method and rule do not fit.

    Example:
        >>> chosen = select(torch.eye(3), "invsqrtm")
        >>> chosen.method, chosen.backward
        (Eigh(refine=True), Loewner())
        >>> print(chosen.implementation)
        an eigendecomposition in float64
    """
    check_square("A", A)
    fn = choose("function", function, FUNCTIONS, MatrixFunction)
    asked, rule = check_cell((fn,), method, backward)
    A = full(A)
    chosen = asked.select((fn,), A)
    rule = rule or choose("backward", chosen.default_backward, BACKWARDS, Backward)
    implementation, reason = chosen.explain((fn,), A)
    if chosen is not asked:
        reason = f"{asked.explain((fn,), A)[1]}; {reason}"
    return Selection(chosen, rule, implementation, reason)
