r"""The exact root of few positions, by products alone.

With :math:`K = \tfrac1M z^\top z` of centred features and :math:`R = (K + b I)^{1/2}`,

.. math:: \bigl(\tfrac1M z z^\top + b I\bigr)^{1/2} = \sqrt b\, I + \tfrac1M z\, T z^\top, \qquad
          T = \bigl(R + \sqrt b\, I\bigr)^{-1} .

A gradient :math:`G` reaches :math:`z` as :math:`\tfrac2M (G z\, T + z X)`, where

.. math:: R X + X R = -T V T, \qquad V = \tfrac1M z^\top G z .
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from covlayers.functional._base.linalg import identity_like, solve, spectral_bound, symmetric
from covlayers.functional._features.products import features, filled, gram, inner
from covlayers.functional._iterations import roots, smith
from covlayers.functional._iterations.operators import declare


def empty_factor(x: Tensor, *_: object) -> tuple[Tensor, Tensor]:
    """Where ``T``, ``(N, M, M)``, and ``y = f(b)``, ``(N,)``, are written."""
    N, M = x.shape[0], x.shape[2]
    return x.new_empty(N, M, M), x.new_empty(N)


def _root(
    x: Tensor, b: float, coefficients: Sequence[float], center: bool
) -> tuple[Tensor, Tensor]:
    K = filled(gram(features(x, center)), center)
    identity = identity_like(K)
    steps = [*zip(*(coefficients[k::3] for k in range(3)), strict=True)]
    Z = roots.plain(K + b * identity, steps, tight=True).inverse_root
    T = symmetric(solve(identity + b**0.5 * symmetric(Z), symmetric(Z)))
    return T.contiguous(), T.new_full(T.shape[:1], b**0.5)


def _root_on_cuda(
    x: Tensor, b: float, coefficients: Sequence[float], center: bool
) -> tuple[Tensor, Tensor]:
    from covlayers.functional._features.launch_positions import launch_root  # triton takes a second

    T, y = empty_factor(x)
    launch_root(x, b, coefficients, center, T, y)
    return T, y


def _gradient(
    x: Tensor, P: Tensor, T: Tensor, b: float, center: bool, lower: float, doublings: int
) -> Tensor:
    z = features(x, center)
    root = symmetric(filled(gram(z), center) @ T) + b**0.5 * identity_like(T)
    right = -T @ inner(z, P) @ T
    return symmetric(smith.plain(root, right, spectral_bound(root), lower, doublings))


def _gradient_on_cuda(
    x: Tensor, P: Tensor, T: Tensor, b: float, center: bool, lower: float, doublings: int
) -> Tensor:
    from covlayers.functional._features.launch_positions import launch_root_gradient

    X = torch.empty_like(T)
    launch_root_gradient(x, P, T, b, center, lower, doublings, X)
    return X


# In products of M x M: 4 for each step and 7, and for the gradient 5, 2 N and 3 for each doubling.
root_from_positions = declare(
    "root_from_positions(Tensor x, float b, float[] coefficients, bool center) -> (Tensor, Tensor)",
    _root,
    _root_on_cuda,
    empty_factor,
)
gradient_of_root = declare(
    "gradient_of_root(Tensor x, Tensor P, Tensor T, float b, bool center, float lower, "
    "int doublings) -> Tensor",
    _gradient,
    _gradient_on_cuda,
    lambda x, P, T, *_: T.new_empty(T.shape),
)
