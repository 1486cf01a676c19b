"""Graphs for ONNX, which has neither an eigendecomposition nor a solve."""

import torch
from torch import Tensor

from covlayers.functional._base.errors import UnsupportedError
from covlayers.functional._base.function import compile_time


def exporting_to_onnx(A: Tensor) -> bool:
    """Whether ``A`` is part of a graph for ONNX; to be asked where one is traced.

    What is computed from tensors with values becomes a constant of the graph, by whatever means.
    """
    traced = torch.compiler.is_dynamo_compiling() or type(A) is not Tensor
    return traced and torch.compiler.is_exporting() and _in_onnx_export()


@compile_time  # Dynamo would take PyTorch's own answer for False
def _in_onnx_export() -> bool:
    return torch.onnx.is_in_onnx_export()


def refuse_onnx(A: Tensor, what: str) -> None:
    """Raise where a graph for ONNX would need ``what`` of ``A``.

    Raises:
        UnsupportedError: with the remedy.
    """
    if exporting_to_onnx(A):
        raise UnsupportedError(
            f"ONNX has no operator for {what}; products give the roots, whitening of kind='zca' "
            "and Lyapunov equations with solver='sign'. torch.export.export keeps the rest."
        )
