"""How many kernels an operator launches, without a look at a GPU or at Triton."""

from torch import Tensor

from covlayers.functional._base import tuning


def launches_of_roots(A: Tensor, *choices: object) -> int:
    """Of the operator ``roots``, with its arguments: one for all steps, one that mends.

    A team of programs needs one more, for the zeros that it counts from.
    """
    mended = len(choices) > 4 and bool(choices[4])
    return 1 + (A.shape[-1] > tuning.LARGEST_ON_CHIP) + mended


def launches_of_root_gradient(Y: Tensor, *_: object) -> int:
    """Of the operator ``root_gradient``, with its arguments, likewise."""
    return 1 + (Y.shape[-1] > tuning.LARGEST_ON_CHIP)
