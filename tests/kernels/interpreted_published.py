"""The kernels of the published cells, as :mod:`tests.kernels.interpreted` runs others.

The reference is PyTorch's own derivative of the published lines in float64.
"""

import json
from itertools import product

import torch
from torch import Tensor

from covlayers import functional as F
from covlayers.functional._base.linalg import symmetric
from tests.kernels import numpy_of_today
from tests.kernels.interpreted import error
from tests.properties import spd, weights_like

ALLOWED = {1: 1e-6, 5: 5e-6, 15: 5e-5}
"""By the number of steps. Measured: 3.2e-7, 1.4e-6 and 1.5e-5 at most, of a gradient."""

ROOTS = "sqrtm", "invsqrtm"


def published(A: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    A = symmetric(A)
    s = A.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    identity = torch.eye(A.shape[-1], dtype=A.dtype)
    Y, Z = A / s, identity.expand_as(A)
    for _ in range(steps):
        Q = (3 * identity - Z @ Y) / 2
        Y, Z = Y @ Q, Q @ Z
    return s.sqrt() * Y, Z / s.sqrt()


def main() -> None:
    numpy_of_today.patch_interpreter()
    from covlayers.functional._iterations.launch_published import (
        launch_approximants,
        launch_newton_schulz,
        launch_newton_schulz_gradient,
    )

    plain = torch.ops.covlayers  # on a CPU
    records: list[tuple[str, float, float]] = []

    def note(what: str, kernel: Tensor, expected: Tensor, allowed: float) -> None:
        right = kernel.shape == expected.shape and kernel.is_contiguous()
        if kernel.numel() or not right:
            records.append((what, error(kernel, expected) if right else float("inf"), allowed))
            asymmetry = float((kernel - kernel.mT).nan_to_num().abs().sum())
            records.append((f"asymmetry of {what}", asymmetry, 0.0))

    def check(A: Tensor, steps: int) -> None:
        case, allowed = f"{tuple(A.shape)} steps={steps}", ALLOWED[steps]
        wide = A.double().requires_grad_()
        expected = published(wide, steps)
        *roots, s = launch_newton_schulz(A, steps, True, True)
        for name, kernel, one in zip(("root", "inverse root"), roots, expected, strict=True):
            note(f"{name} {case}", kernel, one.detach(), allowed)
            (alone, _) = launch_newton_schulz(A, steps, name == "root", name != "root")
            note(f"{name} alone {case}", alone, kernel.double(), 0.0)
        g = weights_like(A)
        ones = torch.ones(()).expand_as(A)  # as sum() gives them
        for gY, gZ in ((g, None), (None, g.mT), (ones, g)):
            given = [torch.zeros_like(A) if one is None else one for one in (gY, gZ)]
            above = [one.double() for one in given]
            (exact,) = torch.autograd.grad(expected, wide, above, retain_graph=True)
            kernel = launch_newton_schulz_gradient(A, s, gY, gZ, steps)
            names = "".join(n for n, one in (("Y", gY), ("Z", gZ)) if one is not None)
            note(f"gradient of {names} {case}", kernel, exact, allowed)

    for n, steps in (*product((2, 16, 17), (1, 5)), (5, 15)):
        check(3 * spd(1, n=n, condition=100.0).float(), steps)
    for n in (33,):
        check(3 * spd(n=n, condition=1e4).float(), 5)
    for batch in ((0,), (2, 2)):
        check(spd(*batch, n=5).float(), 5)
    check(spd(4, n=5).float().permute(1, 2, 0).contiguous().permute(2, 0, 1), 5)

    methods = F.Taylor(), F.Pade(1), F.Pade(5), F.Pade(16)
    for n, method in (*product((2, 17), methods), (64, methods[2])):
        A = 3 * spd(1, n=n, condition=1e4).float()
        fractions = isinstance(method, F.Pade)
        if isinstance(method, F.Pade):
            numbers = method._poles, method._zeros
        else:
            numbers = method._series[0.5], method._series[-0.5]
        kernels = launch_approximants(A, *numbers, fractions)
        for name, kernel in zip(ROOTS, kernels, strict=True):
            expected = getattr(F, name)(A.double(), method=method)
            note(f"{name} by {method}, n={n}", kernel, expected, 2e-5)  # measured: 3e-6
            own = [() if name != one else c for one, c in zip(ROOTS, numbers, strict=True)]
            (alone,) = launch_approximants(A, *own, fractions)
            note(f"{name} alone by {method}, n={n}", alone, kernel.double(), 1e-6)

    for n in (5,):
        A = spd(6, n=n).float()
        A[1] = 0
        A[2] = torch.eye(n)
        A[2, 0, 0] = -0.5
        A[3, 0, 0] = torch.nan
        A[4] = torch.eye(n)
        A[4, 0, 0] = -0.001 * n**0.5  # rounding
        A[5, 1, 0] = torch.inf
        kernels = launch_newton_schulz(A, 5, True, True)
        twins = plain.newton_schulz(A, 5, True, True)
        g = weights_like(A)
        gradients = (
            launch_newton_schulz_gradient(A, kernels[-1], g, g, 5),
            plain.newton_schulz_gradient(A, twins[-1], g, g, 5),
        )
        pairs = [*zip(kernels, twins, strict=True), gradients]
        for numbers, fractions in (([0.9, 0.5], True), ([1.0, -0.5, -0.125], False)):
            approximate = launch_approximants(A, numbers, numbers, fractions)
            twins = plain.approximants(A, numbers, numbers, fractions)
            pairs += [*zip(approximate, twins, strict=True)]
        for kernel, twin in pairs:
            expected = [False, False, True, True, False, True]
            for one in (kernel, twin):
                nan = torch.isnan(one)
                alone = nan.all((-2, -1)).tolist() == nan.any((-2, -1)).tolist() == expected
                records.append((f"NaN alone, n={n}", float(not alone), 0.0))
            for k in (0, 1, 4):
                note(f"matrix {k} beside NaN, n={n}", kernel[k], twin[k].double(), 1e-5)
    print(json.dumps(records))


if __name__ == "__main__":
    main()
