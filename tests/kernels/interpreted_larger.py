"""The kernels for matrices of more than 64 rows, as :mod:`tests.kernels.interpreted` runs others.

Blocks are larger than on a GPU, as the interpreter takes its time for each, save in two cases.
"""

import json
from unittest.mock import patch

import torch
from torch import Tensor

from covlayers.functional._base import tuning
from tests.kernels.interpreted import DOUBLINGS, EPS, LOWER, MINIMAX, SCHULZ, error
from tests.properties import exact, exact_gradient, spd, weights_like

ALLOWED = 2e-5
"""Measured: 4.6e-6 at most, of the root, for what does not grow with κ."""

CASES: list[tuple[int, tuple[int, ...], float, int]] = [  # size, batch, condition, block
    (65, (1,), 1e4, 64),
    (100, (2,), 1e2, 128),
    (128, (), 1e4, 128),
    (150, (1,), 1e4, 128),
]


def main() -> None:
    from covlayers.functional._iterations import launch

    plain = torch.ops.covlayers  # on a CPU
    records: list[tuple[str, float, float]] = []

    def note(what: str, kernel: Tensor, expected: Tensor, allowed: float = ALLOWED) -> None:
        right = kernel.shape == expected.shape and kernel.is_contiguous()
        records.append((what, error(kernel, expected) if right else float("inf"), allowed))
        asymmetry = (kernel - kernel.mT).nan_to_num().abs().max()
        records.append((f"asymmetry of {what}", float(asymmetry), 0.0))

    def check(n: int, batch: tuple[int, ...], condition: float) -> None:
        case = f"n={n} batch={batch} condition={condition:.0e}"
        grows = condition * EPS  # measured: 3.2e-5 of 1.2e-3 for a root, and 7.4e-5 for a gradient
        A = 3 * spd(*batch, n=n, condition=condition).float()
        roots = launch.launch_roots(A, MINIMAX, True, True, True)
        note(f"sqrtm {case}", roots[0], exact("sqrtm", A))
        note(f"invsqrtm {case}", roots[1], exact("invsqrtm", A), grows)
        g, ones = weights_like(A), torch.ones(()).expand_as(A)  # as sum() gives them
        of_root, of_inverse = exact_gradient("sqrtm", A, ones), exact_gradient("invsqrtm", A, g)
        gradient = launch.launch_root_gradient(*roots, ones, g.mT.clone().mT, LOWER, DOUBLINGS)
        note(f"gradient of both {case}", gradient, of_root + of_inverse, grows)
        if condition > 1e2:
            return
        for wanted, one in (((True, False), roots[0]), ((False, True), roots[1])):
            (alone,) = launch.launch_roots(A, MINIMAX, True, *wanted)
            records.append((f"one root alone {case}", float((alone - one).abs().sum()), 0.0))
        for gY, gZ, expected in ((ones, None, of_root), (None, g, of_inverse)):
            gradient = launch.launch_root_gradient(*roots, gY, gZ, LOWER, DOUBLINGS)
            note(f"gradient of one {case}", gradient, expected, grows)
        B = A / A.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
        for coefficients in (SCHULZ, SCHULZ[:3]):
            kernels = launch.launch_roots(B, coefficients, False, True, True)
            wide = plain.roots(B.double(), coefficients, False, True, True)
            for kernel, expected in zip(kernels, wide, strict=True):
                note(f"newton_schulz {case}", kernel, expected)

    def check_strays(n: int) -> None:
        A = spd(4, n=n).float()
        A[1] = 0
        A[2] = torch.eye(n)
        A[2, 0, 0] = -0.5
        A[3] = torch.nan
        B = torch.stack([-torch.eye(n), torch.zeros(n, n)])
        B[1, 0, 1] = B[1, 1, 0] = 1  # no entry of the diagonal is positive
        for X in launch.launch_roots(B, MINIMAX, True, True, True):
            records.append((f"negative, n={n}", float((~torch.isnan(X)).sum()), 0.0))
        kernels = launch.launch_roots(A, MINIMAX, True, True, True)
        for kernel, twin in zip(kernels, plain.roots(A, MINIMAX, True, True, True), strict=True):
            nan = torch.isnan(twin).all((-2, -1))
            strangers = (torch.isnan(kernel).all((-2, -1)) != nan).sum()
            records.append((f"NaN alone, n={n}", float(strangers), 0.0))
            note(f"beside NaN, n={n}", kernel[~nan], twin[~nan].double(), 1e-4)
            note(f"zero, n={n}", kernel[1], twin[1].double())
        g = weights_like(A).clone()
        g[0, 3, 2] = torch.nan
        kernel = launch.launch_root_gradient(*kernels, g, g, LOWER, DOUBLINGS)
        twin = plain.root_gradient(*kernels, g, g, LOWER, DOUBLINGS)
        found = torch.isnan(kernel).all((-2, -1)).tolist()
        records.append((f"NaN gradients, n={n}", float(found != [True, False, True, True]), 0.0))
        note(f"gradient beside NaN, n={n}", kernel[1], twin[1].double(), 1e-4)

    for n, batch, condition, block in CASES:
        with patch.multiple(tuning, BLOCK_SIZE=block, BLOCK_DEPTH=block):
            check(n, batch, condition)
    with patch.multiple(tuning, BLOCK_SIZE=128, BLOCK_DEPTH=128):
        for n in (70,):
            check_strays(n)
            empty = torch.empty(0, n, n)
            for X in launch.launch_roots(empty, MINIMAX, True, True, True):
                records.append((f"empty, n={n}", float(X.shape != empty.shape), 0.0))
            X = launch.launch_root_gradient(empty, empty, empty, empty, LOWER, DOUBLINGS)
            records.append((f"empty gradient, n={n}", float(X.shape != empty.shape), 0.0))
    print(json.dumps(records))


if __name__ == "__main__":
    main()
