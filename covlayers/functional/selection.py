"""What would run for a tensor, and why."""

from dataclasses import dataclass

from torch import Tensor

from covlayers.functional._base.checks import check_choice, check_flag, choose
from covlayers.functional._base.tensors import check_positions, check_square, check_tensor, full
from covlayers.functional.backwards import BACKWARDS
from covlayers.functional.by_positions import Cell
from covlayers.functional.by_products import Products
from covlayers.functional.centered_product import few_positions
from covlayers.functional.core import MatrixFunction, Method
from covlayers.functional.covariance_functions import SIDES, cell_of_few_positions, chosen_function
from covlayers.functional.matrix_functions import check_cell
from covlayers.functional.rule import Backward, Rule


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
    function: str | float | MatrixFunction = "sqrtm",
    *,
    method: str | Method = "auto",
    backward: str | Backward | None = None,
    of_covariance: bool = False,
    side: str = "auto",
) -> Selection:
    r"""The method, the rule and the implementation that would run for matrices, and why.

    Nothing is computed, and no value of the matrices is read: what runs depends on their shape,
    their dtype, their device, and whether a gradient is asked of them.

    Args:
        A: the matrices :math:`A`.
        function: :math:`f`: ``"sqrtm"``, ``"invsqrtm"``, ``"logm"``, a real number for the power,
            or a :class:`MatrixFunction`.
        method: as for :func:`sqrtm`.
        backward: as for :func:`sqrtm`.
        of_covariance: whether ``A`` are features :math:`(*, C, M)`, of whose covariance
            :func:`covariance_function` takes :math:`f`.
        side: of the covariance, as for :func:`covariance_function`; on a GPU as with an ``eps``
            above 0 and no shrinkage.

    Shape:
        - A: :math:`(*, n, n)`, or :math:`(*, C, M)` with ``of_covariance``

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
        >>> select(torch.randn(256, 49), of_covariance=True).implementation
        'on the side of the positions, 49 x 49 in place of 256 x 256'
    """
    fn = chosen_function(function)
    asked, rule = check_cell((fn,), method, backward)
    check_flag("of_covariance", of_covariance)
    check_choice("side", side, SIDES)
    if of_covariance:
        check_tensor("A", A, 2)
        check_positions("A", A, 1)
        A = full(A)
        cell = cell_of_few_positions(fn, asked, rule, side)
        # as with an eps above 0 and no shrinkage, which an accelerator asks for
        if cell is not None and few_positions(A, side, cell.products, 1.0, None):
            C, M = A.shape[-2:]
            on_gpu = A.device.type != "cpu" and few_positions(A, "auto", cell.products, 1.0, None)
            runs: Products | Cell = cell.products if on_gpu and cell.products is not None else cell
            return Selection(
                runs.method,
                runs.rule,
                f"on the side of the positions, {M} x {M} in place of {C} x {C}"
                + (", by products in Triton kernels" if runs is not cell else ""),
                "it was asked for" if side == "positions" else "there are few positions",
            )
        A = A[..., :1].expand(*A.shape[:-1], A.shape[-2])  # as a covariance has it
    check_square("A", A)
    A = full(A)
    chosen = asked.select((fn,), A)
    rule = rule or choose("backward", chosen.default_backward, BACKWARDS, Backward)
    seen = A.detach() if isinstance(rule, Rule) else A  # a rule leaves the steps no derivative
    implementation, reason = chosen.explain((fn,), seen)
    if chosen is not asked:
        reason = f"{asked.explain((fn,), seen)[1]}; {reason}"
    return Selection(chosen, rule, implementation, reason)
