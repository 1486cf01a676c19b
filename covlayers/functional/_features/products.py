r"""Products of a smaller side with the features ``x (N, C, M)``.

With the centred features :math:`z` and matrices of the positions, :math:`M \times M`,

.. math:: Y = y I + \tfrac1M z\, T z^\top, \qquad P = G z, \qquad
          g_x = \tfrac2M (P L + z R),

where :math:`Y` may be its upper triangle, and :math:`G` the symmetric gradient that stands for the
one of the triangle.
"""

import torch
from torch import Tensor

from covlayers.functional._base.linalg import identity_like, symmetric, trace
from covlayers.functional._features.triangle import adjoint, triangle_of
from covlayers.functional._iterations.operators import declare


def features(x: Tensor, center: bool) -> Tensor:
    """``z``."""
    return x - x.mean(-1, keepdim=True) if center else x


def gram(z: Tensor) -> Tensor:
    """The products of the positions over all channels, divided by ``M``."""
    return symmetric(z.mT @ z) / z.shape[-1]


def filled(K: Tensor, center: bool) -> Tensor:
    """``K``, with a mean eigenvalue in the direction of the ones, which centred features lack.

    They never read it there, and its root and inverse need not span down to ``b``.
    """
    return K + trace(K) / K.shape[-1] ** 2 if center else K


def inner(z: Tensor, P: Tensor) -> Tensor:
    """The symmetric products of the features with ``P``, divided by ``M``."""
    return symmetric(z.mT @ P) / z.shape[-1]


def of_triangle(grad: Tensor, C: int, triangle: bool, isometric: bool) -> Tensor:
    """The symmetric gradient of a matrix."""
    return symmetric(adjoint(grad, C, isometric) if triangle else grad)


def _channels(
    x: Tensor, T: Tensor, y: Tensor, center: bool, triangle: bool, isometric: bool
) -> Tensor:
    z = features(x, center)
    Y = z @ (T / x.shape[-1]) @ z.mT
    Y = symmetric(Y + y[:, None, None] * identity_like(Y))
    return (triangle_of(Y, isometric) if triangle else Y).contiguous()


def _channels_on_cuda(
    x: Tensor, T: Tensor, y: Tensor, center: bool, triangle: bool, isometric: bool
) -> Tensor:
    from covlayers.functional._features.launch import launch_channels  # triton takes a second

    Y = _empty_channels(x, T, y, center, triangle, isometric)
    launch_channels(x, T, y, center, triangle, isometric, Y)
    return Y


def _empty_channels(
    x: Tensor, T: Tensor, y: Tensor, center: bool, triangle: bool, isometric: bool
) -> Tensor:
    N, C, _ = x.shape
    return x.new_empty(N, C * (C + 1) // 2) if triangle else x.new_empty(N, C, C)


def _times_features(
    grad: Tensor, x: Tensor, center: bool, triangle: bool, isometric: bool
) -> Tensor:
    G = of_triangle(grad, x.shape[-2], triangle, isometric)
    return (G @ features(x, center)).contiguous()


def _times_features_on_cuda(
    grad: Tensor, x: Tensor, center: bool, triangle: bool, isometric: bool
) -> Tensor:
    from covlayers.functional._features.launch import launch_times_features

    P = x.new_empty(x.shape)
    launch_times_features(grad, x, center, triangle, isometric, P)
    return P


def _to_features(x: Tensor, P: Tensor, L: Tensor, R: Tensor, center: bool) -> Tensor:
    g = features((P @ L + features(x, center) @ R) * (2 / x.shape[-1]), center)
    return torch.empty_like(x).copy_(g)


def _to_features_on_cuda(x: Tensor, P: Tensor, L: Tensor, R: Tensor, center: bool) -> Tensor:
    from covlayers.functional._features.launch import launch_to_features

    g = torch.empty_like(x)
    launch_to_features(x, P, L, R, center, g)
    return g


# In operations: C² M + 2 C M² (a part of it more than once), 2 C² M, and 4 C M².
channels_from_positions = declare(
    "channels_from_positions(Tensor x, Tensor T, Tensor y, bool center, bool triangle, "
    "bool isometric) -> Tensor",
    _channels,
    _channels_on_cuda,
    _empty_channels,
)
gradient_times_features = declare(
    "gradient_times_features(Tensor grad, Tensor x, bool center, bool triangle, bool isometric) "
    "-> Tensor",
    _times_features,
    _times_features_on_cuda,
    lambda grad, x, *_: x.new_empty(x.shape),
)
gradient_from_positions = declare(
    "gradient_from_positions(Tensor x, Tensor P, Tensor L, Tensor R, bool center) -> Tensor",
    _to_features,
    _to_features_on_cuda,
    lambda x, *_: torch.empty_like(x),
)
