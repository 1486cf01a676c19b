r"""A published approximation, evaluated on the eigenvalues: the same function by a shorter way.

:math:`s^{\pm 1/2} h_\pm(A/s) = U\, s^{\pm 1/2} h_\pm(\Lambda/s)\, U^\top`, so where one
eigendecomposition costs less than the products of the steps, nothing else changes: neither the
value nor the gradient, which in the eigenbasis is

.. math:: s^{\pm 1/2 - 1}\, h_\pm[x_i, x_j]\, G_{ij} \quad (i \ne j), \qquad
          h_\pm[x, y] = \frac{h_\pm(x) - h_\pm(y)}{x - y}, \quad x = \lambda / s,

and on the diagonal the derivative by :math:`\lambda_i`, on which :math:`s` depends too.

On one thread LAPACK's float32 decomposition took the time of some :math:`1600/n` products (25 at
n = 64, 13 at 128, 9 at 256), and more threads speed up products alone. A forward and a backward
pass of iSQRT-COV are 36 products, one of MTP or MPA more; here 5 remain.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from covlayers.functional._base.decomposition import decompose
from covlayers.functional._base.linalg import BEYOND_ROUNDING, nonzero, rebuild
from covlayers.functional.core import Fns, MatrixFunction, Method
from covlayers.functional.functions import exponent
from covlayers.functional.methods._normalised import NormalisedMethod

SIZE_PER_THREAD = 56
"""From this size on, times the number of threads, one decomposition is the shorter way."""


def shorter_way(method: Method, A: Tensor) -> Method:
    """The method itself, or through the spectrum, where that is the same but faster."""
    if torch.compiler.is_compiling() or not isinstance(method, NormalisedMethod):
        return method
    float32_on_cpu = A.device.type == "cpu" and A.dtype == torch.float32
    shorter = A.shape[-1] >= SIZE_PER_THREAD * torch.get_num_threads()
    return ThroughSpectrum(method) if float32_on_cpu and shorter else method


@dataclass(frozen=True)
class ThroughSpectrum(Method):
    """The function that ``method`` computes, of float32 matrices, by their spectrum."""

    method: NormalisedMethod

    def forward(self, fns: Fns, A: Tensor) -> tuple[Tensor, ...]:
        values, vectors = decompose(A)
        norm = torch.linalg.vector_norm(values, dim=-1, keepdim=True)
        indefinite = values[..., :1] < -BEYOND_ROUNDING * norm
        values = values + torch.where(indefinite, torch.nan, 0.0)
        s = self.method.norm(A).squeeze(-1).double()
        roots = self.method.approximate(fns, (values / s)[..., None, None])
        scaled = (
            (s ** exponent(fn) * h[..., 0, 0]).to(A.dtype) for fn, h in zip(fns, roots, strict=True)
        )
        return *(rebuild(f, vectors) for f in scaled), values, vectors

    def inner_gradient(self, fn: MatrixFunction, values: Tensor, grad: Tensor) -> Tensor:
        """The gradient in the eigenbasis, of ``grad`` that is given in it."""
        s, slope_of_s = self._norm_of(values)
        power = exponent(fn)
        x = values.double() / s
        h, slope = torch.func.jvp(
            lambda x: self.method.approximate((fn,), x[..., None, None])[0][..., 0, 0],
            (x,),
            (torch.ones_like(x),),
        )[:2]
        inner = (s ** (power - 1)).unsqueeze(-1) * _quotients(x, h, slope) * grad
        by_s = s ** (power - 1) * (power * h - x * slope)
        through_s = (grad.diagonal(dim1=-2, dim2=-1) * by_s).sum(-1, keepdim=True) * slope_of_s
        inner.diagonal(dim1=-2, dim2=-1).add_(through_s)
        return inner.to(grad.dtype)

    def _norm_of(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """``s`` and its slope by each eigenvalue, in float64; zero matrices as in float32."""
        if self.method.frobenius:
            s = torch.linalg.vector_norm(values, dim=-1, keepdim=True)
            slope = values / nonzero(s)
        else:
            s = values.sum(-1, keepdim=True)
            slope = torch.ones_like(values)
        return nonzero(s).double(), torch.where(s > 0, slope, 0.0).double()


def _quotients(x: Tensor, h: Tensor, slope: Tensor) -> Tensor:
    """``h[x_i, x_j]``; the mean slope where the difference is too small for a quotient."""
    gap = x[..., :, None] - x[..., None, :]
    size = x.abs()
    near = gap.abs() <= 1e-7 * torch.maximum(size[..., :, None], size[..., None, :]) + 1e-10
    mean = (slope[..., :, None] + slope[..., None, :]) / 2
    quotient = (h[..., :, None] - h[..., None, :]) / torch.where(near, 1.0, gap)
    return torch.where(near, mean, quotient)
