"""The kernels of a batch compile for GPUs that are not here, and fit on every one."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

triton = pytest.importorskip("triton")  # torch brings it on Linux only
# Triton is imported late, so that without it the file is skipped.
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from covlayers.functional._batch import (  # noqa: E402
    affine_triton,
    averages_triton,
    gradient_triton,
    launch,
    statistics_triton,
)
from covlayers.functional._batch.tiles import tiles  # noqa: E402

CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
CAPABILITIES = (80, 90, 120)
SHARED = 64 * 1024  # bytes; every such GPU has 99 KB. Measured: 49152 at most
SPILLED = 64  # bytes of a thread on its stack. Measured: 32 at most, of sums of blocks
C, PARTS = 64, 256
FLOATS, N, SCALAR = "*fp32", "i32", "fp32"
STRIDES = ("i32", "i32", "constexpr")  # of contiguous features the last is 1
SUMS = {"RUN": 4, **launch._sums(tiles(2**16, 1, C))}
PRODUCTS = {
    depth: {"RUN": 4, **launch._products(2**16, 1, C, depth)[1]}
    for depth in (launch.DEPTH, launch.DEPTH // 2)
}
COVARIANCE = {"ROWS": 1, "COLUMNS": launch.COLUMNS, **launch._taken(PARTS, launch.COLUMNS)}
GRADIENT = {"ROWS": launch.ROWS, "SIDE": C, **launch._taken(PARTS, launch.ROWS * C)}
PART = [*3 * [FLOATS], N, N, STRIDES, N, N]
GRADIENT_PART = [*5 * [FLOATS], N, N, STRIDES, STRIDES, N, N]
KERNELS: dict[str, tuple[Any, list[Any], dict[str, Any]]] = {
    "sum_parts": (statistics_triton.sum_parts, PART, {"BLOCKS": 1, **SUMS}),
    "sum_parts of blocks": (statistics_triton.sum_parts, PART, {"BLOCKS": 4, **SUMS}),
    "add_parts": (
        statistics_triton.add_parts,
        [*5 * [FLOATS], *4 * [N], SCALAR, SCALAR],
        COVARIANCE,
    ),
    "affine": (
        affine_triton.affine,
        [*6 * [FLOATS], N, N, STRIDES, STRIDES, N],
        PRODUCTS[launch.DEPTH],
    ),
    "sum_gradient_parts": (
        gradient_triton.sum_gradient_parts,
        GRADIENT_PART,
        {"BLOCKS": 4, **SUMS},
    ),
    "add_gradient_parts": (
        gradient_triton.add_gradient_parts,
        [*7 * [FLOATS], N, N],
        {"SYMMETRIC": True, **GRADIENT},
    ),
    "features_gradient": (
        gradient_triton.features_gradient,
        [*8 * [FLOATS], N, N, STRIDES, STRIDES, STRIDES, N, SCALAR],
        PRODUCTS[launch.DEPTH // 2],
    ),
    "move": (
        averages_triton.move,
        [FLOATS, FLOATS, "*i64", FLOATS, FLOATS, SCALAR, SCALAR, N, N],
        {"WIDTH": launch.MOVED},
    ),
}
OPTIONS = "num_warps", "num_stages"


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("name", KERNELS)
def test_fits_on_the_chip(name: str, capability: int, tmp_path: Path) -> None:
    kernel, types, sizes = KERNELS[name]
    places = [(i, 2) for i, one in enumerate(types) if one == STRIDES]
    constants = {key: sizes[key] for key in sizes if key not in OPTIONS}
    constants |= dict.fromkeys(places, 1)
    options = {key: sizes[key] for key in OPTIONS if key in sizes}
    rest = ["constexpr"] * (len(kernel.arg_names) - len(types))
    signature = dict(zip(kernel.arg_names, [*types, *rest], strict=True))
    aligned = {(i,): [["tt.divisibility", 16]] for i, one in enumerate(types) if one == FLOATS}
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=aligned)
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    assert compiled.metadata.shared <= SHARED
    cubin = tmp_path / "kernel.cubin"
    cubin.write_bytes(compiled.asm["cubin"])
    command = [str(CUOBJDUMP), "-res-usage", str(cubin)]
    usage = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert int(usage.partition("STACK:")[2].split()[0]) <= SPILLED
