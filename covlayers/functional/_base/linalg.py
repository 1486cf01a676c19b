"""Small pieces of batched symmetric linear algebra, each safe for zero and non-finite matrices."""

from collections.abc import Sequence

import torch
from torch import Tensor

from covlayers.functional._base.function import compiling, exporting
from covlayers.functional._base.onnx_export import refuse_onnx

# Beyond any rounding, bfloat16 included: an asymmetry of more than this fraction of the largest
# entry, or a negative eigenvalue of more than this fraction of the largest, is an error of the
# caller and not of the arithmetic.
BEYOND_ROUNDING = 1e-2


def cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    """``x`` in a dtype, without a call where it has it."""
    return x if x.dtype == dtype else x.to(dtype)


def symmetric(A: Tensor) -> Tensor:
    r"""The symmetric part :math:`(A + A^\top)/2`."""
    return (A + A.mT) * 0.5


def largest(A: Tensor) -> Tensor:
    """The largest magnitude of each matrix, ``(*)``; NaN if any entry is."""
    return torch.maximum(A.amax((-2, -1)), -A.amin((-2, -1)))


def identity_like(A: Tensor) -> Tensor:
    """The identity ``(n, n)`` with the dtype and device of ``A``, to be broadcast."""
    return torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)


def into_basis(U: Tensor, X: Tensor) -> Tensor:
    r""":math:`U^\top X U`."""
    if U.dim() == 3 and U.shape == X.shape:  # without the questions that @ asks first
        return U.mT.bmm(X).bmm(U)
    return U.mT @ X @ U


def eigenvalues_in(U: Tensor, X: Tensor) -> Tensor:
    r"""The diagonal of :math:`U^\top X U`, ``(*, n)``, in the dtype of ``U``."""
    return ((cast(X, U.dtype) @ U) * U).sum(-2)


def out_of_basis(U: Tensor, X: Tensor) -> Tensor:
    r""":math:`U X U^\top`."""
    if U.dim() == 3 and U.shape == X.shape:
        return U.bmm(X).bmm(U.mT)
    return U @ X @ U.mT


def of_spectrum(U: Tensor, f: Tensor) -> Tensor:
    r""":math:`U \operatorname{diag}(f)\, U^\top` for values ``f (*, n)``."""
    scaled = U * f.unsqueeze(-2)
    return scaled.bmm(U.mT) if U.dim() == 3 else scaled @ U.mT


def regularized(cov: Tensor, eps: float, shrinkage: float | None = None) -> Tensor:
    """The core: covariances shrunk, if told to, and with ``eps`` on their diagonal."""
    if shrinkage is not None:
        mean = trace(cov) / max(cov.shape[-1], 1)
        return (1 - shrinkage) * cov + (shrinkage * mean + eps) * identity_like(cov)
    if compiling():
        # With dynamic=True eps is a symbol: passed by keyword, it would cause a second trace.
        return cov + eps * identity_like(cov)
    return torch.add(cov, identity_like(cov), alpha=eps) if eps else cov


def nonzero(scale: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    r"""``scale``, or :math:`\text{tiny}^{3/8}` (7e-15 in float32) where it is zero.

    A zero matrix thereby counts as a matrix of that norm. Its inverse root is finite, and so is the
    gradient, which grows with the third power of the inverse root. ``dtype`` is the dtype in which
    both must be finite, by default the dtype of ``scale``.
    """
    return torch.where(scale > 0, scale, torch.finfo(dtype or scale.dtype).tiny ** 0.375)


def rounding_of(scale: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    r""":math:`\epsilon` times ``scale``, which is at least 0; where it is zero as :func:`nonzero`.

    Never below the smallest subnormal number, which is the rounding of scales below 1e-38.
    """
    finfo = torch.finfo(dtype or scale.dtype)
    rounding = (finfo.eps * scale).clamp_min(finfo.tiny * finfo.eps)
    return torch.where(scale > 0, rounding, finfo.tiny**0.375)


def trace(A: Tensor) -> Tensor:
    """The trace, ``(*, 1, 1)``."""
    return A.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]


def standardized(cov: Tensor) -> tuple[Tensor, Tensor]:
    """The correlation matrix ``s_i cov_ij s_j`` and the scale ``s``, finite for zero variances."""
    variances = cov.diagonal(dim1=-2, dim2=-1)
    constant = variances <= 0  # a small variance is one: features have scales of their own
    floor = rounding_of(variances.detach().amax(-1, keepdim=True))
    scale = torch.where(constant, floor, variances).rsqrt()
    correlation = scale[..., :, None] * cov * scale[..., None, :]
    # A constant channel correlates with itself alone.
    return correlation + torch.diag_embed(constant.to(cov.dtype)), scale


def frobenius_norm(A: Tensor) -> Tensor:
    """The Frobenius norm ``(*, 1, 1)``, nonzero, without overflow or underflow of the squares."""
    peak = nonzero(largest(A.detach())[..., None, None])
    norm = torch.linalg.vector_norm(A / peak, dim=(-2, -1), keepdim=True)
    return peak * torch.where(norm > 0, norm, 1.0)


def spectral_bound(A: Tensor) -> Tensor:
    r""":math:`\lVert A^2 \rVert_F^{1/2} \ge \lambda_{\max}`, ``(*, 1, 1)``, for symmetric ``A``.

    Tighter than the Frobenius norm: at most :math:`n^{1/4} \lambda_{\max}`. It is
    :math:`n^{-1/4}` of that norm at least, for a zero matrix too.
    """
    norm = frobenius_norm(A)
    scaled = A / norm
    return norm * frobenius_norm(scaled @ scaled).clamp_min(A.shape[-1] ** -0.5).sqrt()


def cholesky(A: Tensor) -> Tensor:
    """The lower Cholesky factor, NaN where a matrix is not positive definite."""
    if compiling():
        refuse_onnx(A, "a Cholesky factor")
    factor, failed = torch.linalg.cholesky_ex(A)
    return factor + torch.where(failed > 0, torch.nan, 0.0).to(A.dtype)[..., None, None]


def solve(M: Tensor, rhs: Tensor) -> Tensor:
    """``M⁻¹ rhs`` of positive definite matrices, NaN where one is not."""
    return torch.cholesky_solve(rhs, cholesky(M))


def semidefinite(A: Tensor) -> Tensor:
    """``A``, with NaN for a matrix with an eigenvalue below -1% of its Frobenius norm.

    For methods that do not see the spectrum, and would return a number where no root exists. One
    Cholesky factorisation; an exported graph, which may know none, goes without.
    """
    if exporting():
        return A
    norm = frobenius_norm(A.detach())
    lifted = A.detach() + BEYOND_ROUNDING * norm * identity_like(A)
    indefinite = torch.linalg.cholesky_ex(lifted).info[..., None, None] > 0
    return A + torch.where(indefinite | torch.isinf(norm), torch.nan, 0.0).to(A.dtype)


def polynomials(B: Tensor, *coefficients: Sequence[float]) -> tuple[Tensor, ...]:
    r"""Several polynomials :math:`\sum_k c_k B^k` of one matrix, by Paterson and Stockmeyer.

    The powers up to :math:`s \approx \sqrt{K}` are shared; each polynomial then is a Horner
    scheme in :math:`B^s` with :math:`\lceil (K+1)/s \rceil - 1` products.
    """
    longest = max([len(c) for c in coefficients])
    s = max(1, round(longest**0.5))
    powers = [identity_like(B), B]
    while len(powers) <= s:
        powers.append(powers[-1] @ B)
    results = []
    for c in coefficients:
        total: Tensor | None = None
        for start in reversed(range(0, len(c), s)):
            low = c[start] * powers[0]
            for x, power in zip(c[start + 1 : start + s], powers[1:], strict=False):
                low = torch.add(low, power, alpha=x)
            total = low if total is None else total @ powers[s] + low
        assert total is not None
        results.append(total.expand(B.shape))
    return tuple(results)
