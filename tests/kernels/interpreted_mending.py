"""Run the kernels on matrices that rounding made indefinite, as :mod:`tests.kernels.interpreted`.

Blocks are larger than on a GPU, as the interpreter takes its time for each, save in one case.
"""

import json
from unittest.mock import patch

import torch
from torch import Tensor

from covlayers import functional as F
from covlayers.functional._base import tuning
from tests.kernels.interpreted import DOUBLINGS, EPS, LOWER, MINIMAX, error
from tests.kernels.numpy_of_today import patch_interpreter
from tests.properties import spd, weights_like, with_spectrum

patch_interpreter()

SIZES = 2, 33
BELOW = 1e-6, 1e-4, 5e-3, 5e-2
"""The lowest eigenvalue is so far below zero, of the largest."""


def main() -> None:
    from covlayers.functional._iterations import launch

    records: list[tuple[str, float, float]] = []

    def roots(A: Tensor, root: bool = True, inverse_root: bool = True) -> list[Tensor]:
        return launch.launch_roots(A, MINIMAX, True, root, inverse_root, True)

    def check(n: int) -> None:
        spectra = torch.linspace(1, 0.1, n).double().repeat(len(BELOW) + 1, 1)
        spectra[1:, -1] = -torch.tensor(BELOW)
        spectra[0, n // 2 :] = -1e-4 / n  # many, as rounding leaves them
        strays = [with_spectrum(values, 1) for values in spectra]
        A = 3 * torch.cat([spd(1, n=n), *strays, spd(1, n=n)]).float()
        Y, Z = roots(A)
        ends = launch.launch_roots(A[[0, -1]], MINIMAX, True, True, True)
        for kernel, alone in zip((Y, Z), ends, strict=True):
            records.append((f"neighbours n={n}", float((kernel[[0, -1]] - alone).abs().max()), 0.0))
            asymmetry = (kernel - kernel.mT).nan_to_num().abs().max()
            records.append((f"asymmetry n={n}", float(asymmetry), 0.0))
            records.append((f"too far n={n}", float((~kernel[-2].isnan()).sum()), 0.0))
        for wanted, both in (((True, False), Y), ((False, True), Z)):
            (one,) = roots(A[2:3], *wanted)
            records.append((f"one root alone n={n}", float((one - both[2:3]).abs().max()), 0.0))
        found = range(1, len(A) - 2)
        inverse = torch.linalg.matrix_norm(F.invsqrtm(A, method="eigh"))
        for index, expected in zip(found, F.sqrtm(A[found], method="eigh"), strict=True):
            # An eigenvalue of zero is known to a rounding. Measured: 0.6 of that.
            records.append((f"sqrtm n={n}", error(Y[index], expected.double()), EPS**0.5))
            # What divides by a rounding has its size and no digits. Measured: 0.7 to 1.4.
            ratio = torch.linalg.matrix_norm(Z[index]) / inverse[index]
            records.append((f"invsqrtm n={n}", float(ratio.log().abs()), 0.7))
        g = weights_like(A)
        for gY, gZ in ((g, None), (None, g)):
            X = launch.launch_root_gradient(Y, Z, gY, gZ, LOWER, DOUBLINGS)
            records.append((f"gradient n={n}", float((~X[:-2].isfinite()).sum()), 0.0))

    def check_others(n: int) -> None:
        A = spd(6, n=n).float()
        A[1] = 0
        A[2, n - 1, 0] = torch.nan
        A[3, 0, 0] = torch.inf
        X = torch.randn(2, n, n // 2)
        A[4:] = X @ X.mT / n  # of low rank
        unmended = launch.launch_roots(A, MINIMAX, True, True, True)
        for kernel, alone in zip(roots(A), unmended, strict=True):
            same = torch.equal(kernel.nan_to_num(7.0), alone.nan_to_num(7.0))
            records.append((f"as without mending, n={n}", float(not same), 0.0))
            finite = kernel.isfinite().all((-2, -1)).tolist()
            expected = [True, True, False, False, True, True]
            records.append((f"finite, n={n}", float(finite != expected), 0.0))

    for n in SIZES:
        block = max(16, 1 << (n - 1).bit_length())
        # with few programs each has several matrices
        with patch.multiple(tuning, BLOCK_SIZE=block, DEPTH_ALONE=block, MENDERS=2):
            check(n)
            check_others(n)
    with patch.multiple(tuning, BLOCK_SIZE=16):
        check(17)
    print(json.dumps(records))


if __name__ == "__main__":
    main()
