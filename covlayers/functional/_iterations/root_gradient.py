r"""The gradient of root and inverse root, from gradients for both.

.. math:: Y X + X Y = \tfrac12 (g_Y + g_Y^\top) - \tfrac12\, Z (g_Z + g_Z^\top) Z

is one Lyapunov equation for the two of them, as it is linear in its right-hand side.
"""

import torch
from torch import Tensor

from covlayers.functional._base import tuning
from covlayers.functional._base.linalg import largest, nonzero, spectral_bound, symmetric
from covlayers.functional._iterations import smith
from covlayers.functional._iterations.conditions import fits
from covlayers.functional._iterations.operators import define


def gradient_by_kernel(
    Y: Tensor, Z: Tensor | None, gY: Tensor | None, gZ: Tensor | None, lower: float, doublings: int
) -> Tensor | None:
    """The symmetric solution ``X``, ``(*, n, n)``, where a kernel serves; elsewhere None.

    Args:
        Y: the roots ``(*, n, n)``.
        Z: the inverse roots; needed with ``gZ`` alone.
        gY: the gradients for ``Y``, symmetric or not; None for zero.
        gZ: the gradients for ``Z``, likewise.
        lower: as for :func:`~.smith.solve_by_smith`.
        doublings: as for that function.
    """
    given = [one for one in (Y, Z, gY, gZ) if one is not None]
    if Y.device.type == "cpu" or not fits(*given, largest=tuning.LARGEST_OF_TEAM):
        return None
    return _operator(Y, Z, gY, gZ, lower, doublings)


def right_hand_side(Z: Tensor | None, gY: Tensor | None, gZ: Tensor | None) -> Tensor:
    """The right-hand side of the equation, for symmetric gradients."""
    if gZ is None:
        assert gY is not None
        return gY
    assert Z is not None
    through_inverse = -Z @ gZ @ Z
    return through_inverse if gY is None else gY + through_inverse


def bound_of_root(Y: Tensor) -> Tensor:
    """A bound of the root's spectrum; a zero root is taken as the root of a tiny matrix."""
    peak = largest(Y)[..., None, None]
    return torch.where(peak > 0, spectral_bound(Y), nonzero(torch.zeros_like(peak)).sqrt())


def _on_cpu(
    Y: Tensor, Z: Tensor | None, gY: Tensor | None, gZ: Tensor | None, lower: float, doublings: int
) -> Tensor:
    gY, gZ = (None if one is None else symmetric(one) for one in (gY, gZ))
    Q = right_hand_side(Z, gY, gZ)
    return symmetric(smith.plain(Y.contiguous(), Q, bound_of_root(Y), lower, doublings))


def _on_cuda(
    Y: Tensor, Z: Tensor | None, gY: Tensor | None, gZ: Tensor | None, lower: float, doublings: int
) -> Tensor:
    from covlayers.functional._iterations.launch import launch_root_gradient  # takes a second

    return launch_root_gradient(Y, Z, gY, gZ, lower, doublings)


# A matrix costs two to four reads and a write, at most 20 n² bytes, and products of 2 n³ operations
# as the operator smith, one more for the bound, and two more for the inverse root.
_operator = define(
    "root_gradient(Tensor Y, Tensor? Z, Tensor? gY, Tensor? gZ, float lower, int doublings)"
    " -> Tensor",
    _on_cpu,
    _on_cuda,
)
