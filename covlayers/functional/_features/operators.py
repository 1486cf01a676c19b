"""Steps on features as PyTorch operators: opaque to torch.compile, plain on a CPU.

None has a derivative or a rule for vmap: :func:`~.conditions.serves` leaves the plain lines to
transforms.
"""

from collections.abc import Callable
from typing import Any

import torch

_LIBRARY = torch.library.Library("covlayers", "FRAGMENT")


def define(
    schema: str,
    on_cpu: Callable[..., Any],
    on_cuda: Callable[..., Any],
    fake: Callable[..., Any],
) -> Callable[..., Any]:
    """The operator of a schema.

    Args:
        schema: name, arguments and outputs.
        on_cpu: the plain lines.
        on_cuda: the launch of one kernel.
        fake: empty outputs, in the shapes and strides of both.
    """
    name = schema.partition("(")[0]
    _LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    _LIBRARY.impl(name, on_cpu, "CPU")
    _LIBRARY.impl(name, on_cuda, "CUDA")
    torch.library.register_fake(f"covlayers::{name}", fake, lib=_LIBRARY)
    return getattr(torch.ops.covlayers, name).default
