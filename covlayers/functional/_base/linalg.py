"""Small pieces of batched symmetric linear algebra, each safe for zero and non-finite matrices."""

from collections.abc import Sequence

import torch
from torch import Tensor

from covlayers.functional._base.errors import InvalidValueError
from covlayers.functional._base.function import in_forward_mode

# Beyond any rounding, bfloat16 included: an asymmetry of more than this fraction of the largest
# entry, or a negative eigenvalue of more than this fraction of the largest, is an error of the
# caller and not of the arithmetic.
BEYOND_ROUNDING = 1e-2


def symmetric(A: Tensor) -> Tensor:
    r"""The symmetric part :math:`(A + A^\top)/2`."""
    total = A + A.mT
    # Under vmap a tangent may be of one matrix where the value is of many.
    return total * 0.5 if in_forward_mode() else total.mul_(0.5)


def largest(A: Tensor) -> Tensor:
    """The largest magnitude of each matrix, ``(*)``; NaN if any entry is."""
    return torch.maximum(A.amax((-2, -1)), -A.amin((-2, -1)))


def identity_like(A: Tensor) -> Tensor:
    """The identity ``(n, n)`` with the dtype and device of ``A``, to be broadcast."""
    return torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)


def rebuild(values: Tensor, vectors: Tensor) -> Tensor:
    r""":math:`U \operatorname{diag}(\lambda) U^\top`."""
    return (vectors * values.unsqueeze(-2)) @ vectors.mT


def nonzero(scale: Tensor) -> Tensor:
    r"""``scale``, or :math:`\text{tiny}^{3/8}` (7e-15 in float32) where it is zero.

    A zero matrix is thereby read as one of that norm: its inverse root is finite, and so is the
    gradient, which grows with the third power of the inverse root.
    """
    return torch.where(scale > 0, scale, torch.finfo(scale.dtype).tiny ** 0.375)


def gram(z: Tensor) -> Tensor:
    """``z zᵀ``; of long rows on a CPU three blocks of four, as the fourth is one transposed."""
    n, M = z.shape[-2:]
    if z.device.type != "cpu" or n < 32 or 4 * n > M:
        return z @ z.mT
    above, below = z.tensor_split(2, -2)
    top, corner = above @ z.mT, below @ below.mT
    return torch.cat([top, torch.cat([top[..., above.shape[-2] :].mT, corner], -1)], -2)


def trace(A: Tensor) -> Tensor:
    """The trace, ``(*, 1, 1)``."""
    return A.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]


def standardized(cov: Tensor) -> tuple[Tensor, Tensor]:
    """The correlation matrix ``s_i cov_ij s_j`` and the scale ``s``, finite for zero variances."""
    variances = cov.diagonal(dim1=-2, dim2=-1)
    floor = nonzero(torch.finfo(cov.dtype).eps * variances.detach().amax(-1, keepdim=True))
    scale = torch.maximum(variances, floor).rsqrt()
    correlation = scale[..., :, None] * cov * scale[..., None, :]
    # A constant channel correlates with itself alone.
    return correlation + torch.diag_embed((variances < floor).to(cov.dtype)), scale


def frobenius_norm(A: Tensor) -> Tensor:
    """The Frobenius norm ``(*, 1, 1)``, nonzero, without overflow or underflow of the squares."""
    peak = nonzero(largest(A.detach())[..., None, None])
    norm = torch.linalg.vector_norm(A / peak, dim=(-2, -1), keepdim=True)
    return nonzero(peak * norm)


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
    factor, failed = torch.linalg.cholesky_ex(A)
    return factor + torch.where(failed > 0, torch.nan, 0.0).to(A.dtype)[..., None, None]


def semidefinite(A: Tensor) -> Tensor:
    """``A``, with NaN for a matrix with an eigenvalue below -1% of its Frobenius norm.

    For methods that do not see the spectrum, and would return a number where no root exists. One
    Cholesky factorisation; an exported graph, which may know none, goes without.
    """
    if exporting():
        return A
    lifted = A.detach() + BEYOND_ROUNDING * frobenius_norm(A.detach()) * identity_like(A)
    indefinite = torch.linalg.cholesky_ex(lifted).info > 0
    return A + torch.where(indefinite, torch.nan, 0.0).to(A.dtype)[..., None, None]


def exporting() -> bool:
    """Whether a graph is being exported; torch 2.11 says so in every compiled one too."""
    return torch.compiler.is_exporting() and not torch.compiler.is_dynamo_compiling()


def symmetrised(name: str, A: Tensor) -> Tensor:
    """The symmetric part of a batch of matrices that are symmetric up to rounding.

    A matrix with a non-finite entry becomes NaN as a whole. So does one far from symmetric where
    its values cannot be looked at without harm (an accelerator, a compiled graph, vmap);
    elsewhere it raises.
    """
    values = A.detach()
    asymmetry = (values - values.mT).amax((-2, -1))  # as large as the opposite
    if seen_all(asymmetry == 0):  # which no matrix with a non-finite entry has
        return A
    peak = largest(values)
    far = asymmetry > BEYOND_ROUNDING * peak
    if seen_all(~far) is False:
        raise InvalidValueError(
            f"{name} must be symmetric in its last two dimensions, got a matrix whose asymmetry "
            f"exceeds {BEYOND_ROUNDING:.0%} of its largest entry; pass ({name} + {name}.mT) / 2 "
            "if the symmetric part is what you mean."
        )
    spoilt = torch.where(far | ~torch.isfinite(peak), torch.nan, 0.0).to(A.dtype)
    return symmetric(A) + spoilt[..., None, None]


def seen_all(flags: Tensor) -> bool | None:
    """Whether all flags are set, or None where a host may not look without harm.

    That is an accelerator, which would be waited for, a compiled graph, which would break, and
    vmap, under which there is no value.
    """
    if torch.compiler.is_compiling() or flags.device.type != "cpu":
        return None
    try:
        return bool(flags.all())
    except RuntimeError:  # vmap and fake tensors have no value to look at
        return None


def polynomials(B: Tensor, *coefficients: Sequence[float]) -> tuple[Tensor, ...]:
    r"""Several polynomials :math:`\sum_k c_k B^k` of one matrix, by Paterson and Stockmeyer.

    The powers up to :math:`s \approx \sqrt{K}` are shared; each polynomial then is a Horner
    scheme in :math:`B^s` with :math:`\lceil (K+1)/s \rceil - 1` products.
    """
    longest = max(len(c) for c in coefficients)
    s = max(1, round(longest**0.5))
    powers = [identity_like(B), B]
    while len(powers) <= s:
        powers.append(powers[-1] @ B)

    def horner(c: Sequence[float]) -> Tensor:
        blocks = [c[start : start + s] for start in range(0, len(c), s)]
        total: Tensor | None = None
        for block in reversed(blocks):
            # sum() starts from the int 0, which broadcasts
            low = sum(x * power for x, power in zip(block, powers, strict=False))
            total = low if total is None else total @ powers[s] + low  # type: ignore[assignment]
        assert total is not None
        return total.expand(B.shape)

    return tuple(horner(c) for c in coefficients)
