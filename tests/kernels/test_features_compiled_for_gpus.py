"""The kernels for features, compiled for GPUs that are not at hand.

``python -m tests.kernels.test_features_compiled_for_gpus`` prints shared memory, registers and
spilled bytes of each at full size, which takes minutes.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

triton = pytest.importorskip("triton")

TARGETS = (80, 90, 120)
SHARED = 99 * 1024
"""What a program may take on every GPU since Ampere."""

Case = tuple[Any, dict[str, Any], dict[str, int], int]


def cases(size: int) -> dict[str, Case]:
    """Kernel, constants, lengths of tuples and warps, by name; ``size`` of the positions."""
    from covlayers.functional._features import (
        covariance_triton,
        newton_schulz_triton,
        products_triton,
        root_gradient_triton,
        root_triton,
        series_triton,
        sign_triton,
        triangle_triton,
    )
    from covlayers.functional._features.launch import BLOCK, SHORT, TILE

    tile = {"TILE": TILE, "BLOCK": BLOCK, "RUN": 4, "PRECISION": "tf32x3"}
    side = {"CENTER": True, "SIZE": size, "PRECISION": "tf32x3"}
    layout = {"TRIANGLE": True, "ISOMETRIC": True, "TILE": TILE}
    own = side | {"ROWS": BLOCK}
    few = {
        root_triton.root_from_positions: ({"STEPS": 7, "NEWTON_STEPS": 3}, {"coefficients": 21}),
        root_gradient_triton.gradient_of_root: (
            {"NEWTON_STEPS": 5, "DOUBLINGS": 7, "MATRICES": 5},
            {},
        ),
        newton_schulz_triton.newton_schulz_from_positions: ({"STEPS": 5, "MATRICES": 23}, {}),
        newton_schulz_triton.gradient_of_newton_schulz: (
            {"STEPS": 5, "MATRICES": 23, "TRIANGLE": True},
            {},
        ),
        series_triton.pade_from_positions: ({"DEGREE": 5, "NEWTON_STEPS": 5}, {"poles": 15}),
        series_triton.taylor_from_positions: ({"TERMS": 11}, {"coefficients": 33}),
        sign_triton.sign_from_positions: ({"ITERATIONS": 8, "MATRICES": 11}, {}),
    }
    many = {
        covariance_triton.covariance_of_features: tile | {"CENTER": True, "SHRINK": True},
        covariance_triton.gradient_of_features: tile | {"SHRINK": True},
        triangle_triton.triangle_of_matrix: {"ISOMETRIC": True, "TILE": TILE},
        triangle_triton.gradient_of_triangle: {"ISOMETRIC": True, "TILE": TILE},
        products_triton.channels_from_positions: side | layout | {"BLOCK": SHORT},
        products_triton.gradient_times_features: side | layout | {"BLOCK": BLOCK},
        products_triton.gradient_from_positions: side | {"TILE": TILE, "BLOCK": SHORT},
    }
    found: list[Case] = [(kernel, constants, {}, 4) for kernel, constants in many.items()]
    for kernel, (constants, tuples) in few.items():
        found.append((kernel, own | constants, tuples, max(1, size // 16)))
    return {case[0].fn.__name__: case for case in found}


def compiled(case: Case, capability: int) -> Any:
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kernel, constants, tuples, warps = case

    def kind(name: str) -> Any:
        if name in constants:
            return "constexpr"
        if name in tuples:
            return ("fp32",) * tuples[name]
        if name.endswith("pointer"):
            return "*fp32"
        return "fp32" if name in ("b", "p", "eps", "shrinkage") else "i32"

    signature = {name: kind(name) for name in kernel.arg_names}
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    options = {"num_warps": warps, "num_stages": 1}
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


NAMES = (
    *("covariance_of_features", "gradient_of_features", "triangle_of_matrix"),
    *("gradient_of_triangle", "channels_from_positions", "gradient_times_features"),
    *("gradient_from_positions", "root_from_positions", "gradient_of_root"),
    *("newton_schulz_from_positions", "gradient_of_newton_schulz", "pade_from_positions"),
    *("taylor_from_positions", "sign_from_positions"),
)


@pytest.mark.parametrize("name", NAMES)
def test_compiles_for_every_target(name: str) -> None:
    """Of 16 positions, as more take minutes; at 64 they take at most 64 KB."""
    assert cases(16).keys() == {*NAMES}
    for capability in TARGETS:
        assert compiled(cases(16)[name], capability).metadata.shared <= SHARED, capability


def usage(binary: bytes) -> tuple[int, int]:
    """Registers of a thread, and bytes that it spills or keeps on a stack."""
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary)
        file.flush()
        said = subprocess.run(
            [tool, "-res-usage", file.name], capture_output=True, text=True, check=True
        ).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", said)
    assert found is not None
    return int(found[1]), int(found[2])


def table(size: int, names: list[str]) -> Iterator[str]:
    for name, case in cases(size).items():
        for capability in TARGETS if not names or name in names else ():
            result = compiled(case, capability)
            registers, spilled = usage(result.asm["cubin"])
            shared = result.metadata.shared // 1024
            yield f"{name:30} sm_{capability:<4}{shared:3} KB {registers:4} {spilled:6} bytes"


if __name__ == "__main__":
    for line in table(64, sys.argv[1:]):
        print(line, flush=True)
