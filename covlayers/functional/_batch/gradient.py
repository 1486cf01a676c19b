"""The gradient of whitening as operators: sums in two steps, then the features' gradient."""

import torch
from torch import Tensor

from covlayers.functional._base.linalg import cast
from covlayers.functional._base.tensors import full
from covlayers.functional._batch.memory_layout import Layout, formatted_empty
from covlayers.functional._batch.products import Products
from covlayers.functional._batch.tiles import cut_into_parts, part_memory
from covlayers.functional._iterations.operators import declare


def _sum_gradient_parts_on_cpu(
    grad: Tensor, x: Tensor, mean: Tensor, num_groups: int
) -> tuple[Tensor, Tensor]:
    pairs = [*zip(cut_into_parts(grad, num_groups), cut_into_parts(x, num_groups), strict=True)]
    column = mean.view(num_groups, -1, 1)
    totals = torch.stack([g.sum(-1) for g, _ in pairs]).flatten(1)
    return totals[None], torch.stack([g @ (z - column).mT for g, z in pairs])


def _sum_gradient_parts_on_cuda(
    grad: Tensor, x: Tensor, mean: Tensor, num_groups: int
) -> tuple[Tensor, Tensor]:
    from covlayers.functional._batch.launch import launch_sum_gradient_parts

    parts = part_memory(x, num_groups)
    launch_sum_gradient_parts(grad, x, mean, *parts)
    return parts


def _gradient_sums_memory(
    totals: Tensor, products: Tensor, W: Tensor, weight: Tensor | None, symmetric: bool
) -> tuple[Tensor, Tensor, Tensor]:
    total = totals.new_empty(totals.shape[2:])
    scaled = total.new_empty(0 if weight is None else total.shape)
    return total, scaled, products.new_empty(products.shape[1:])


def _add_gradient_parts_on_cpu(
    totals: Tensor, products: Tensor, W: Tensor, weight: Tensor | None, symmetric: bool
) -> tuple[Tensor, Tensor, Tensor]:
    total, gV = totals.sum((0, 1)), products.sum(0)
    gweight = total.new_empty(0) if weight is None else (gV * W).sum(-1).flatten()
    gW = gV if weight is None else cast(weight, gV.dtype).view(*gV.shape[:2], 1) * gV
    return total, gweight, gW + gW.mT if symmetric else gW


def _add_gradient_parts_on_cuda(
    totals: Tensor, products: Tensor, W: Tensor, weight: Tensor | None, symmetric: bool
) -> tuple[Tensor, Tensor, Tensor]:
    from covlayers.functional._batch.launch import launch_add_gradient_parts

    outputs = _gradient_sums_memory(totals, products, W, weight, symmetric)
    launch_add_gradient_parts(totals, products, W, weight, symmetric, outputs)
    return outputs


def _features_gradient_on_cpu(
    grad: Tensor,
    x: Tensor,
    W: Tensor,
    weight: Tensor | None,
    mean: Tensor,
    total: Tensor,
    gcov: Tensor,
    share: float,
) -> Tensor:
    layout = Layout.of(x, W.shape[0])
    products = Products(layout)
    products.V = W if weight is None else layout.column(weight, W.dtype) * W
    factors = layout.split(full(grad)), products.given(x, mean, W)[0]
    return cast(products.gradient(factors, mean, W, weight, total, gcov, share), x.dtype)


def _features_gradient_on_cuda(
    grad: Tensor,
    x: Tensor,
    W: Tensor,
    weight: Tensor | None,
    mean: Tensor,
    total: Tensor,
    gcov: Tensor,
    share: float,
) -> Tensor:
    from covlayers.functional._batch.launch import launch_features_gradient

    gx = formatted_empty(x)
    launch_features_gradient(grad, x, W, weight, mean, total, gcov, share, gx)
    return gx


# It reads 8 n C and takes n C c products.
sum_gradient_parts = declare(
    "sum_gradient_parts(Tensor grad, Tensor x, Tensor mean, int num_groups) -> (Tensor, Tensor)",
    _sum_gradient_parts_on_cpu,
    _sum_gradient_parts_on_cuda,
    lambda grad, x, mean, num_groups: part_memory(x, num_groups),
)
# It reads 4 C c for each part and writes 4 C c.
add_gradient_parts = declare(
    "add_gradient_parts(Tensor totals, Tensor products, Tensor W, Tensor? weight, "
    "bool symmetric) -> (Tensor, Tensor, Tensor)",
    _add_gradient_parts_on_cpu,
    _add_gradient_parts_on_cuda,
    _gradient_sums_memory,
)
# It reads 8 n C, writes 4 n C and takes 2 n C c products.
features_gradient = declare(
    "features_gradient(Tensor grad, Tensor x, Tensor W, Tensor? weight, Tensor mean, Tensor total, "
    "Tensor gcov, float share) -> Tensor",
    _features_gradient_on_cpu,
    _features_gradient_on_cuda,
    lambda grad, x, *_: formatted_empty(x),
)
