"""What every module saved in each version, with an input and the output of then.

    python -m tests.reliability.supply.state_dicts

writes the file of this version into saved/; of one that is there nothing is replaced, and
what it does not have yet is added.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

import covlayers as cl
from tests.built import MODULES, features, sample, unlike_at_first
from tests.reliability.rows import Row, row

AREA = "supply"
FOLDER = Path(__file__).parent / "saved"
TOLERANCE = 1e-4
"""Of the norm of the output, in float32 and on another processor."""

FITTED: dict[str, Callable[[], nn.Module]] = {
    "ZCAWhitening": cl.ZCAWhitening,
    "PCAWhitening": lambda: cl.PCAWhitening(n_components=3),
    "CholeskyWhitening": cl.CholeskyWhitening,
}
BUILT: dict[str, Callable[[], nn.Module]] = {**MODULES, **FITTED}


def rows() -> Iterator[Row]:
    """One of every version that has a file."""
    for file in sorted(FOLDER.glob("*.pt")):
        errors = load(torch.load(file, weights_only=True), whole=file.stem == cl.__version__)
        worst = max((error for error in errors.values() if error == error), default=torch.nan)
        yield row(
            AREA,
            f"state_dicts of {file.stem}: load strictly, and give the output of then",
            {name: error <= TOLERANCE for name, error in errors.items()},
            worst=f"{worst:.1e} of the output",
        )


def load(saved: dict[str, Any], *, whole: bool) -> dict[str, float]:
    """How far each module is from the output that it had, of its norm; NaN if it does not load.

    Args:
        saved: what ``save`` returned.
        whole: whether there is to be something of every module of today.
    """
    names = {**saved, **(BUILT if whole else {})}
    return {name: error_of(name, saved.get(name)) for name in names}


def error_of(name: str, then: dict[str, Any] | None) -> float:
    """That of one module."""
    if then is None or name not in BUILT:
        return torch.nan
    module = BUILT[name]()
    try:
        module.load_state_dict(then["state"], strict=True)
    except RuntimeError:
        return torch.nan
    with torch.no_grad():
        y = module.eval()(then["x"])
    return float((y - then["y"]).norm() / then["y"].norm())


def save(names: Iterable[str]) -> dict[str, Any]:
    """By module: its state, far from that of the start, an input, and its output."""
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
