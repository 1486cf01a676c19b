"""The iterations as PyTorch operators: opaque to torch.compile, known to vmap, plain on a CPU.

None has a derivative: the rules of the library differentiate, and :func:`~.conditions.fits` leaves
the plain lines to whoever differentiates through the steps.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_LIBRARY = torch.library.Library("covlayers", "DEF")


def one_like(first: Tensor, *_: Any) -> Tensor:
    """The shape of a result that is one matrix for each of the first input."""
    return first.new_empty(first.shape)


def define(
    schema: str,
    on_cpu: Callable[..., Any],
    on_cuda: Callable[..., Any],
    fake: Callable[..., Any] = one_like,
) -> Callable[..., Any]:
    """The operator of a schema, whose outputs are contiguous.

    Args:
        schema: name, arguments and outputs.
        on_cpu: the plain lines.
        on_cuda: the launch of a kernel.
        fake: empty outputs of the right shapes.
    """
    name = schema.partition("(")[0]
    qualified = f"covlayers::{name}"
    _LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    _LIBRARY.impl(name, on_cpu, "CPU")
    _LIBRARY.impl(name, on_cuda, "CUDA")
    operator = getattr(torch.ops.covlayers, name).default

    def mapped(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Any, Any]:
        """The rule for vmap: one more batch dimension, in front."""
        front = (
            arg
            if not isinstance(arg, Tensor)
            else arg.expand(info.batch_size, *arg.shape)
            if dim is None
            else arg.movedim(dim, 0)
            for arg, dim in zip(args, in_dims, strict=True)
        )
        result = operator(*front)
        return result, [0] * len(result) if isinstance(result, list) else 0

    torch.library.register_fake(qualified, fake, lib=_LIBRARY)
    torch.library.register_vmap(qualified, mapped, lib=_LIBRARY)
    return operator
