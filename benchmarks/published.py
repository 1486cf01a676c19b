r"""Matrix roots as the papers publish them, to measure the library against.

With :math:`B = I - A/\lVert A \rVert_F`, MTP is the Taylor polynomial of degree 10 and MPA the
[5/5] Padé approximant of :math:`\sqrt{1-z}` at :math:`B`; their gradient comes from eight sign
steps. iSQRT-COV and IterNorm are five Newton-Schulz steps on :math:`A/\operatorname{tr} A`, left
to autograd. None computes the root of an ill-conditioned matrix: their errors stand beside their
times.

LU factors solve, as published. On some CPUs torch.linalg.solve fails on batches of 200 x 200 and
more once torch.set_num_threads was called: the timer in ``measure.py`` therefore leaves that alone.
"""

from collections.abc import Callable
from functools import partial
from math import cos, pi
from typing import Any

import torch
from torch import Tensor

Root = Callable[[Tensor], Tensor]
Series = Callable[[Tensor], Tensor]
SIGN_STEPS = 8


def identity_like(A: Tensor) -> Tensor:
    """A batch of identities."""
    return torch.eye(A.shape[-1], dtype=A.dtype, device=A.device).expand_as(A)


def norm_of(A: Tensor) -> Tensor:
    """The Frobenius norm of each matrix."""
    return torch.linalg.matrix_norm(A, keepdim=True)


def trace_of(A: Tensor) -> Tensor:
    """The trace of each matrix."""
    return A.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]


class _Implicit(torch.autograd.Function):
    """A root from a series, its Lyapunov equation solved by sign steps."""

    @staticmethod
    def forward(ctx: Any, A: Tensor, series: Series, inverse: bool) -> Tensor:
        norm = norm_of(A)
        scale = norm.rsqrt() if inverse else norm.sqrt()
        Y = scale * series(identity_like(A) - A / norm)
        ctx.inverse = inverse
        ctx.save_for_backward(Y, scale)
        return Y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        Y, scale = ctx.saved_tensors
        if ctx.inverse:
            square = Y @ Y
            grad, scale = -square @ grad @ square, norm_of(Y)
        return sign_steps(Y / scale, grad / scale), None, None


def sign_steps(b: Tensor, c: Tensor) -> Tensor:
    """The solution of ``b x + x b = c`` by the sign iteration, six products a step."""
    identity = identity_like(b)
    for _ in range(SIGN_STEPS):
        square = b @ b
        rest = 3 * identity - square
        c = (c @ rest - square @ c + b @ c @ b) / 2
        b = b @ rest / 2
    return c / 2


def taylor_series(B: Tensor, *, exponent: float, degree: int = 10) -> Tensor:
    """The Taylor polynomial of ``(1 - z)^exponent`` at ``B``, term by term."""
    power = total = identity_like(B)
    coefficient = 1.0
    for k in range(1, degree + 1):
        power = power @ B
        coefficient *= (k - 1 - exponent) / k
        total = total + coefficient * power
    return total


def pade_series(B: Tensor, *, inverse: bool, degree: int = 5) -> Tensor:
    """The diagonal Padé approximant of the root of ``1 - z`` at ``B``, or its reciprocal."""
    N = 2 * degree + 1
    p = expand([cos((2 * k + 1) * pi / (2 * N)) ** 2 for k in range(degree)])
    q = expand([cos(k * pi / N) ** 2 for k in range(1, degree + 1)])
    power = P = Q = identity_like(B)
    for a, b in zip(p[1:], q[1:], strict=True):
        power = power @ B
        P, Q = P + a * power, Q + b * power
    return torch.linalg.solve(P, Q) if inverse else torch.linalg.solve(Q, P)


def expand(roots: list[float]) -> list[float]:
    """The coefficients of the product of all ``1 - r z``, lowest power first."""
    c = [1.0]
    for r in roots:
        c = [low - r * high for low, high in zip([*c, 0.0], [0.0, *c], strict=True)]
    return c


def mpa(A: Tensor, *, inverse: bool = False) -> Tensor:
    """The matrix Padé approximant."""
    return _Implicit.apply(A, partial(pade_series, inverse=inverse), inverse)


def mtp(A: Tensor, *, inverse: bool = False) -> Tensor:
    """The matrix Taylor polynomial."""
    exponent = -0.5 if inverse else 0.5
    return _Implicit.apply(A, partial(taylor_series, exponent=exponent), inverse)


def isqrt_cov(A: Tensor, *, iterations: int = 5) -> Tensor:
    """The root by coupled Newton-Schulz steps."""
    trace, I3 = trace_of(A), 3 * identity_like(A)
    Y = A / trace
    Z = (I3 - Y) / 2
    Y = Y @ Z
    for _ in range(iterations - 2):
        W = (I3 - Z @ Y) / 2
        Y, Z = Y @ W, W @ Z
    return Y @ (I3 - Z @ Y) / 2 * trace.sqrt()


def iter_norm(A: Tensor, *, iterations: int = 5) -> Tensor:
    """The inverse root by Newton-Schulz steps."""
    trace, P = trace_of(A), identity_like(A)
    normed = A / trace
    for _ in range(iterations):
        P = 1.5 * P - 0.5 * P @ P @ P @ normed
    return P / trace.sqrt()


# By function: the method, how it is differentiated, the root.
PUBLISHED: dict[str, tuple[tuple[str, str, Root], ...]] = {
    "sqrtm": (
        ("published MPA", "8 sign steps", mpa),
        ("published MTP", "8 sign steps", mtp),
        ("published iSQRT-COV", "autograd", isqrt_cov),
    ),
    "invsqrtm": (
        ("published MPA", "8 sign steps", partial(mpa, inverse=True)),
        ("published MTP", "8 sign steps", partial(mtp, inverse=True)),
        ("published IterNorm", "autograd", iter_norm),
    ),
}
