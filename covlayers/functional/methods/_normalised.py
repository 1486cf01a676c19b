r"""What the published approximations share: they see a matrix divided by its norm.

.. math:: A^{\pm 1/2} \approx s^{\pm 1/2}\, h_\pm(A/s), \qquad s = \operatorname{tr} A
          \text{ or } \lVert A \rVert_F,

with :math:`h_\pm` a polynomial or a rational function, and so a function of the eigenvalues:

.. math:: s^{\pm 1/2}\, h_\pm(A/s) = U\, s^{\pm 1/2}\, h_\pm(\Lambda/s)\, U^\top .

Where one eigendecomposition costs less than the products of the steps, it replaces them. Neither
the value nor the gradient changes: in the eigenbasis the gradient is

.. math:: s^{\pm 1/2 - 1}\, h_\pm[x_i, x_j]\, G_{ij} \quad (i \ne j), \qquad
          h_\pm[x, y] = \frac{h_\pm(x) - h_\pm(y)}{x - y}, \quad x = \lambda / s,

and on the diagonal the derivative by :math:`\lambda_i`, on which :math:`s` depends too.
"""

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from covlayers.functional._base import tuning
from covlayers.functional._base.decomposition import Spectrum, decompose
from covlayers.functional._base.function import compiling, differentiable
from covlayers.functional._base.linalg import (
    BEYOND_ROUNDING,
    frobenius_norm,
    into_basis,
    nonzero,
    of_spectrum,
    out_of_basis,
    rounding_of,
    semidefinite,
    symmetric,
    trace,
)
from covlayers.functional.core import Computed, DirectMethod, Fns, MatrixFunction
from covlayers.functional.factored import Derivative, FactorSpectrum, ThroughNorm, quotients
from covlayers.functional.functions import INVSQRT, ROOTS, SQRT


class NormalisedMethod(DirectMethod):
    r"""An approximation of the roots of ``A / s``; a subclass offers ``approximate(fns, B)``.

    .. math:: A^{\pm 1/2} \approx s^{\pm 1/2}\, h_\pm(A/s)

    ``s`` is the trace, or the Frobenius norm where ``frobenius`` is set. Where it is faster, the
    approximation takes the eigenvalues, as matrices of one entry in float64.

    Example:
        >>> class Tangent(NormalisedMethod):  # of the root, at the identity
        ...     frobenius = True
        ...     def approximate(self, fns, B):
        ...         return tuple((torch.eye(B.shape[-1]) + B) / 2 for _ in fns)
        >>> sqrtm(torch.tensor([[4.0]]), method=Tangent())
        tensor([[2.]])

    Reference:
        :cite:t:`li2018towards` (trace); :cite:t:`song2022inverse` (Frobenius norm).
    """

    frobenius: ClassVar[bool]

    @abstractmethod
    def approximate(self, fns: Fns, B: Tensor) -> tuple[Tensor, ...]:
        """One approximate root of the normalised ``B``, ``(*, n, n)``, for each of ``fns``."""

    def explain(self, fns: Fns, A: Tensor) -> tuple[str, str]:
        if _takes_spectrum(A):
            return (
                "its approximation on the eigenvalues",
                "at this size one eigendecomposition costs less than the products of the steps",
            )
        return (
            "its approximation by matrix products",
            "the products cost less than one eigendecomposition, or must be kept",
        )

    def forward(self, fns: Fns, A: Tensor) -> Computed:
        return (
            self._on_eigenvalues(fns, A) if _takes_spectrum(A) else (self._products(fns, A), None)
        )

    def steps(self, fns: Fns, A: Tensor) -> tuple[Tensor, ...]:
        if _takes_spectrum(A):
            return _on_eigenvalues(symmetric(A), fns, self)[: len(fns)]
        return self._by_kernel(fns, A) or self._products(fns, symmetric(A))

    def sqrtm(self, A: Tensor) -> Tensor:
        """The root of ``A``, ``(*, n, n)``."""
        return self._products((SQRT,), A)[0]

    def invsqrtm(self, A: Tensor) -> Tensor:
        """The inverse root of ``A``, ``(*, n, n)``."""
        return self._products((INVSQRT,), A)[0]

    def sqrtm_and_invsqrtm(self, A: Tensor) -> tuple[Tensor, Tensor]:
        Y, Z = self._products(ROOTS, A)
        return Y, Z

    def _by_kernel(self, fns: Fns, A: Tensor) -> tuple[Tensor, ...] | None:
        """The outputs for the symmetric part of ``A``, where a kernel serves; elsewhere None."""
        return None

    def _products(self, fns: Fns, A: Tensor) -> tuple[Tensor, ...]:
        if A.device.type != "cpu" and (outputs := self._by_kernel(fns, A)):
            return outputs
        A = semidefinite(A)
        s = frobenius_norm(A) if self.frobenius else nonzero(trace(A))
        roots = self.approximate(fns, A / s)
        return tuple([s**fn.exponent * root for fn, root in zip(fns, roots, strict=True)])

    def _on_eigenvalues(self, fns: Fns, A: Tensor) -> Computed:
        values, vectors, _ = decompose(A)
        norm = torch.linalg.vector_norm(values, dim=-1, keepdim=True, dtype=torch.float64)
        indefinite = values[..., :1] < -BEYOND_ROUNDING * norm
        values = values + torch.where(indefinite, torch.nan, 0.0)
        s = self._norm_of(values, _sum)[0]
        roots = self.approximate(fns, (values / s)[..., None, None])
        f = [s**fn.exponent * h[..., 0, 0] for fn, h in zip(fns, roots, strict=True)]
        outputs = [of_spectrum(vectors, one.to(A.dtype)) for one in f]
        noise = rounding_of(values[..., -1:])
        return tuple(outputs), Spectrum(torch.maximum(values, noise), vectors)

    def values_on(self, fn: MatrixFunction, spectrum: FactorSpectrum) -> Tensor:
        """The approximate ``fn`` of the values of a ``spectrum``, ``(*, 1 + M)``."""
        values = spectrum.values
        s = self._norm_of(values, spectrum.total)[0]
        f = s**fn.exponent * self.approximate((fn,), (values / s)[..., None, None])[0][..., 0, 0]
        return f.to(values.dtype)

    def derivative_on(
        self, fn: MatrixFunction, values: Tensor, total: Callable[[Tensor], Tensor]
    ) -> Derivative:
        """Of the steps for ``fn`` at ``values (*, n)``; ``total`` adds up all: some occur often."""
        s, slope_of_s = self._norm_of(values, total)
        power = fn.exponent
        x = values.double() / s
        h, slope = torch.func.jvp(
            lambda x: self.approximate((fn,), x[..., None, None])[0][..., 0, 0],
            (x,),
            (torch.ones_like(x),),
        )[:2]
        factor = s ** (power - 1)
        L = factor.unsqueeze(-1) * quotients(x, h, slope)
        parts = (factor * (power * h - x * slope), slope_of_s)
        through_norm = ThroughNorm(*[part.to(values.dtype) for part in parts])
        return Derivative(L.to(values.dtype), through_norm)

    def _norm_of(self, values: Tensor, total: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """``s`` and its slope by each eigenvalue, in float64; zero matrices as in float32."""
        wide = values.double()
        s = total(wide.square()).sqrt() if self.frobenius else total(wide)
        positive = nonzero(s, values.dtype)
        slope = wide / positive if self.frobenius else torch.ones_like(wide)
        return positive, torch.where(s > 0, slope, 0.0)


_sum = partial(torch.sum, dim=-1, keepdim=True)


def _takes_spectrum(A: Tensor) -> bool:
    """Whether one eigendecomposition of ``A`` costs less than products of its size."""
    float32_on_cpu = A.dtype == torch.float32 and A.device.type == "cpu" and not compiling()
    return float32_on_cpu and A.shape[-1] >= tuning.SIZE_PER_THREAD * torch.get_num_threads()


class _OnEigenvalues:
    """The outputs through the spectrum, and the spectrum; a second derivative takes products."""

    @staticmethod
    def forward(A: Tensor, fns: Fns, method: NormalisedMethod) -> tuple[Tensor, ...]:
        outputs, spectrum = method._on_eigenvalues(fns, A)
        assert spectrum is not None
        return *outputs, *spectrum[:2]

    @staticmethod
    def keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        A, ctx.fns, ctx.method = inputs
        ctx.set_materialize_grads(False)
        return A, *output[-2:]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor, None, None]:
        A, values, vectors = ctx.saved_tensors
        total = torch.zeros_like(A)
        for fn, grad in zip(ctx.fns, grads, strict=False):
            if grad is None:
                continue
            if torch.is_grad_enabled():
                term = torch.func.vjp(_products(ctx.method, fn), A)[1](grad)[0]
            else:
                rotated = into_basis(vectors, symmetric(grad))
                L, norm = ctx.method.derivative_on(fn, values, _sum)
                by_norm = _sum(rotated.diagonal(dim1=-2, dim2=-1) * norm.weights)
                inner = L * rotated
                inner.diagonal(dim1=-2, dim2=-1).add_(by_norm * norm.slopes)
                term = out_of_basis(vectors, inner)
            total = total + symmetric(term)
        return total, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> tuple[Tensor, ...]:
        A, *spectrum = ctx.saved_tensors
        roots = [torch.func.jvp(_products(ctx.method, fn), (A,), (tangent,)) for fn in ctx.fns]
        return *[root[1] for root in roots], *[torch.zeros_like(part) for part in spectrum]


_on_eigenvalues = differentiable(_OnEigenvalues)


def _products(method: NormalisedMethod, fn: MatrixFunction) -> Callable[[Tensor], Tensor]:
    return lambda A: method._products((fn,), symmetric(A))[0]
