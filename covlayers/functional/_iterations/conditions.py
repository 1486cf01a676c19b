"""Where the kernels stand in for the plain lines."""

from functools import lru_cache
from importlib.util import find_spec

import torch
from torch import Tensor

from covlayers.functional._base import tuning
from covlayers.functional._base.function import compiling, exporting, in_forward_mode, transformed

_TRITON = find_spec("triton") is not None and torch.version.hip is None  # nothing is imported
_LARGEST_GRID = 2**16 - 1  # of programs, but along the first dimension


def fits(*matrices: Tensor, largest: int = tuning.LARGEST_ON_CHIP) -> bool:
    r"""Whether the kernels serve these matrices.

    They want float32 matrices of at least two rows on an NVIDIA GPU with tensor cores for it
    (compute capability 8.0, Ampere, or later) and Triton. Compiled for 8.0 to 12.0, a matrix of 64
    takes at most 80 KB of shared memory, which every such GPU has; one of 128 would take 256 KB or
    more, which none has, so a kernel for larger ones goes through memory.

    A derivative through the steps, in either mode, and an exported graph need the plain lines.

    Args:
        *matrices: all that the kernel would read; square.
        largest: the number of rows up to which there is one.
    """
    tracked = torch.is_grad_enabled()
    for A in matrices:
        if not 2 <= A.shape[-1] <= largest or (tracked and A.requires_grad) or not serves(A):
            return False
    return True


def fits_with_derivative(A: Tensor) -> bool:
    """Whether kernels serve the steps for ``A`` and, where it is asked for, their derivative.

    A compiled graph and the transforms of ``torch.func`` differentiate the plain lines.
    """
    return fits(A) or (fits(A.detach()) and not compiling() and not transformed())


def serves(A: Tensor) -> bool:
    """Whether there is a kernel for the device and the dtype of ``A``, as things are."""
    return (
        A.dtype == torch.float32
        and _capable(A.device)
        and not exporting()
        and not in_forward_mode()
    )


def fits_features(x: Tensor, num_groups: int) -> bool:
    r"""Whether the kernels of a batch serve features ``(N, C, *)``.

    They want some float32, float16 or bfloat16 features, in groups of at most
    ``tuning.LARGEST_GROUP`` channels, on such a GPU. A compiled graph takes the plain lines, which
    its compiler differentiates and fuses with their neighbours; so do the transforms of
    ``torch.func`` and forward mode.
    """
    return (
        _capable(x.device)
        and x.dtype in (torch.float32, torch.float16, torch.bfloat16)
        and x.shape[1] // num_groups <= tuning.LARGEST_GROUP
        and num_groups <= _LARGEST_GRID
        and 0 < x.numel() // x.shape[1] < 2**30
        and not compiling()
        and not transformed()
    )


def fits_in_place(*tensors: Tensor) -> bool:
    """Whether a kernel serves these tensors, some in place: contiguous float32, in eager mode."""
    if compiling() or transformed():
        return False
    for x in tensors:
        if x.dtype != torch.float32 or not x.is_contiguous() or not _capable(x.device):
            return False
    return True


@lru_cache
def multiprocessors(device: torch.device) -> int:
    """How many the GPU has; 1 where there is none, so that every program is alone."""
    return (
        torch.cuda.get_device_properties(device).multi_processor_count
        if device.type == "cuda"
        else 1
    )


def _capable(device: torch.device) -> bool:
    if device.type != "cuda" or not _TRITON:
        return False
    return (_multiplies if compiling() else _known_to_multiply)(device)


def _multiplies(device: torch.device) -> bool:
    return torch.cuda.get_device_properties(device).major >= 8


_known_to_multiply = lru_cache(_multiplies)  # a compiled graph takes no cache
