"""What a CUDA graph cannot capture, known without a GPU by the operations that are dispatched."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from benchmarks.operations import Operations, as_on_a_gpu

# The host reads whether it has converged.
DECOMPOSITIONS = {"aten::_linalg_eigh", "aten::_linalg_svd"}
# By MAGMA, which a capture does not permit.
SOLVES = {"aten::cholesky_solve", "aten::cholesky_inverse"} if torch.__version__ < "2.13" else set()
UNCAPTURED = DECOMPOSITIONS | SOLVES


def dispatched(run: Callable[..., object], inputs: Sequence[Tensor]) -> set[str]:
    """The operations of a forward and a backward pass on meta tensors, as on a GPU.

    A tensor without values raises where the host would read one.
    """
    inputs = [x.to("meta").requires_grad_() for x in inputs]
    parameters = [*run.to("meta").parameters()] if isinstance(run, nn.Module) else []
    with as_on_a_gpu(), Operations() as seen:
        y = run(*inputs)
        outputs = [y] if isinstance(y, Tensor) else [one for one in y if isinstance(one, Tensor)]
        above = [torch.ones_like(one) for one in outputs]
        torch.autograd.grad(outputs, [*inputs, *parameters], above, allow_unused=True)
    return {*seen.counts}
