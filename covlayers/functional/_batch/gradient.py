"""The gradient of whitening as operators: sums by two launches, then the features' gradient."""

from torch import Tensor

from covlayers.functional._base.linalg import cast
from covlayers.functional._base.tensors import full
from covlayers.functional._batch.memory_layout import Layout, formatted_empty
from covlayers.functional._batch.products import Products
from covlayers.functional._batch.tiles import by_groups, part_memory
from covlayers.functional._iterations.operators import declare


def _sums_memory(
    grad: Tensor, x: Tensor, mean: Tensor, W: Tensor, weight: Tensor | None, symmetric: bool
) -> tuple[Tensor, Tensor, Tensor]:
    scaled = mean.new_empty(0 if weight is None else mean.shape)
    return mean.new_empty(mean.shape), scaled, W.new_empty(W.shape)


def _sums_on_cpu(
    grad: Tensor, x: Tensor, mean: Tensor, W: Tensor, weight: Tensor | None, symmetric: bool
) -> tuple[Tensor, Tensor, Tensor]:
    G, c, _ = W.shape
    g, z = by_groups(grad, G), by_groups(x, G) - mean.view(G, c, 1)
    gV = g @ z.mT
    gweight = mean.new_empty(0) if weight is None else (gV * W).sum(-1).flatten()
    gW = gV if weight is None else cast(weight, gV.dtype).view(G, c, 1) * gV
    return g.sum(-1).flatten(), gweight, gW + gW.mT if symmetric else gW


def _sums_on_cuda(
    grad: Tensor, x: Tensor, mean: Tensor, W: Tensor, weight: Tensor | None, symmetric: bool
) -> tuple[Tensor, Tensor, Tensor]:
    from covlayers.functional._batch import launch  # triton takes a second

    parts = part_memory(x, W.shape[0])
    outputs = _sums_memory(grad, x, mean, W, weight, symmetric)
    launch.launch_sum_gradient_parts(grad, x, mean, *parts)
    launch.launch_add_gradient_parts(*parts, W, weight, symmetric, outputs)
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


# It reads 8 n C and takes n C c products. Then it reads 4 C c for each part and writes 4 C c.
batch_gradient_sums = declare(
    "batch_gradient_sums(Tensor grad, Tensor x, Tensor mean, Tensor W, Tensor? weight, "
    "bool symmetric) -> (Tensor, Tensor, Tensor)",
    _sums_on_cpu,
    _sums_on_cuda,
    _sums_memory,
)
# It reads 8 n C, writes 4 n C and takes 2 n C c products.
features_gradient = declare(
    "features_gradient(Tensor grad, Tensor x, Tensor W, Tensor? weight, Tensor mean, Tensor total, "
    "Tensor gcov, float share) -> Tensor",
    _features_gradient_on_cpu,
    _features_gradient_on_cuda,
    lambda grad, x, *_: formatted_empty(x),
)
