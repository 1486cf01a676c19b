"""Leading singular triples by power iteration."""

import torch
from torch import Tensor


def leading_part(Q: Tensor, start: Tensor, iterations: int, half: bool) -> tuple[Tensor, Tensor]:
    """``s u vᵀ`` and ``s`` of the leading triple, from a unit start ``(D,)``.

    With ``half`` the last step is half a step. ``s`` is kept above half of the root mean square of
    the singular values.
    """
    eps = torch.finfo(Q.dtype).eps
    v = start.unsqueeze(-1)  # (*, D, 1)
    mean = (_square(Q) / min(Q.shape[-2:])).clamp(min=eps**2)  # of squared singular values
    for _ in range(iterations - half):
        v = _unit(Q.mT @ (Q @ v), eps * mean**2)
    if half:
        u = _unit(Q @ v, eps * mean)
        image = Q.mT @ u  # s v
        part = u @ image.mT
    else:
        image = Q @ v  # s u
        part = image @ v.mT
    return part, torch.maximum(_square(image), mean / 4).sqrt()


def cosines(num: int, size: int, like: Tensor) -> Tensor:
    """Rows ``cos(π k (d + 1/2) / D)``: the first of ones, each orthogonal to the others."""
    k = torch.arange(num, dtype=like.dtype, device=like.device)
    d = torch.arange(size, dtype=like.dtype, device=like.device)
    return torch.cos(torch.pi / size * k[:, None] * (d + 0.5))


def _unit(x: Tensor, least: Tensor) -> Tensor:
    """A vector with norm 1, or shorter if its squared norm is below the least."""
    return x / torch.maximum(_square(x), least).sqrt()


def _square(x: Tensor) -> Tensor:
    """The squared norm, ``(*, 1, 1)``."""
    return x.square().sum((-2, -1), keepdim=True)
