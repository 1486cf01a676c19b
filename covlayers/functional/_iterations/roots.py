r"""The coupled iteration for root and inverse root, of Newton-Schulz and PolarExpress alike.

.. math:: Y_0 = A/c, \quad Z_0 = I, \quad W = Z_k Y_k, \quad Q = p_k I + q_k W + r_k W^2, \quad
          Y_{k+1} = Y_k Q, \quad Z_{k+1} = Q Z_k, \qquad
          A^{1/2} \approx \sqrt c\, Y, \quad A^{-1/2} \approx Z / \sqrt c

Every matrix is a polynomial in :math:`A`, so all commute, and :math:`\sqrt W` goes through the odd
polynomials :math:`p_k x + q_k x^3 + r_k x^5`.
"""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

from covlayers.functional._base import tuning
from covlayers.functional._base.linalg import frobenius_norm, identity_like, symmetric
from covlayers.functional._iterations.conditions import fits
from covlayers.functional._iterations.operators import define, one_like
from covlayers.functional._iterations.positive_part import positive_part

Quintic = tuple[float, float, float]


class Roots(NamedTuple):
    """The roots that were asked for, ``(*, n, n)`` each: the root first, the inverse root last."""

    found: list[Tensor]

    @property
    def root(self) -> Tensor:
        """The square root of ``A``."""
        return self.found[0]

    @property
    def inverse_root(self) -> Tensor:
        """The inverse square root of ``A``."""
        return self.found[-1]


class LastStep(NamedTuple):
    """The iteration before its last products: a caller may want one of the roots only.

    With ``c`` the roots are exactly symmetric.
    """

    Y: Tensor
    Z: Tensor
    Q: Tensor
    W: Tensor
    c: Tensor | None  # (*, 1, 1), None for 1

    @property
    def stray(self) -> Tensor:
        """Which matrices, ``(*)``, have an eigenvalue so negative that it moves away from 0.

        Eigenvalues ``w`` of ``W`` have ended in [0, 1], up to 0.3%, where ``w² - w`` is at most
        0.006. An eigenvalue that was negative beyond rounding is below -0.3 by now.
        """
        n = self.W.shape[-1]
        excess = self.W.square().sum((-2, -1)) - self.W.diagonal(dim1=-2, dim2=-1).sum(-1)
        return ~(excess <= 0.25 + 0.01 * n)

    @property
    def root(self) -> Tensor:
        """The square root of ``A``."""
        root = self.Y @ self.Q
        return root if self.c is None else symmetric(self.c.sqrt() * root)

    @property
    def inverse_root(self) -> Tensor:
        """The inverse square root of ``A``."""
        inverse_root = self.Q @ self.Z
        return inverse_root if self.c is None else symmetric(inverse_root / self.c.sqrt())


def iterated_roots(
    A: Tensor,
    steps: Sequence[Quintic],
    *,
    tight: bool,
    root: bool,
    inverse_root: bool,
    mended: bool = False,
) -> Roots | LastStep:
    r"""Root and inverse root of symmetric matrices ``(*, n, n)``, as attributes.

    Args:
        A: the matrices.
        steps: the coefficients :math:`p_k, q_k, r_k`.
        tight: :math:`c = \lVert A^2 \rVert_F^{1/2}`, and a matrix whose iteration diverges gives
            NaN; otherwise :math:`c = 1`, for matrices that are normalised already.
        root: whether it is wanted.
        inverse_root: whether it is wanted.
        mended: whether kernels give a matrix that :attr:`LastStep.stray` finds the roots of its
            positive part where that is near, and NaN else.
    """
    if A.device.type != "cpu" and fits(A, largest=tuning.LARGEST_OF_TEAM):
        wanted = root, inverse_root, mended
        return Roots(_operator(A, [*chain.from_iterable(steps)], tight, *wanted))
    return plain(A, steps, tight=tight)


def explain_roots(A: Tensor) -> tuple[str, str] | None:
    """What runs in place of the plain lines and why, if anything does."""
    if A.device.type == "cpu" or not fits(A, largest=tuning.LARGEST_OF_TEAM):
        return None
    return "one Triton kernel for all steps", "the matrices are small and on a GPU"


def plain(A: Tensor, steps: Sequence[Quintic], *, tight: bool) -> LastStep:
    """The iteration in plain PyTorch."""
    if not tight:
        return LastStep(*_iterated(A, steps, None), None)
    # The first step has Z = I, so its W² is A², whose norm is the bound c.
    norm = frobenius_norm(A)
    Y = A / norm
    square = Y @ Y
    total = torch.linalg.matrix_norm(square, keepdim=True)
    total = torch.where(total > 0, total, 1.0).sqrt()
    Y, Z, Q, W = _iterated(Y / total, steps, square / total**2)
    return LastStep(Y, Z, Q, W, torch.where(_bounded(W.detach()), norm * total, torch.nan))


def _iterated(
    Y: Tensor, steps: Sequence[Quintic], square: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``Y, Z, Q`` and ``W`` of the last step; ``square`` is the first ``W²``, where known."""
    Z, W, Q = identity_like(Y), Y, _quintic(Y, steps[0], square)
    for index, step in enumerate(steps[1:]):
        Y, Z = Y @ Q, Q @ Z if index else Q
        W = Z @ Y
        Q = _quintic(W, step, None)
    return Y, Z, Q, W


def _bounded(W: Tensor) -> Tensor:
    """Whether no eigenvalue has left [0, 1] by far: a negative one grows at every step.

    One that reaches -4 before the last step still leaves a result of the size of the floor.
    """
    norm = torch.linalg.matrix_norm(W, keepdim=True)
    return norm <= (W.shape[-1] + 16) ** 0.5


def _quintic(W: Tensor, step: Quintic, square: Tensor | None) -> Tensor:
    p, q, r = step
    identity = identity_like(W)
    if square is not None:
        return torch.add(p * identity, W, alpha=q) + r * square
    if r == 0:
        return torch.add(p * identity, W, alpha=q)
    # p I + W (q I + r W), in one pass over the result
    batch = W.reshape(-1, *W.shape[-2:])
    outer = (p * identity).expand_as(batch)
    return torch.baddbmm(outer, batch, torch.add(q * identity, batch, alpha=r)).view_as(W)


def _on_cpu(
    A: Tensor,
    coefficients: Sequence[float],
    tight: bool,
    root: bool,
    inverse_root: bool,
    mended: bool = False,
) -> list[Tensor]:
    steps = [*zip(*(coefficients[k::3] for k in range(3)), strict=True)]
    last = plain(A.contiguous(), steps, tight=tight)
    found = [last.root] if root else []
    found += [last.inverse_root] if inverse_root else []
    if mended and last.stray.any():
        others = _on_cpu(positive_part(A), coefficients, tight, root, inverse_root)
        stray = last.stray[..., None, None]
        found = [torch.where(stray, *pair) for pair in zip(others, found, strict=True)]
    return found if tight else [symmetric(one) for one in found]


def _on_cuda(A: Tensor, coefficients: Sequence[float], *choices: bool) -> list[Tensor]:
    from covlayers.functional._iterations.launch import launch_roots  # triton takes a second

    return launch_roots(A, coefficients, *choices)


def _fake(
    A: Tensor, _: object, __: object, root: bool, inverse_root: bool, ___: object = False
) -> list[Tensor]:
    return [one_like(A) for _ in range(root + inverse_root)]


# A matrix costs one read and one or two writes, at most 12 n² bytes. A product takes 2 n³
# operations. The first step has 1 product, or 2 where tight; each later step has 3, or 4 where some
# r is not 0. To mend takes a launch more, which reads one number of a matrix that needs none.
_operator = define(
    "roots(Tensor A, float[] coefficients, bool tight, bool root, bool inverse_root,"
    " bool mended=False) -> Tensor[]",
    _on_cpu,
    _on_cuda,
    _fake,
)
