"""The spectral method: exact to rounding, and the way to every function."""

from dataclasses import dataclass

from torch import Tensor

from covlayers.functional._base import tuning
from covlayers.functional._base.checks import check_flag
from covlayers.functional._base.decomposition import (
    decompose,
    decompose_positive,
    without_null,
)
from covlayers.functional._base.function import compiling
from covlayers.functional._base.linalg import of_spectrum
from covlayers.functional._base.onnx_export import exporting_to_onnx
from covlayers.functional.core import Computed, Fns, SpectralMethod
from covlayers.functional.methods._refinement import refined, with_residual
from covlayers.functional.methods._roots_for_onnx import roots_for_onnx


@dataclass(frozen=True)
class Eigh(SpectralMethod):
    r"""Symmetric eigendecomposition, :math:`f(A) = U f(\Lambda) U^\top`.

    Eigenvalues below :math:`\epsilon\lambda_{\max}`, which are rounding noise, are raised to it: a
    rank-deficient matrix has the finite logarithm, negative powers and gradients of the
    regularised matrix. In a positive power, which divides by nothing, eigenvalues up to
    :math:`\sqrt n\, \epsilon \lambda_{\max}`, which rounding may make of a zero, count as zero. A
    matrix with an eigenvalue below :math:`-0.01 \max|\lambda|` gives NaN. Cost: about
    :math:`9n^3` operations.

    The decomposition is exact for a matrix that differs from :math:`A` by the rounding of
    :math:`\lambda_{\max}`, which is much for the small eigenvalues of an ill-conditioned matrix.
    ``refine`` corrects for the remainder :math:`R = U^\top A U - \Lambda` to first order: in the
    value, :math:`U (f(\Lambda) + L \circ R) U^\top`, and for the roots in the gradient of
    :class:`Loewner`. At a condition number of :math:`10^4` in float32 value and gradient of the
    inverse root gain a factor of 20 to 30 (8e-4 and 2e-3 become 3e-5 and 1e-4), for three further
    products of :math:`2n^3` operations forward and two backward. On a CPU matrices up to
    :math:`n = 48` are decomposed in float64 instead, which costs less and leaves nothing to
    correct.

    A graph for ONNX, which has no eigendecomposition, takes the roots by the products of
    :class:`PolarExpress`, and a power :math:`\pm 2^{-k}` as a root of roots.

    Args:
        refine: whether to correct for the rounding of the decomposition.

    Raises:
        InvalidTypeError: if ``refine`` is not a bool.
        ConvergenceError: if the decomposition does not converge, not even in float64.
        UnsupportedError: for another function in a graph for ONNX.

    Example:
        >>> from covlayers.functional import logm
        >>> logm(torch.eye(2), method=Eigh())
        tensor([[0., 0.],
                [0., 0.]])

    Reference:
        :cite:t:`higham2008functions`, chapter 1; as a layer :cite:t:`ionescu2015matrix`.
    """

    refine: bool = False

    def __post_init__(self) -> None:
        check_flag("refine", self.refine)

    def decompose(self, A: Tensor) -> tuple[Tensor, Tensor]:
        return decompose(A)[:2]

    def explain(self, fns: Fns, A: Tensor) -> tuple[str, str]:
        if not self.refine:
            return "an eigendecomposition", "it was not asked to be refined"
        if _small(A):
            return "an eigendecomposition in float64", "at this size it costs less than to refine"
        return "an eigendecomposition, refined by products", "it was asked to be refined"

    def forward(self, fns: Fns, A: Tensor) -> Computed:
        if compiling() and exporting_to_onnx(A):
            return roots_for_onnx(fns, A), None
        if self.refine and not _small(A):
            spectrum, null = with_residual(A, decompose(A).vectors)
            return tuple([refined(fn, spectrum, null) for fn in fns]), spectrum
        wide = A.double() if self.refine else A
        if any([fn.positive for fn in fns]):
            spectrum, null = decompose_positive(wide, A.dtype)
        else:
            spectrum, null = decompose(wide), None
        values, vectors, _ = spectrum
        f = [fn.f(values) for fn in fns]
        if null is not None:
            f = [without_null(one, fn.zero_at_zero, null) for one, fn in zip(f, fns, strict=True)]
        outputs = [of_spectrum(vectors, one) for one in f]
        return tuple([Y.to(A.dtype) for Y in outputs] if self.refine else outputs), spectrum


def _small(A: Tensor) -> bool:
    """Whether a decomposition in float64 costs less than what refines one in float32."""
    return A.device.type == "cpu" and A.shape[-1] <= tuning.LARGEST_WIDE
