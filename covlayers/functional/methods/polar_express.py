"""The coupled iteration with minimax coefficients."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from covlayers.functional._base.checks import check_count, check_number
from covlayers.functional._base.function import readable
from covlayers.functional._base.linalg import largest, symmetric
from covlayers.functional._iterations.roots import (
    LastStep,
    Quintic,
    Roots,
    explain_roots,
    iterated_roots,
)
from covlayers.functional.core import DirectMethod, Fns
from covlayers.functional.functions import ROOTS
from covlayers.functional.methods._minimax import minimax_quintics
from covlayers.functional.methods.eigh import Eigh


@dataclass(frozen=True)
class PolarExpress(DirectMethod):
    r"""Coupled quintic iteration with minimax coefficients: root and inverse root by products only.

    .. math:: Y_0 &= A/c, \quad Z_0 = I, \quad W = Z_k Y_k, \quad Q = p_k I + q_k W + r_k W^2,

              Y_{k+1} &= Y_k Q, \quad Z_{k+1} = Q Z_k,

    where :math:`c = \lVert A^2 \rVert_F^{1/2}` bounds the spectrum and
    :math:`p x + q x^3 + r x^5` is, of all odd quintics, the one closest to 1 on the interval that
    the singular values have reached. Exact to rounding for eigenvalues above
    :math:`\ell^2 c`; below, the inverse root saturates near :math:`4/(\ell \sqrt c)`. No solve
    and no eigendecomposition: fast on a GPU, capturable in CUDA graphs, exportable.

    Args:
        lower: :math:`\ell`, in (0, 1]: a lower bound for :math:`\sqrt{\lambda_{\min} / c}`. The
            larger, the fewer steps. Default :math:`4\sqrt\epsilon` (1.4e-3 in float32), below which
            an eigenvalue is rounding noise. A negative eigenvalue beyond that noise diverges. On a
            CPU such a matrix is computed as :class:`Eigh` does; in float32 and up to 512 rows on a
            GPU with Triton, by its positive part, unless that is more than 1% away. Elsewhere, and
            in a compiled graph without a kernel, it gives NaN.
        iterations: steps, at least 1; by default as many as ``lower`` needs for full precision
            (7 in float32).

    Raises:
        InvalidValueError: if ``lower`` lies outside (0, 1] or ``iterations`` is below 1.
        InvalidTypeError: if ``lower`` is not a real number or ``iterations`` not an int.
        UnsupportedError: for another function than the roots.

    Example:
        >>> from covlayers.functional import sqrtm_and_invsqrtm
        >>> Y, Z = sqrtm_and_invsqrtm(4 * torch.eye(2), method=PolarExpress())
        >>> torch.allclose(Y, 2 * torch.eye(2)), torch.allclose(Z, torch.eye(2) / 2)
        (True, True)

    Reference:
        :cite:t:`amsel2025polar`; :cite:t:`grishina2025cans`; :cite:t:`chen2014stable`. The coupled
        form for the roots is ours.
    """

    lower: float | None = None
    iterations: int | None = None
    default_backward: ClassVar[str] = "smith"
    _quintics: dict[torch.dtype, tuple[Quintic, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.lower is not None:
            check_number("lower", self.lower, 0, 1, open_low=True)
        if self.iterations is not None:
            check_count("iterations", self.iterations)
        # Host arithmetic, done here so that a compiled graph holds the coefficients alone.
        quintics = {dtype: self._coefficients(dtype) for dtype in (torch.float32, torch.float64)}
        object.__setattr__(self, "_quintics", quintics)

    def _coefficients(self, dtype: torch.dtype) -> tuple[Quintic, ...]:
        eps = torch.finfo(dtype).eps
        lower = math.sqrt(16 * eps) if self.lower is None else self.lower
        return minimax_quintics(lower, eps, self.iterations)

    def explain(self, fns: Fns, A: Tensor) -> tuple[str, str]:
        return explain_roots(A) or ("matrix products", "no kernel serves these matrices")

    def sqrtm(self, A: Tensor) -> Tensor:
        return self._roots(A, True, False).root

    def invsqrtm(self, A: Tensor) -> Tensor:
        return self._roots(A, False, True).inverse_root

    def sqrtm_and_invsqrtm(self, A: Tensor) -> tuple[Tensor, Tensor]:
        both = self._roots(A, True, True)
        return both.root, both.inverse_root

    def _roots(self, A: Tensor, root: bool, inverse_root: bool) -> Roots | LastStep:
        roots = self._iterated(A, root, inverse_root)
        if self.iterations is None and readable(A) and isinstance(roots, LastStep):
            stray = roots.stray
            if stray.any() and (stray := stray & (largest(A.detach()) < torch.inf)).any():
                return self._apart(A, stray.flatten())
        return roots

    def _iterated(self, A: Tensor, root: bool, inverse_root: bool) -> Roots | LastStep:
        quintics = self._quintics[A.dtype]
        wanted = {"root": root, "inverse_root": inverse_root}
        return iterated_roots(A, quintics, tight=True, mended=self.iterations is None, **wanted)

    def _apart(self, A: Tensor, stray: Tensor) -> Roots:
        """The roots by the iteration, but through the spectrum for ``stray`` matrices."""
        # Iterate anew: through the first run, stray matrices would get a gradient 0 times infinity.
        matrices = A.reshape(-1, *A.shape[-2:])
        steady = self._iterated(matrices[~stray], True, True)
        others = Eigh().forward(ROOTS, matrices[stray])[0]
        order = torch.argsort(torch.argsort(stray.int(), stable=True))
        pairs = zip((steady.root, steady.inverse_root), others, strict=True)
        return Roots([symmetric(torch.cat(pair)[order].view(A.shape)) for pair in pairs])
