r"""The squared Smith iteration for :math:`S X + X S = Q`, from the read to the write.

The shift :math:`p` is a fraction of the bound :math:`b` of the spectrum, so the spectrum of
:math:`M = (S/b + pI)/(1 + p)` lies in :math:`[a, 1]`, :math:`a = p/(1+p)`, and products alone
invert it. The residual :math:`I - MV` of the best linear :math:`V = \alpha I - \beta M` is the
Chebyshev polynomial :math:`T_2` of :math:`[a, 1]`, of size
:math:`\rho = 1 / T_2(\tfrac{1+a}{1-a})`, and each scaled Newton step takes :math:`T_2` of it:

.. math:: V \leftarrow \beta (2 V - V M V), \quad \beta = \frac{2}{2 - \rho^2}, \quad
          \rho \leftarrow \frac{\rho^2}{2 - \rho^2}.

Five steps reach float32 for :math:`p = 0.03`. Then, with :math:`C = I - \frac{2 p}{1 + p} V`,

.. math:: X = \frac{2 p}{b (1 + p)^2} V Q V, \qquad X \leftarrow X + C X C, \quad C \leftarrow C^2.

Read: :math:`S, Q, b`. Written: :math:`X`. On chip: :math:`M, V`, then :math:`X, C`.
"""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from covlayers.functional._iterations.tile import dot, load, load_scale, plus_identity, store


@triton.jit
def smith_iteration(
    S_pointer,
    Q_pointer,
    bound_pointer,
    X_pointer,
    p,
    NEWTON_STEPS: tl.constexpr,
    DOUBLINGS: tl.constexpr,
    n,
    SIZE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The solutions for the program's matrix."""
    bound = load_scale(bound_pointer)
    S = load(S_pointer, n, SIZE)
    V = shifted_inverse(S / bound, p, NEWTON_STEPS, n, SIZE, PRECISION)
    Q = load(Q_pointer, n, SIZE)
    X = doubled_series(V, Q, bound, p, DOUBLINGS, n, SIZE, PRECISION)
    store(X_pointer, X, n, SIZE)


@triton.jit
def shifted_inverse(
    S, p, NEWTON_STEPS: tl.constexpr, n, SIZE: tl.constexpr, PRECISION: tl.constexpr
):
    """The inverse ``V`` of ``M = (S + p I) / (1 + p)``, for ``S`` divided by its bound."""
    M = plus_identity(S, p, n, SIZE) / (1 + p)
    a = p / (1 + p)
    T = 2 * (1 + a) * (1 + a) - (1 - a) * (1 - a)
    V = plus_identity(-8 / T * M, 8 * (1 + a) / T, n, SIZE)
    rho = (1 - a) * (1 - a) / T
    for _ in range(NEWTON_STEPS):
        beta = 2 / (2 - rho * rho)
        rho = rho * rho * beta / 2
        V = beta * (2 * V - dot(V, dot(M, V, PRECISION), PRECISION))
    return V


@triton.jit
def doubled_series(
    V, Q, bound, p, DOUBLINGS: tl.constexpr, n, SIZE: tl.constexpr, PRECISION: tl.constexpr
):
    """The solution ``X``."""
    C = plus_identity(-2 * p / (1 + p) * V, 1.0, n, SIZE)
    X = dot(dot(V, Q, PRECISION), V, PRECISION)
    X = 2 * p / (bound * (1 + p) * (1 + p)) * X
    for _ in range(DOUBLINGS):
        X += dot(dot(C, X, PRECISION), C, PRECISION)
        C = dot(C, C, PRECISION)
    return X
