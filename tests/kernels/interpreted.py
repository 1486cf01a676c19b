"""Run every kernel in Triton's interpreter and print its errors, with their bounds, as JSON.

A program of its own: the interpreter must be chosen before the kernels are imported.
"""

import json
from itertools import product

import torch
from torch import Tensor

from covlayers.functional._base.linalg import symmetric
from covlayers.functional.methods._minimax import minimax_quintics
from tests.properties import exact, exact_gradient, spd, weights_like

EPS = torch.finfo(torch.float32).eps
MINIMAX = [x for quintic in minimax_quintics((16 * EPS) ** 0.5, EPS) for x in quintic]
SCHULZ = [1.5, -0.5, 0.0] * 5
LOWER, DOUBLINGS = (8 * EPS) ** 0.5, 7
ALLOWED = 1e-5
"""Measured: 3.9e-6 at most, of the root, for the products whose error does not grow with κ."""


def bound(S: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(S @ S, keepdim=True).sqrt()


def error(actual: Tensor, expected: Tensor) -> float:
    """The worst relative Frobenius error of a batch; absolute where zero is expected."""
    norm = torch.linalg.matrix_norm(expected)
    difference = torch.linalg.matrix_norm(actual.double() - expected)
    return float((difference / torch.where(norm > 0, norm, 1)).max())


def lyapunov_solution(S: Tensor, Q: Tensor) -> Tensor:
    values, U = torch.linalg.eigh(S.double())
    return U @ (U.mT @ Q.double() @ U / (values[..., :, None] + values[..., None, :])) @ U.mT


def main() -> None:
    from covlayers.functional._iterations import launch

    plain = torch.ops.covlayers  # on a CPU

    records: list[tuple[str, float, float]] = []

    def note(what: str, kernel: Tensor, expected: Tensor, allowed: float = ALLOWED) -> None:
        if kernel.shape != expected.shape or not kernel.is_contiguous():
            records.append((what, float("inf"), 0.0))
        elif kernel.numel():
            records.append((what, error(kernel, expected), allowed))

    cases = [
        *product([2, 3, 16, 17, 31], [(1,)], [1e2, 1e4]),
        *product([33, 64], [(1,)], [1e4]),
        *product([5], [(), (0,), (2, 2)], [1e2]),
    ]
    for n, batch, condition in cases:
        case = f"n={n} batch={batch} condition={condition:.0e}"
        grows = condition * EPS  # measured: 3.9e-6 of 1.2e-5, and 2.7e-4 of 1.2e-3
        A = 3 * spd(*batch, n=n, condition=condition).float()
        roots = launch.launch_roots(A, MINIMAX, True, True, True)
        note(f"sqrtm {case}", roots[0], exact("sqrtm", A))
        note(f"invsqrtm {case}", roots[1], exact("invsqrtm", A), grows)
        B = A / A.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
        schulz = launch.launch_roots(B, SCHULZ, False, True, True)
        wide = plain.roots(B.double(), SCHULZ, False, True, True)
        for kernel, expected in zip(schulz, wide, strict=True):
            note(f"newton_schulz {case}", kernel, expected)

        S, Q = symmetric(exact("sqrtm", A).float()), weights_like(A)
        kernel = launch.launch_smith(S, Q, bound(S), LOWER, DOUBLINGS)
        note(f"smith {case}", kernel, lyapunov_solution(S, Q))
        kernel = launch.launch_sign(S, Q, bound(S), 8)
        note(f"sign {case}", kernel, plain.sign(S.double(), Q.double(), bound(S).double(), 8))

        of_root, of_inverse = (exact_gradient(name, A, Q) for name in ("sqrtm", "invsqrtm"))
        for what, gY, gZ, expected in (
            ("sqrtm", Q, None, of_root),
            ("invsqrtm", None, Q, of_inverse),
            ("both", Q, Q, of_root + of_inverse),
        ):
            gradient = launch.launch_root_gradient(*roots, gY, gZ, LOWER, DOUBLINGS)
            note(f"gradient of {what} {case}", gradient, expected, grows)
            asymmetry = (gradient - gradient.mT).abs().sum()
            records.append((f"asymmetry of the gradient {case}", float(asymmetry), 0.0))
        for wanted, one in (((True, False), roots[0]), ((False, True), roots[1])):
            (alone,) = launch.launch_roots(A, MINIMAX, True, *wanted)
            records.append((f"one root alone {case}", float((alone - one).abs().sum()), 0.0))
            records.append((f"asymmetry {case}", float((one - one.mT).abs().sum()), 0.0))

    A = spd(5, n=5).float()
    A[1] = 0
    A[2] = torch.diag(torch.tensor([-0.5, 1, 1, 1, 1]))
    A[3, 0, 0] = torch.nan
    for tight, coefficients in ((True, MINIMAX), (False, SCHULZ)):
        kernels = launch.launch_roots(A, coefficients, tight, True, True)
        twins = plain.roots(A, coefficients, tight, True, True)
        for kernel, twin in zip(kernels, twins, strict=True):
            nan = torch.isnan(twin).all((-2, -1))
            strangers = (torch.isnan(kernel).all((-2, -1)) != nan).sum()
            records.append((f"NaN alone, tight={tight}", float(strangers), 0.0))
            note(f"beside NaN, tight={tight}", kernel[~nan], twin[~nan].double())
            note(f"zero, tight={tight}", kernel[1], twin[1].double())

    strided = spd(4, n=5, condition=50.0).float().mT[::2].permute(1, 2, 0).contiguous()
    strided = strided.permute(2, 0, 1)
    root, inverse = launch.launch_roots(strided, MINIMAX, True, True, True)
    note("strided sqrtm", root, exact("sqrtm", strided))
    Q = weights_like(strided).mT
    one = bound(strided)[:1].squeeze(0)  # broadcast
    kernel = launch.launch_smith(strided, Q, one, LOWER, 8)
    note("strided smith", kernel, lyapunov_solution(strided, Q))
    ones = torch.ones(()).expand_as(root)  # as sum() gives them
    for gY, gZ in ((ones, Q), (Q.mT[:, :1].expand_as(Q), ones)):
        kernel = launch.launch_root_gradient(root, inverse, gY, gZ, LOWER, DOUBLINGS)
        expected = exact_gradient("sqrtm", strided, gY) + exact_gradient("invsqrtm", strided, gZ)
        note("gradient from strides", kernel, expected, ALLOWED)
    print(json.dumps(records))


if __name__ == "__main__":
    main()
