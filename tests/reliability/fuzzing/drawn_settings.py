"""What every drawn call has: a batch, a type, a place in memory, seeded values."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
HALVES = DTYPES[:2]
BATCHES = ((), (0,), (1,), (3,), (2, 3))


def embedded(x: Tensor, at: tuple[slice, ...], shape: list[int]) -> Tensor:
    """A view of a larger memory that is NaN everywhere else."""
    view = x.new_full(shape, torch.nan)[at]
    return view.copy_(x)


def sliced(x: Tensor) -> Tensor:
    return embedded(x, (slice(1, -1),) * x.dim(), [size + 2 for size in x.shape])


def stepped(x: Tensor) -> Tensor:
    return embedded(x, (slice(None, None, 2),) * x.dim(), [2 * size for size in x.shape])


def shifted(x: Tensor) -> Tensor:
    return embedded(x.flatten(), (slice(1, None),), [x.numel() + 1]).view(x.shape)


def turned(x: Tensor) -> Tensor:
    return x.movedim(0, -1).contiguous().movedim(-1, 0)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": Tensor.contiguous,
    "transposed": lambda x: x.mT.contiguous().mT if x.dim() > 1 else x,
    "turned": turned,
    "sliced": sliced,
    "stepped": stepped,
    "shifted": shifted,
    "expanded": lambda x: x[:1].expand_as(x),
    "negated": lambda x: torch._neg_view(-x),  # lazily, as the imaginary part of a conjugate is
}
"""How a tensor lies in memory; ``expanded``, for a batch alone, repeats the first of it."""


@dataclass(frozen=True)
class Setting:
    """What every call has.

    Attributes:
        batch: shape before the dimensions that the function knows.
        dtype: of all tensors.
        layout: of all tensors, a key of ``LAYOUTS``.
        seed: of the values.
        keyword: whether tensors are passed by name.
        autocast: whether the call is made under autocast to bfloat16.
    """

    batch: tuple[int, ...]
    dtype: torch.dtype
    layout: str
    seed: int
    keyword: bool
    autocast: bool

    @property
    def half(self) -> bool:
        """Whether the type is computed in float32."""
        return self.dtype in HALVES

    def laid(self, x: Tensor) -> Tensor:
        """The values, rounded to the type and laid out."""
        single = self.layout == "expanded" and not self.batch
        return LAYOUTS["contiguous" if single else self.layout](x.to(self.dtype))

    def normal(self, *shape: int, salt: int = 0) -> Tensor:
        """Normal numbers in float64, for each of the batch."""
        generator = torch.Generator().manual_seed(100 * self.seed + salt)
        return torch.randn(*self.batch, *shape, generator=generator, dtype=torch.float64)

    def scales(self, largest: float) -> Tensor:
        """A factor for each of the batch, from the inverse of the largest to it; 1 for a half."""
        number = torch.Size(self.batch).numel()
        exponents = torch.linspace(-1, 1, number, dtype=torch.float64)
        return (1.0 if self.half else largest) ** exponents.view(*self.batch, 1, 1)


settings_of_calls = st.builds(
    Setting,
    batch=st.sampled_from(BATCHES),
    dtype=st.sampled_from(DTYPES),
    layout=st.sampled_from(sorted(LAYOUTS)),
    seed=st.integers(0, 999),
    keyword=st.booleans(),
    autocast=st.booleans(),
)
