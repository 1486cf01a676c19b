r"""Roots of a matrix divided by its Frobenius norm, by a polynomial or by partial fractions.

With :math:`X = A / \lVert A \rVert_F`, :math:`N = 2m + 1` and :math:`h` of :math:`m` numbers each,

.. math:: h(X) = \sum_k c_k (I - X)^k \quad \text{(Taylor)}, \qquad
          \tfrac1N \Bigl(I + 2 X^r \sum_k \bigl((1 - c_k) I + c_k X\bigr)^{-1}\Bigr)
          \quad \text{(Padé)},

:math:`r` being 1 for the root and 0 for the inverse root. Newton steps invert in a kernel.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from covlayers.functional._base.linalg import (
    frobenius_norm,
    identity_like,
    polynomials,
    semidefinite,
    solve,
    symmetric,
)
from covlayers.functional._iterations.conditions import fits
from covlayers.functional._iterations.operators import define, one_like
from covlayers.functional._iterations.roots import Roots


def approximants_by_kernel(
    A: Tensor, of_root: Sequence[float], of_inverse: Sequence[float], *, fractions: bool
) -> Roots | None:
    """The roots of symmetric ``A``, ``(*, n, n)``, where a kernel serves; elsewhere None.

    Args:
        A: the matrices; one with an eigenvalue below -1% of its norm gives NaN.
        of_root: the numbers :math:`c_k` for the root, none if it is not wanted.
        of_inverse: the numbers for the inverse root, likewise.
        fractions: whether the numbers describe partial fractions, and not a series.
    """
    if A.device.type == "cpu" or not fits(A):
        return None
    return Roots(_operator(A, of_root, of_inverse, fractions))


def explain_approximants(A: Tensor) -> tuple[str, str] | None:
    """What runs in place of the plain lines and why, if anything does."""
    if A.device.type == "cpu" or not fits(A):
        return None
    return "one Triton kernel for all products", "the matrices are small and on a GPU"


def plain(
    A: Tensor, of_root: Sequence[float], of_inverse: Sequence[float], fractions: bool
) -> list[Tensor]:
    """The roots in plain PyTorch."""
    A = semidefinite(symmetric(A))
    norm = frobenius_norm(A)
    X, identity = A / norm, identity_like(A)
    found = []
    for numbers, power in ((of_root, 0.5), (of_inverse, -0.5)):
        if not numbers:
            continue
        if fractions:
            M = torch.stack([(1 - c) * identity + c * X for c in numbers])
            terms = solve(M, (X if power > 0 else identity).expand(M.shape))
            h = (identity + 2 * terms.sum(0)) / (2 * len(numbers) + 1)
        else:
            h = polynomials(identity - X, numbers)[0]
        found.append(symmetric(norm**power * h))
    return found


def _on_cpu(
    A: Tensor, of_root: Sequence[float], of_inverse: Sequence[float], fractions: bool
) -> list[Tensor]:
    return [one.contiguous() for one in plain(A, of_root, of_inverse, fractions)]


def _on_cuda(
    A: Tensor, of_root: Sequence[float], of_inverse: Sequence[float], fractions: bool
) -> list[Tensor]:
    from covlayers.functional._iterations.launch_published import launch_approximants

    return launch_approximants(A, of_root, of_inverse, fractions)


def _fake(A: Tensor, of_root: object, of_inverse: object, _: bool) -> list[Tensor]:
    return [one_like(A) for numbers in (of_root, of_inverse) if numbers]


# A matrix costs one read and one or two writes. A root takes as many products as there are numbers,
# or for partial fractions as many inverses, of two products for each of their Newton steps.
_operator = define(
    "approximants(Tensor A, float[] of_root, float[] of_inverse, bool fractions) -> Tensor[]",
    _on_cpu,
    _on_cuda,
    _fake,
)
