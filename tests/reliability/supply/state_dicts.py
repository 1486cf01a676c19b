"""What every module saved in each version, with an input and the output of then.

    python -m tests.reliability.supply.state_dicts

writes the file of this version into saved/; of one that is there nothing is replaced, and
what it does not have yet is added.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import covlayers as cl
from tests.built import MODULES, features, sample, unlike_at_first
from tests.reliability.same_bits import same

FOLDER = Path(__file__).parent / "saved"
TOLERANCE = 1e-4
"""Error relative to the output's norm, float32, on another processor; 1.4e-5 was measured."""

FITTED: dict[str, Callable[[], nn.Module]] = {
    "ZCAWhitening": cl.ZCAWhitening,
    "PCAWhitening": lambda: cl.PCAWhitening(n_components=3),
    "CholeskyWhitening": cl.CholeskyWhitening,
}
BUILT: dict[str, Callable[[], nn.Module]] = {**MODULES, **FITTED}


def load(saved: dict[str, Any], *, whole: bool) -> dict[str, float]:
    """The error of each module's output, as a share of its bound; NaN if it does not load.

    Args:
        saved: what ``save`` returned.
        whole: whether there is to be something of every module of today.
    """
    names = {**saved, **(BUILT if whole else {})}
    return {name: error_of(name, saved.get(name)) for name in names}


def error_of(name: str, then: dict[str, Any] | None) -> float:
    """The error of one module."""
    if then is None or name not in BUILT:
        return torch.nan
    module = BUILT[name]()
    try:
        module.load_state_dict(then["state"], strict=True)
    except RuntimeError:
        return torch.nan
    if not unchanged(module.state_dict(), then["state"]):
        return torch.nan
    with torch.no_grad():
        y = module.eval()(then["x"])
    error = float((y - then["y"]).norm() / then["y"].norm())
    return error / (rounding(then["state"]["covariance"]) if name == "ZCAWhitening" else TOLERANCE)


def unchanged(now: dict[str, Tensor], then: dict[str, Tensor]) -> bool:
    """Whether every buffer and parameter is the saved one, in its type and to the last bit."""
    types = ({name: value.dtype for name, value in state.items()} for state in (now, then))
    return same(*types) and same(now, then)


def rounding(cov: Tensor) -> float:
    """By how much the inverse root of a stored covariance depends on LAPACK: nεκ.

    An eigendecomposition is off by nε of the largest eigenvalue, and that is nεκ of the smallest
    one, whose inverse root is the largest. In 0.1.0 κ is 7377: nεκ is 5.3e-3, and two builds of
    LAPACK gave outputs 9.0e-4 apart.
    """
    values = torch.linalg.eigvalsh(cov.double())
    return len(cov) * torch.finfo(cov.dtype).eps * float(values[-1] / values[0])


def save(names: Iterable[str]) -> dict[str, Any]:
    """For each module its state, far from its first state, an input, and its output."""
    saved, inputs = {}, {}
    for name in names:
        torch.manual_seed(0)
        module = unlike_at_first(BUILT[name]())
        if name in FITTED:
            module.fit(features(64).flatten(2).mT.flatten(0, 1))
        else:
            module(sample(name, seed=1))
        x = features(2)[..., 0, 0] if name in FITTED else sample(name, 2)
        x = inputs.setdefault(tuple(x.shape), x)  # one tensor of a shape, which is stored once
        with torch.no_grad():
            saved[name] = {"state": module.state_dict(), "x": x, "y": module.eval()(x)}
    return saved


def main() -> None:
    """Write the file of this version."""
    path = FOLDER / f"{cl.__version__}.pt"
    saved = torch.load(path, weights_only=True) if path.exists() else {}
    missing = [name for name in BUILT if name not in saved]
    if missing:
        torch.save({**saved, **save(missing)}, path)
    print(f"{path}: {len(missing)} of {len(BUILT)} added")


if __name__ == "__main__":
    main()
