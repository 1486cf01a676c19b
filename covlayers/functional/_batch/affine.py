"""Features by a matrix, scale and shift as an operator: one kernel, plain lines on a CPU."""

from torch import Tensor

from covlayers.functional._base.linalg import cast
from covlayers.functional._batch.memory_layout import Layout, formatted_empty
from covlayers.functional._batch.products import Products
from covlayers.functional._iterations.operators import declare


def _affine_on_cpu(
    x: Tensor, W: Tensor, mean: Tensor, weight: Tensor | None, bias: Tensor | None
) -> Tensor:
    products = Products(Layout.of(x, W.shape[0], join=False))
    z, W = products.given(x, mean, W)
    return cast(products.transform(z, mean, W, weight, bias), x.dtype)


def _affine_on_cuda(
    x: Tensor, W: Tensor, mean: Tensor, weight: Tensor | None, bias: Tensor | None
) -> Tensor:
    from covlayers.functional._batch.launch import launch_affine

    y = formatted_empty(x)
    launch_affine(x, W, mean, weight, bias, y)
    return y


# It reads and writes 4 n C and takes n C c products.
affine = declare(
    "affine(Tensor x, Tensor W, Tensor mean, Tensor? weight, Tensor? bias) -> Tensor",
    _affine_on_cpu,
    _affine_on_cuda,
    lambda x, *_: formatted_empty(x),
)
