"""What a door does with its matrices first, on an accelerator in one operation."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from covlayers.functional._base.function import differentiable
from covlayers.functional._base.tensors import symmetric_or_nan, symmetrised
from covlayers.functional._iterations.conditions import serves
from covlayers.functional._iterations.operators import define


def symmetric_part(name: str, A: Tensor) -> Tensor:
    """As :func:`~.tensors.symmetrised`, for a caller whose gradient for it is symmetric."""
    if A.device.type == "cpu" or not serves(A):
        return symmetrised(name, A)
    return _differentiable(A)


class _SymmetricPart:
    """The operator. The gradient passes as it is: its symmetric part is itself."""

    @staticmethod
    def forward(A: Tensor) -> Tensor:
        return _operator(A)

    @staticmethod
    def keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> Iterable[Tensor]:
        return ()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


_differentiable = differentiable(_SymmetricPart)


def _on_cpu(A: Tensor) -> Tensor:
    return symmetric_or_nan(A)[0].contiguous()


def _on_cuda(A: Tensor) -> Tensor:
    from covlayers.functional._iterations.launch import launch_symmetric_part  # takes a second

    return launch_symmetric_part(A)


# A matrix costs two reads, the second of them from a cache, and a write, 8 n² bytes and more.
_operator = define("symmetric_part(Tensor A) -> Tensor", _on_cpu, _on_cuda)
