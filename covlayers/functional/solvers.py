r"""Three solvers of the Lyapunov equation :math:`S X + X S = Q`, each its own adjoint."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from covlayers.functional._base.checks import check_count, check_number
from covlayers.functional._base.decomposition import decompose_positive
from covlayers.functional._base.linalg import (
    frobenius_norm,
    into_basis,
    out_of_basis,
    spectral_bound,
)
from covlayers.functional._iterations.sign import solve_by_sign
from covlayers.functional._iterations.smith import solve_by_smith


class LyapunovSolver(ABC):
    r"""A linear operator :math:`Q \mapsto X`, its own adjoint, for each :math:`S`.

    .. math:: S X + X S = Q

    Example:
        >>> class Diagonal(LyapunovSolver):
        ...     def prepare(self, S):
        ...         s = S.diagonal(dim1=-2, dim2=-1)
        ...         return (s[..., :, None] + s[..., None, :],)
        ...     def solve(self, S, Q, *known):
        ...         return Q / known[0]
        >>> solve_lyapunov(torch.eye(2), torch.ones(2, 2), solver=Diagonal())
        tensor([[0.5000, 0.5000],
                [0.5000, 0.5000]])
    """

    @abstractmethod
    def prepare(self, S: Tensor) -> tuple[Tensor, ...]:
        """What :meth:`solve` wants to know of ``S``, ``(*, n, n)``, if the caller does not."""

    @abstractmethod
    def solve(self, S: Tensor, Q: Tensor, *known: Tensor) -> Tensor:
        """The solution for ``S`` and ``Q``, ``(*, n, n)`` each, with what is ``known`` of ``S``."""


@dataclass(frozen=True)
class EighSolver(LyapunovSolver):
    r"""Elementwise in the eigenbasis of ``S``: :math:`\tilde X_{ij} = \tilde Q_{ij}/(s_i+s_j)`."""

    def prepare(self, S: Tensor) -> tuple[Tensor, ...]:
        return decompose_positive(S).spectrum[:2]

    def solve(self, S: Tensor, Q: Tensor, *known: Tensor) -> Tensor:
        values, vectors = known
        sums = values.unsqueeze(-1) + values.unsqueeze(-2)
        return out_of_basis(vectors, into_basis(vectors, Q) / sums)


@dataclass(frozen=True)
class SignSolver(LyapunovSolver):
    r"""Newton-Schulz for the sign of :math:`\begin{pmatrix} S & Q \\ 0 & -S \end{pmatrix}`.

    As published :cite:p:`song2022fast`: exact only where the eigenvalues of :math:`S`, divided by
    its norm, exceed 0.09 (at 8 iterations); below, the solution is damped.
    """

    iterations: int = 8

    def __post_init__(self) -> None:
        check_count("iterations", self.iterations)

    def prepare(self, S: Tensor) -> tuple[Tensor, ...]:
        return (frobenius_norm(S),)

    def solve(self, S: Tensor, Q: Tensor, *known: Tensor) -> Tensor:
        return solve_by_sign(S, Q, known[0], self.iterations)


@dataclass(frozen=True)
class SmithSolver(LyapunovSolver):
    r"""Squared Smith iteration :cite:p:`smith1968matrix`.

    With :math:`p > 0`, :math:`V = (S + pI)^{-1}` and :math:`C = I - 2pV`, the equation becomes
    :math:`X = C X C + 2p V Q V`, whose series doubles its terms at each step:
    :math:`X \leftarrow X + C X C,\ C \leftarrow C^2`.

    Args:
        lower: a lower bound for the eigenvalues of :math:`S` as a fraction of the largest, in
            (0, 1]; a tighter one saves steps, a wrong one leaves the smallest eigenvalues
            unconverged. Default :math:`\sqrt{8\epsilon}`, the root of the rounding noise.
        doublings: steps; by default as many as ``lower`` needs for full precision.
    """

    lower: float | None = None
    doublings: int | None = None

    def __post_init__(self) -> None:
        if self.lower is not None:
            check_number("lower", self.lower, 0, 1, open_low=True)
        if self.doublings is not None:
            check_count("doublings", self.doublings)

    def prepare(self, S: Tensor) -> tuple[Tensor, ...]:
        return (spectral_bound(S),)

    def solve(self, S: Tensor, Q: Tensor, *known: Tensor) -> Tensor:
        return solve_by_smith(S, Q, known[0], *self.steps(S.dtype))

    def steps(self, dtype: torch.dtype) -> tuple[float, int]:
        """``lower`` and ``doublings`` for matrices of a dtype."""
        eps = torch.finfo(dtype).eps
        lower = (8 * eps) ** 0.5 if self.lower is None else self.lower
        # |C| <= (1 - √l)/(1 + √l) for p = √l·bound; after k doublings the error is |C|^(2^(k+1)).
        contraction = 2 * math.atanh(lower**0.5) if lower < 1 else math.inf
        needed = math.ceil(math.log2(max(-math.log(eps) / contraction, 2))) - 1
        return lower, needed if self.doublings is None else self.doublings


SOLVERS = {"eigh": EighSolver, "sign": SignSolver, "smith": SmithSolver}
