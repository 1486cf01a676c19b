"""The coupled Newton-Schulz iteration of iSQRT-COV and IterNorm."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from covlayers.functional._base.checks import check_count
from covlayers.functional._iterations.newton_schulz import (
    explain_newton_schulz,
    newton_schulz_by_kernel,
)
from covlayers.functional._iterations.roots import iterated_roots
from covlayers.functional.core import Fns
from covlayers.functional.functions import SQRT
from covlayers.functional.methods._normalised import NormalisedMethod


@dataclass(frozen=True)
class NewtonSchulz(NormalisedMethod):
    r"""Coupled Newton-Schulz iteration, normalised by the trace.

    .. math:: Y_0 = A / \operatorname{tr} A, \quad Z_0 = I, \quad W = \tfrac12 (3I - Z_k Y_k),
              \quad Y_{k+1} = Y_k W, \quad Z_{k+1} = W Z_k,

    then :math:`A^{1/2} \approx \sqrt{\operatorname{tr} A}\, Y` and
    :math:`A^{-1/2} \approx Z / \sqrt{\operatorname{tr} A}`. Five steps, as published, regularise
    more than they invert: no eigenvalue of :math:`Z` exceeds :math:`1.5^5 \approx 7.6`, whatever
    :math:`A`. An indefinite matrix gives NaN. About 15 steps are exact in float32 for a condition
    number of 100.

    Args:
        iterations: steps, at least 1.

    Raises:
        InvalidValueError: if ``iterations`` is below 1.
        InvalidTypeError: if ``iterations`` is not an int.
        UnsupportedError: for another function than the roots.

    Example:
        >>> from covlayers.functional import sqrtm
        >>> sqrtm(torch.eye(2), method=NewtonSchulz(15))
        tensor([[1.0000, 0.0000],
                [0.0000, 1.0000]])

    Reference:
        :cite:t:`li2018towards` (root); :cite:t:`huang2019iterative` (inverse root).
    """

    iterations: int = 5
    default_backward: ClassVar[str] = "autograd"
    frobenius: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_count("iterations", self.iterations)

    def explain(self, fns: Fns, A: Tensor) -> tuple[str, str]:
        return explain_newton_schulz(A) or super().explain(fns, A)

    def _by_kernel(self, fns: Fns, A: Tensor) -> tuple[Tensor, ...] | None:
        wanted = [fn == SQRT for fn in fns]
        roots = newton_schulz_by_kernel(
            A, self.iterations, root=any(wanted), inverse_root=not all(wanted)
        )
        if roots is None:
            return None
        return tuple(roots.root if root else roots.inverse_root for root in wanted)

    def approximate(self, fns: Fns, B: Tensor) -> tuple[Tensor, ...]:
        wanted = [fn == SQRT for fn in fns]
        roots = iterated_roots(
            B,
            [(1.5, -0.5, 0.0)] * self.iterations,
            tight=False,
            root=any(wanted),
            inverse_root=not all(wanted),
        )
        return tuple(roots.root if root else roots.inverse_root for root in wanted)
