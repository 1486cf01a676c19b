"""Running averages moved without a look at the values of a batch."""

import torch
from torch import Tensor

from covlayers.functional._iterations.conditions import fits_in_place
from covlayers.functional._iterations.operators import declare


def move_averages(
    running_mean: Tensor,
    running_cov: Tensor,
    seen: Tensor,
    mean: Tensor,
    cov: Tensor,
    count: int | Tensor,
    momentum: float | None,
) -> None:
    """Move the averages in place, unless the batch has fewer than two positions or is not finite.

    Args:
        running_mean: ``(C,)``.
        running_cov: ``(G, c, c)``.
        seen: the number of batches.
        mean: of the batch.
        cov: of the batch, not corrected for bias; finite if its variances and the mean are.
        count: positions of the batch.
        momentum: weight of the batch; None for the plain average over all batches.
    """
    if isinstance(count, int):
        if count < 2:
            return
        if fits_in_place(running_mean, running_cov, mean, cov):
            _operator(running_mean, running_cov, seen, mean, cov, count, momentum)
            return
    plain(running_mean, running_cov, seen, mean, cov, count, momentum)


def plain(
    running_mean: Tensor,
    running_cov: Tensor,
    seen: Tensor,
    mean: Tensor,
    cov: Tensor,
    count: int | Tensor,
    momentum: float | Tensor | None,
) -> None:
    """The same in plain PyTorch."""
    valid = (cov.diagonal(dim1=-2, dim2=-1).sum() < torch.inf) & (count > 1)
    seen.add_(valid)
    if momentum is None:
        momentum = 1 / seen.clamp_min(1).to(mean.dtype)
    unbiased = cov * (count / (count - 1 + (count == 1)))
    for running, batch in ((running_mean, mean), (running_cov, unbiased)):
        moved = torch.lerp(running, batch.to(running.dtype), momentum)
        running.copy_(torch.where(valid, moved, running))


def _on_cuda(
    running_mean: Tensor,
    running_cov: Tensor,
    seen: Tensor,
    mean: Tensor,
    cov: Tensor,
    count: int,
    momentum: float | None,
) -> None:
    from covlayers.functional._batch.launch import launch_move  # triton takes a second

    launch_move(running_mean, running_cov, seen, mean, cov, count / (count - 1), momentum)


# It reads 8 C c bytes and writes 4 C c.
_operator = declare(
    "move_averages(Tensor(a!) running_mean, Tensor(b!) running_cov, Tensor(c!) seen, "
    "Tensor mean, Tensor cov, int count, float? momentum) -> ()",
    plain,
    _on_cuda,
    lambda *_: None,
)
