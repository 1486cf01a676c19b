"""Errors of poolings in ONNX: ``python -m tests.onnx_errors`` writes docs/onnx.json.

A file is run by ONNX Runtime on features whose covariance has a known condition number.
"""

import copy
import json
import tempfile
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import covlayers as cl
from tests.marked import ROOT

FILE = ROOT / "docs" / "onnx.json"
CONDITIONS = (1e2, 1e3, 1e4, 1e5, 1e6)
C, MORE = 32, 64  # channels, and so many more than positions that eager mode takes these
EPS = 1e-5  # where it makes the condition number, for lack of positions
POOLINGS: dict[str, Callable[[], nn.Module]] = {
    "CovPool": lambda: cl.CovPool(C, eps=0.0),
    "CovPool of few positions": lambda: cl.CovPool(MORE, eps=EPS),
    "MPNCovPool": lambda: cl.MPNCovPool(C, eps=0.0),
    "ISQRTCovPool": lambda: cl.ISQRTCovPool(C, eps=0.0),
    "MTPCovPool": lambda: cl.MTPCovPool(C, eps=0.0),
    "MPACovPool": lambda: cl.MPACovPool(C, eps=0.0),
    "CovPool svPN": lambda: cl.CovPool(C, eps=0.0, function=cl.SVPowerNorm()),
    "CovPool svPN of all values": lambda: cl.CovPool(
        C, eps=0.0, function=cl.SVPowerNorm(num_values=None)
    ),
    "SecondOrderHead late": lambda: cl.SecondOrderHead(C, 10, fusion="late", eps=0.0),
}
REGULARISED = "CovPool svPN of all values"  # by the rounding of its dtype


def main() -> None:
    """Measure them all."""
    facts = {
        "date": datetime.now(UTC).date().isoformat(),
        "torch": torch.__version__.partition("+")[0],
        "conditions": CONDITIONS,
    }
    rows = {name: errors(name) for name in POOLINGS}
    FILE.write_text(json.dumps({"metadata": facts, "rows": rows}, indent=1) + "\n")


def errors(name: str) -> dict[str, list[float]]:
    """By the condition number: from eager mode, and of the file and eager mode from float64."""
    torch.manual_seed(0)
    module = POOLINGS[name]().eval()
    found: dict[str, list[float]] = {"from eager": [], "file": [], "eager": []}
    with tempfile.TemporaryDirectory() as folder:
        run = exported(module, sample(name, 10.0), Path(folder) / "model.onnx")
        for condition in CONDITIONS:
            x = sample(name, condition)
            with torch.no_grad():
                eager = module(x)
                wide = raised if name == REGULARISED else copy.deepcopy(module).double()
                exact = wide(x.double())
            file = run(x)
            found["from eager"].append(error(file, eager))
            found["file"].append(error(file, exact))
            found["eager"].append(error(eager, exact))
    return found


def exported(module: nn.Module, x: Tensor, path: Path) -> Callable[[Tensor], Tensor]:
    """The module as ONNX Runtime runs it."""
    import onnxruntime

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), path, dynamo=True, verbose=False)
    session: Any = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: torch.from_numpy(session.run(None, {name: x.numpy()})[0])


def sample(name: str, condition: float) -> Tensor:
    """Features of four images, whose regularised covariance has that condition number."""
    generator = torch.Generator().manual_seed(0)
    few = name.endswith("few positions")
    channels, rank, positions = (MORE, 15, 16) if few else (C, C, 256)
    z = torch.randn(4, rank, positions, generator=generator, dtype=torch.float64)
    z = z - z.mean(-1, keepdim=True)
    L = torch.linalg.cholesky(z @ z.mT / positions)
    z = torch.linalg.solve_triangular(L, z, upper=False)  # of unit covariance
    U = torch.linalg.qr(torch.randn(4, channels, rank, generator=generator).double())[0]
    powers = torch.linspace(0, -1, rank, dtype=torch.float64)
    scales = (condition * EPS) ** 0.5 * torch.ones(rank) if few else condition ** (powers / 2)
    x = ((U * scales) @ z).float()
    return x.mT.contiguous() if name.startswith("SecondOrderHead") else x


def raised(x: Tensor) -> Tensor:
    """The upper triangle of the covariance with all singular values raised, as of float32."""
    values, U = torch.linalg.eigh(torch.stack([one.cov(correction=0) for one in x]))
    norm = values.norm(dim=-1, keepdim=True)
    s = values / norm
    f = norm**0.5 * s * (s**2 + 4 * torch.finfo(torch.float32).eps) ** -0.25
    i, j = torch.triu_indices(C, C)
    return ((U * f.unsqueeze(-2)) @ U.mT)[:, i, j]


def error(y: Tensor, exact: Tensor) -> float:
    """The largest of the images, in the norm of its vector."""
    y, exact = y.double(), exact.double()
    return float(((y - exact).norm(dim=-1) / exact.norm(dim=-1)).max())


if __name__ == "__main__":
    main()
