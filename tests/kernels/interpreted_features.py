"""Run the kernels for features in Triton's interpreter and print their errors, as JSON.

A program of its own: the interpreter must be chosen before the kernels are imported. References are
the operators on a CPU, in float64, which other tests hold against the side of the channels.
"""

import json
from collections.abc import Callable
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from covlayers.functional.methods import Pade, PolarExpress, Taylor

EPS = torch.finfo(torch.float32).eps
STEPS = [*chain.from_iterable(PolarExpress()._quintics[torch.float32])]
POLES, SERIES = Pade()._poles, Taylor()._series[0.5]
LOWER, DOUBLINGS = (8 * EPS) ** 0.5, 7
ALLOWED = 2e-5
"""Measured: 5.5e-6 at most, of a factor of the published gradient; of the results 1e-6."""

records: list[tuple[str, float, float]] = []
wide = torch.ops.covlayers  # on a CPU


def error(actual: Tensor, expected: Tensor) -> float:
    norm = expected.double().norm()
    return float((actual.double() - expected.double()).norm() / torch.where(norm > 0, norm, 1))


def note(what: str, actual: Tensor, expected: Tensor, allowed: float = ALLOWED) -> None:
    """One record; the same samples must have a NaN, and the others are compared."""
    nan = expected.flatten(1).isnan().any(1)
    right = actual.shape == expected.shape and torch.equal(actual.flatten(1).isnan().any(1), nan)
    found = error(actual[~nan], expected[~nan]) if right else float("inf")
    records.append((what, found, allowed))


def features(N: int, C: int, M: int, channels_last: bool) -> Tensor:
    x = torch.randn(N, M, C).mT if channels_last else torch.randn(N, C, M)
    return x + 2


def covariances(case: str, x: Tensor) -> None:
    from covlayers.functional._features import launch

    N, C, _ = x.shape
    G = torch.randn(C, C, N).permute(2, 0, 1)
    for center, shrinkage in ((True, 0.0), (True, 0.3), (False, 0.0)):
        A, mean = x.new_empty(N, C, C), x.new_empty(N, C)
        launch.launch_covariance(x, center, 0.1, shrinkage, A, mean)
        expected = wide.covariance(x.double(), center, 0.1, shrinkage)
        note(f"covariance {case}", A, expected[0])
        note(f"mean {case}", mean, expected[1])
        records.append((f"asymmetry {case}", float((A - A.mT).nan_to_num().abs().max()), 0.0))
        g = torch.empty_like(x)
        launch.launch_covariance_gradient(G, x, mean, shrinkage, g)
        expected = wide.covariance_gradient(G.double(), x.double(), expected[1], shrinkage)
        note(f"gradient of covariance {case}", g, expected)
    for isometric in (True, False):
        v = torch.empty(N, C * (C + 1) // 2)
        launch.launch_triangle(A, isometric, v)
        note(f"triangle {case}", v, wide.triangle(A, isometric), EPS)
        H, above = torch.empty(N, C, C), torch.randn(2, N, v.shape[1])[0]
        launch.launch_triangle_gradient(above, C, isometric, H)
        note(f"adjoint {case}", H, wide.triangle_gradient(above, C, isometric), EPS)


def roots(case: str, x: Tensor, b: float, center: bool) -> None:
    from covlayers.functional._features import launch, launch_positions

    z = x.double()
    N, C, M = x.shape
    cells: dict[str, tuple[Callable[..., None], Callable[..., tuple[Tensor, Tensor]], object]] = {
        "root": (launch_positions.launch_root, wide.root_from_positions, STEPS),
        "newton_schulz": (
            launch_positions.launch_newton_schulz,
            wide.newton_schulz_from_positions,
            5,
        ),
        "pade": (launch_positions.launch_pade, wide.pade_from_positions, POLES),
        "taylor": (launch_positions.launch_taylor, wide.taylor_from_positions, SERIES),
    }
    for name, (run, twin, option) in cells.items():
        T, y = x.new_empty(N, M, M), x.new_empty(N)
        run(x, b, option, center, T, y)
        wide_T, wide_y = twin(z, b, option, center)
        note(f"{name} {case}", T, wide_T)
        note(f"{name} at b {case}", y[:, None], wide_y[:, None])
        for triangle, isometric in ((True, True), (True, False), (False, False)):
            expected = wide.channels_from_positions(z, wide_T, wide_y, center, triangle, isometric)
            Y = x.new_empty(expected.shape)
            launch.launch_channels(x, T, y, center, triangle, isometric, Y)
            note(f"channels of {name} {case}", Y, expected)
            above = torch.randn_like(Y)
            P = x.new_empty(N, C, M)
            launch.launch_times_features(above, x, center, triangle, isometric, P)
            wide_P = wide.gradient_times_features(above.double(), z, center, triangle, isometric)
            note(f"gradient times features {case}", P, wide_P)
        L, R = torch.empty_like(T), torch.empty_like(T)
        if name == "root":
            L, wide_L = T, wide_T
            launch_positions.launch_root_gradient(x, P, T, b, center, LOWER, DOUBLINGS, R)
            wide_R = wide.gradient_of_root(z, wide_P, wide_T, b, center, LOWER, DOUBLINGS)
        elif name == "newton_schulz":
            L, wide_L = T, wide_T
            launch_positions.launch_newton_schulz_gradient(
                x, P, above, T, b, 5, center, triangle, R
            )
            wide_R = wide.gradient_of_newton_schulz(
                z, wide_P, above.double(), wide_T, b, 5, center, triangle
            )
        else:
            launch_positions.launch_sign(x, P, T, y, b, center, 8, L, R)
            wide_L, wide_R = wide.sign_from_positions(z, wide_P, wide_T, wide_y, b, center, 8)
        note(f"L of {name} {case}", L, wide_L)
        note(f"R of {name} {case}", R, wide_R)
        g = torch.empty_like(x)
        launch.launch_to_features(x, P, L, R, center, g)
        expected = wide.gradient_from_positions(z, wide_P, wide_L, wide_R, center)
        note(f"gradient of {name} {case}", g, expected)
        strides = [a == b for a, b in zip(g.stride(), x.stride(), strict=True)]
        records.append((f"strides {name} {case}", float(not all(strides)), 0.0))


def scalars_may_end_loops() -> None:
    """In Triton 3.6 they may not, with a recent NumPy."""
    from triton.runtime import interpreter  # type: ignore[import-untyped]

    patch = interpreter._patch_lang_tensor

    def patched(tensor: Any, scope: Any) -> None:
        patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.squeeze()))

    interpreter._patch_lang_tensor = patched


def main() -> None:
    scalars_may_end_loops()
    torch.manual_seed(0)
    for N, C, M, channels_last in ((2, 70, 16, True), (1, 20, 2, False), (2, 37, 9, False)):
        x = features(N, C, M, channels_last)
        case = f"C={C} M={M}"
        covariances(case, x)
        roots(case, x, 1e-2, center=M != 9)
    covariances("C=5 M=70", features(1, 5, 70, False))
    roots("C=66 M=33", features(1, 66, 33, False), 1e-2, center=True)
    x = features(3, 20, 5, False)
    x[0] = 1.5
    x[2, 3, 1] = torch.nan
    covariances("constant and NaN", x)
    roots("constant and NaN", x, 1e-2, center=True)
    print(json.dumps(records))


if __name__ == "__main__":
    main()
