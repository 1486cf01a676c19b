"""Whole cells with the kernels in place of the plain lines, in Triton's interpreter.

Degenerate spectra through root and inverse root: finite where the cell promises it, and a symmetric
gradient; indefinite matrices beyond rounding are NaN. Prints as ``interpreted`` does.
"""

import json
from collections.abc import Sequence
from itertools import chain, product
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from covlayers.functional import solvers
from covlayers.functional._iterations.roots import Roots
from covlayers.functional.backwards import lyapunov, smith
from covlayers.functional.methods import newton_schulz, polar_express
from tests.functional.degenerate_spectra.cells import Cell, attempt, finite
from tests.functional.degenerate_spectra.families import FAMILIES, N

METHODS = ("newton_schulz", "polar_express")
RULES = ("smith", "lyapunov")


def main() -> None:
    from covlayers.functional._iterations import launch
    from tests.kernels.numpy_of_today import patch_interpreter

    patch_interpreter()

    def roots(
        A: Tensor,
        steps: Sequence[Any],
        *,
        tight: bool,
        root: bool,
        inverse_root: bool,
        mended: bool = False,
    ) -> Roots:
        coefficients = [*chain.from_iterable(steps)]
        known = tight, root, inverse_root, mended
        return Roots(launch.launch_roots(A.detach(), coefficients, *known))

    records: list[tuple[str, float, float]] = []
    with (
        patch.object(newton_schulz, "iterated_roots", roots),
        patch.object(polar_express, "iterated_roots", roots),
        patch.object(smith, "gradient_by_kernel", launch.launch_root_gradient),
        patch.object(lyapunov, "solve_by_sign", launch.launch_sign),
        patch.object(solvers, "solve_by_smith", launch.launch_smith),
    ):
        for function, method, rule in product(
            ("sqrtm", "invsqrtm", "sqrtm_and_invsqrtm"), METHODS, RULES
        ):
            cell = Cell(function, method, rule)
            for family, make in FAMILIES.items():
                A = make(N, torch.float32)
                result = attempt(cell.run, A)
                assert result is not None
                value, gradient = result
                of_value, of_gradient = cell.promises(A)
                lost = (of_value and not finite(value)) or (of_gradient and not finite(gradient))
                records.append((f"{cell}: {family}", float(lost), 0.0))
                skew = (gradient - gradient.mT).nan_to_num().abs().max()
                records.append((f"asymmetry of {cell}: {family}", float(skew), 0.0))
    print(json.dumps(records))


if __name__ == "__main__":
    main()
