r"""The covariance of which a layer makes a matrix once, for all inputs to come: in float64.

Its eigenvalues may lie further apart than the precision of the statistics, where features have
different scales: the entry :math:`ij` is exact to the rounding of :math:`\sigma_i \sigma_j`, not of
the largest variance. So the noise is looked for in the correlation matrix.
"""

import torch
from torch import Tensor

from covlayers.functional._base.decomposition import decompose, noise, positive
from covlayers.functional._base.linalg import of_spectrum, regularized, rounding_of
from covlayers.functional._batch.weighted_moments import ROUNDING


def regularized_in_float64(
    cov: Tensor, mean: Tensor, eps: float, shrinkage: float | None
) -> Tensor:
    """The regularised covariances, raised out of the rounding noise of their own dtype.

    Args:
        cov: covariances ``(*, c, c)``.
        mean: the means ``(*, c)``.
        eps: added to the variances.
        shrinkage: weight of the scaled identity, or None.
    """
    if cov.device.type == "mps":  # which has no float64
        return regularized(cov, eps, shrinkage)
    A = regularized(cov.double(), eps, shrinkage)
    return A if cov.dtype == torch.float64 else _out_of_noise(A, mean.double(), cov.dtype)


def _out_of_noise(A: Tensor, mean: Tensor, dtype: torch.dtype) -> Tensor:
    variances = A.diagonal(dim1=-2, dim2=-1)
    eps = torch.finfo(dtype).eps
    constant = variances <= (ROUNDING * eps * mean).square()
    floor = rounding_of(variances.amax(-1, keepdim=True), dtype)
    deviation = torch.where(constant, torch.maximum(variances, floor), variances).sqrt()
    scale = deviation.unsqueeze(-1) * deviation.unsqueeze(-2)
    P = A / scale
    # A constant feature correlates with itself alone.
    P = P + torch.diag_embed(torch.where(constant, 1 - variances / deviation.square(), 0.0))
    values, vectors, _ = positive(decompose(P), dtype).spectrum
    raised = torch.maximum(values, noise(A.shape[-1], dtype) * values[..., -1:])
    clear = ~constant.any(-1) & (values == raised).all(-1)
    return torch.where(clear[..., None, None], A, of_spectrum(vectors, raised) * scale)
