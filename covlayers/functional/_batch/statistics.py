"""Mean, covariance and regularised covariance of a batch as an operator of two launches."""

import torch
from torch import Tensor

from covlayers.functional._base.linalg import regularized
from covlayers.functional._batch.tiles import by_groups, part_memory
from covlayers.functional._iterations.operators import declare


def _memory(x: Tensor, num_groups: int, *_: object) -> tuple[Tensor, Tensor, Tensor]:
    C = x.shape[1]
    c = C // num_groups
    cov = x.new_empty(num_groups, c, c, dtype=torch.float32)
    return x.new_empty(C, dtype=torch.float32), cov, torch.empty_like(cov)


def _on_cpu(
    x: Tensor, num_groups: int, eps: float, shrinkage: float | None
) -> tuple[Tensor, Tensor, Tensor]:
    z = by_groups(x, num_groups)
    mean = z.mean(-1, keepdim=True)
    z = z - mean
    cov = z @ z.mT / z.shape[-1]
    return mean.flatten(), cov, regularized(cov, eps, shrinkage).clone()


def _on_cuda(
    x: Tensor, num_groups: int, eps: float, shrinkage: float | None
) -> tuple[Tensor, Tensor, Tensor]:
    from covlayers.functional._batch import launch  # triton takes a second

    parts, outputs = part_memory(x, num_groups, 2), _memory(x, num_groups)
    launch.launch_sum_parts(x, *parts)
    launch.launch_add_parts(*parts, x.numel() // x.shape[1], eps, shrinkage, outputs)
    return outputs


# With n positions of C channels in groups of c, in bytes of float32: it reads 4 n C, more often for
# c > 64, and takes n C c products of float32 accuracy. Then it reads 4 C c for each part, more than
# once, and writes 8 C c.
batch_statistics = declare(
    "batch_statistics(Tensor x, int num_groups, float eps, float? shrinkage)"
    " -> (Tensor, Tensor, Tensor)",
    _on_cpu,
    _on_cuda,
    _memory,
)
