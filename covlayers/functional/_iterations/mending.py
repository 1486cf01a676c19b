"""The launch that mends roots, of matrices of all sizes that have a kernel."""

from collections.abc import Sequence

from torch import Tensor

from covlayers.functional._base import tuning
from covlayers.functional._base.launching import launch
from covlayers.functional._iterations.mending_triton import mend
from covlayers.functional._iterations.strided import PRECISION, limit_of_last


def mend_roots(
    A: Tensor, coefficients: Sequence[float], found: list[Tensor], root: bool, inverse_root: bool
) -> None:
    """Replace what is NaN in ``found``, the wanted roots, where ``A`` is near its positive part."""
    if A.numel() == 0:
        return
    n = A.shape[-1]
    count = A.numel() // n**2
    programs = min(count, tuning.MENDERS)
    line = 1 << (n - 1).bit_length()
    size = min(max(line, tuning.DEPTH_ALONE), tuning.BLOCK_SIZE)
    known = len(coefficients) // 3, root, inverse_root, n
    roots = found[0] if root else None, found[-1] if inverse_root else None
    launch(
        *(mend, (programs,), (A, found[0], *roots, A.new_empty(programs, 6, n, n))),
        (tuple(coefficients), *limit_of_last(n, True), count, *known),
        LINE=line,
        SIZE=size,
        DEPTH=tuning.DEPTH_ALONE,
        PRECISION=PRECISION,
        num_warps=size // 8,
        num_stages=1,
    )
