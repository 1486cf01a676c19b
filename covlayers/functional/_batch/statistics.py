"""Mean and covariance as operators: of the parts of a batch, then of all of it."""

import torch
from torch import Tensor

from covlayers.functional._base.linalg import regularized
from covlayers.functional._batch.collective import outer
from covlayers.functional._batch.tiles import cut_into_parts, part_memory, tiles
from covlayers.functional._iterations.operators import declare


def _statistics_part_memory(x: Tensor, num_groups: int) -> tuple[Tensor, Tensor]:
    return part_memory(x, num_groups, 2)


def _sum_parts_on_cpu(x: Tensor, num_groups: int) -> tuple[Tensor, Tensor]:
    cut = cut_into_parts(x, num_groups)
    centered = [part - part.mean(-1, keepdim=True) for part in cut]
    shifts = torch.stack([part.mean(-1).flatten() for part in cut])
    return torch.stack([shifts, 0 * shifts]), torch.stack([z @ z.mT for z in centered])


def _sum_parts_on_cuda(x: Tensor, num_groups: int) -> tuple[Tensor, Tensor]:
    from covlayers.functional._batch.launch import launch_sum_parts  # triton takes a second

    parts = _statistics_part_memory(x, num_groups)
    launch_sum_parts(x, *parts)
    return parts


def _statistics_memory(
    means: Tensor, scatters: Tensor, *_: object
) -> tuple[Tensor, Tensor, Tensor]:
    cov = scatters.new_empty(scatters.shape[1:])
    return means.new_empty(means.shape[2:]), cov, torch.empty_like(cov)


def _add_parts_on_cpu(
    means: Tensor, scatters: Tensor, n: int, eps: float, shrinkage: float | None
) -> tuple[Tensor, Tensor, Tensor]:
    parts, G, c, _ = scatters.shape
    each = tiles(n, G, c).positions
    count = torch.full((parts, 1, 1), each, dtype=means.dtype)
    count[-1] = n - (parts - 1) * each
    shifts, offsets = means.view(2, parts, G, c)
    e = shifts - shifts[0] + offsets
    mean = (count * e).sum(0) / n
    cov = (scatters + count[..., None] * outer(e - mean)).sum(0) / n
    return (shifts[0] + mean).flatten(), cov, regularized(cov, eps, shrinkage).clone()


def _add_parts_on_cuda(
    means: Tensor, scatters: Tensor, n: int, eps: float, shrinkage: float | None
) -> tuple[Tensor, ...]:
    from covlayers.functional._batch.launch import launch_add_parts

    outputs = _statistics_memory(means, scatters)
    launch_add_parts(means, scatters, n, eps, shrinkage, outputs)
    return outputs


# With n positions of C channels in groups of c, in bytes of float32: it reads 4 n C, more often for
# c > 64, and takes n C c products of float32 accuracy.
sum_parts = declare(
    "sum_parts(Tensor x, int num_groups) -> (Tensor, Tensor)",
    _sum_parts_on_cpu,
    _sum_parts_on_cuda,
    _statistics_part_memory,
)
# It reads 4 C c for each part, more than once, and writes 8 C c.
add_parts = declare(
    "add_parts(Tensor means, Tensor scatters, int n, float eps, float? shrinkage) "
    "-> (Tensor, Tensor, Tensor)",
    _add_parts_on_cpu,
    _add_parts_on_cuda,
    _statistics_memory,
)
