"""Matrices that a kernel keeps in global memory: more of them than registers hold.

Each belongs to one program, padded with zeros to a square of ``SIZE``, and stays in the caches.
"""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from covlayers.functional._iterations.tile import dot

STEP = tl.constexpr(16)
"""How much of a sum is taken at a time: the less, the fewer registers."""


@triton.jit
def read(pointer, SIZE: tl.constexpr):
    """The matrix."""
    k = tl.arange(0, SIZE)
    return tl.load(pointer + k[:, None] * SIZE + k[None, :])


@triton.jit
def read_transposed(pointer, SIZE: tl.constexpr):
    """The transposed matrix."""
    k = tl.arange(0, SIZE)
    return tl.load(pointer + k[:, None] + k[None, :] * SIZE)


@triton.jit
def write(pointer, tile, SIZE: tl.constexpr):
    """Replace the matrix: no thread reads the old one any more, and all see the new one."""
    k = tl.arange(0, SIZE)
    tl.debug_barrier()
    tl.store(pointer + k[:, None] * SIZE + k[None, :], tile)
    tl.debug_barrier()


@triton.jit
def times(A_pointer, B_pointer, n, SIZE: tl.constexpr, PRECISION: tl.constexpr):
    """The product of two of them, whose entries are zero from ``n`` on."""
    k = tl.arange(0, SIZE)
    some = tl.arange(0, STEP)
    product = tl.zeros((SIZE, SIZE), tl.float32)
    for start in range(0, n, STEP):
        A = tl.load(A_pointer + k[:, None] * SIZE + (start + some)[None, :])
        B = tl.load(B_pointer + (start + some)[:, None] * SIZE + k[None, :])
        product = dot(A, B, PRECISION, product)
    return product
