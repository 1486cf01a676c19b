"""The same numbers, laid out in memory in another way, in another type, under autocast or not."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
HALVES = (torch.float16, torch.bfloat16)
DTYPES = (*HALVES, torch.float32, torch.float64)


def sliced(x: Tensor) -> Tensor:
    """A part of a larger tensor, whose other numbers nobody may read."""
    larger = x.new_full((*x.shape[:-1], x.shape[-1] + 3), torch.nan)
    view = larger[..., 1:-2]
    view.copy_(x)
    return view


def channels_last(x: Tensor) -> Tensor:
    return x.movedim(1, -1).contiguous().movedim(-1, 1)


def expanded(x: Tensor) -> Tensor:
    """The first of the batch, again and again, with no memory of their own."""
    return x[:1].expand(x.shape)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": Tensor.contiguous,
    "channels last": channels_last,
    "sliced": sliced,
    "expanded": expanded,
}


@dataclass(frozen=True)
class Setting:
    dtype: torch.dtype
    layout: str
    autocast: torch.dtype | None

    def __str__(self) -> str:
        around = f"autocast to {self.autocast}" if self.autocast else "no autocast"
        return f"{self.dtype}, {self.layout}, {around}".replace("torch.", "")

    @property
    def half(self) -> bool:
        return self.dtype in HALVES

    def laid(self, x: Tensor) -> Tensor:
        """A leaf of the tensor's numbers, as near as the type comes."""
        return LAYOUTS[self.layout](x.detach().to(DEVICE, self.dtype)).detach().requires_grad_()

    def casting(self) -> torch.autocast:
        kind = self.autocast or torch.bfloat16
        return torch.autocast(DEVICE.type, dtype=kind, enabled=self.autocast is not None)


SETTINGS = [Setting(*one) for one in product(DTYPES, LAYOUTS, (None, *HALVES))]
