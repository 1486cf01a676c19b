"""The launch of a Triton kernel, by a shorter way once it is compiled."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

_MOST = 2**12
_compiled: dict[tuple[object, ...], tuple[Any, list[object]]] = {}


def launch(
    kernel: Any,
    grid: tuple[int, ...],
    tensors: Sequence[Tensor | None],
    numbers: tuple[Any, ...],
    **constants: Any,
) -> None:
    """As ``kernel[grid](*tensors, *numbers, **constants)``, on the device of the first tensor.

    Triton compiles a kernel for constants and options, for the dtype of each tensor and whether its
    memory is aligned to 16 bytes, and for the type of each number, whether it is 1 and whether 16
    divides it. It asks for all of that at each launch, which is most of the time of one. Here a
    compiled kernel is found by it at once, by the numbers themselves: a layer has few of them. What
    is changed of a kernel or of Triton's options after its first launch has no effect.

    Args:
        kernel: the kernel.
        grid: how many programs, along one to three dimensions.
        tensors: its first arguments.
        numbers: its next, and tuples of them: for one parameter always ints, or always floats.
        **constants: the rest, which are compile-time constants, and options of the compiler.
    """
    device = tensors[0].get_device()  # type: ignore[union-attr]  # never None
    if device >= 0 and device != torch.cuda.current_device():  # negative: a CPU, in an interpreter
        with torch.cuda.device(device):
            return launch(kernel, grid, tensors, numbers, **constants)
    memory = [one if one is None else (one.dtype, one.data_ptr() % 16) for one in tensors]
    key = (kernel.fn, device, grid, numbers, *memory, *constants.values())
    kept = _compiled.get(key)
    if kept is not None:
        run, rest = kept
        run(*tensors, *numbers, *rest)
        return None
    compiled = kernel[grid](*tensors, *numbers, **constants)
    if compiled is not None:  # as in the interpreter
        if len(_compiled) >= _MOST:
            _compiled.pop(next(iter(_compiled)))  # the oldest
        names = kernel.arg_names[len(tensors) + len(numbers) :]
        _compiled[key] = compiled[(*grid, 1, 1)[:3]], [constants[name] for name in names]
    return None
