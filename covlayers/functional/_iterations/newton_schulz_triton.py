r"""Newton-Schulz of matrices divided by their traces, from the read to the write.

With :math:`s = \operatorname{tr} A` and from :math:`Y = A/s`, :math:`Z = I` on,

.. math:: Q = \tfrac12 (3 I - Z Y), \qquad Y \leftarrow Y Q, \qquad Z \leftarrow Q Z .

Read: :math:`A`. Written, as far as wanted: :math:`\sqrt s\, Y` and :math:`Z / \sqrt s`, and
:math:`s`, which is NaN for an indefinite matrix. On chip: :math:`Y, Z, Q`.
"""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from covlayers.functional._iterations.tile import (
    dot,
    load,
    nonzero,
    plus_identity,
    semidefinite,
    store,
    store_scale,
    symmetric_part,
    trace,
)


@triton.jit
def newton_schulz(
    A_pointer,
    Y_pointer,
    Z_pointer,
    s_pointer,
    STEPS: tl.constexpr,
    ROOT: tl.constexpr,
    INVERSE_ROOT: tl.constexpr,
    n,
    SIZE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The wanted roots of the program's matrix."""
    A = symmetric_part(load(A_pointer, n, SIZE))
    s = nonzero(trace(A))
    Y = A / s
    s = tl.where(semidefinite(Y, n, SIZE), s, float("nan"))
    store_scale(s_pointer, s)
    Z = plus_identity(-0.5 * Y, 1.5, n, SIZE)
    Y = dot(Y, Z, PRECISION)
    for _ in range(1, STEPS):
        Q = plus_identity(-0.5 * dot(Z, Y, PRECISION), 1.5, n, SIZE)
        Y = dot(Y, Q, PRECISION)
        Z = dot(Q, Z, PRECISION)
    if ROOT:
        store(Y_pointer, symmetric_part(tl.sqrt(s) * Y), n, SIZE)
    if INVERSE_ROOT:
        store(Z_pointer, symmetric_part(Z / tl.sqrt(s)), n, SIZE)
