"""How the kernels cut a batch: blocks of channels, tiles of positions, parts of several tiles."""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from covlayers.functional._base import tuning
from covlayers.functional._base.tensors import full

LARGEST_SIDE = 64  # of a block of channels
LARGEST_WIDTH = 64  # positions of a tile that is summed
ENTRIES = 2**11  # of a tile that is summed; of more the registers do not hold all


class Tiles(NamedTuple):
    """A cut of one group of channels."""

    blocks: int  # of channels
    side: int  # channels of a block, a power of two and at least 16, as products of tiles want
    width: int  # positions of a tile, a power of two
    all: int  # tiles, over all positions
    each: int  # tiles of a part
    parts: int

    @property
    def positions(self) -> int:
        """Positions of a part, but for the last, which may have less."""
        return self.each * self.width


def tiles(n: int, num_groups: int, c: int) -> Tiles:
    """How ``n`` positions of groups of ``c`` channels are cut, the same on every device."""
    return _tiles(n, num_groups, c, tuning.PROGRAMS)


@lru_cache(maxsize=2**10)
def _tiles(n: int, num_groups: int, c: int, programs: int) -> Tiles:
    side = min(LARGEST_SIDE, power_of_two(c))
    blocks = -(-c // side)
    width = min(LARGEST_WIDTH, ENTRIES // side)
    count = -(-n // width)
    parts = max(1, programs // (num_groups * blocks**2))
    each = -(-count // parts)
    return Tiles(blocks, side, width, count, each, -(-count // each))


def power_of_two(c: int) -> int:
    """The least power of two from 16 on that is no less than ``c``."""
    return max(16, 1 << (c - 1).bit_length())


def part_memory(x: Tensor, num_groups: int, vectors: int = 1) -> tuple[Tensor, Tensor]:
    """Memory for some vectors and a matrix of each part and group."""
    C = x.shape[1]
    c = C // num_groups
    parts = tiles(x.numel() // C, num_groups, c).parts
    memory = x.new_empty(vectors, parts, C, dtype=torch.float32)
    return memory, x.new_empty(parts, num_groups, c, c, dtype=torch.float32)


def by_groups(x: Tensor, num_groups: int) -> Tensor:
    """``x`` as matrices ``(G, c, n)``."""
    return full(x).transpose(0, 1).reshape(num_groups, x.shape[1] // num_groups, -1)
