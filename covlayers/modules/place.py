"""Where the parameters and buffers of a layer are, and in which precision."""

import torch

from covlayers.functional.checks import FLOATS, InvalidTypeError, InvalidValueError


def check_place(device: torch.device | str | None, dtype: torch.dtype | None) -> None:
    """A device that torch knows and a real floating dtype, or None for the default of either."""
    try:
        torch.device("cpu" if device is None else device)
    except (RuntimeError, TypeError) as error:
        kind = InvalidTypeError if isinstance(error, TypeError) else InvalidValueError
        raise kind(
            f"device must be a torch.device, the name of one or None, got {device!r}; torch says: "
            f"{error}"
        ) from error
    if dtype is not None and dtype not in FLOATS:
        raise InvalidTypeError(
            "dtype must be torch.float16, bfloat16, float32 or float64, or None for the default, "
            f"got {dtype!r}."
        )
