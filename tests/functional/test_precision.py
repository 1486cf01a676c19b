"""Functions in every type and layout, autocast on and off: the type that came, and its rounding."""

import pytest
import torch
from torch import Tensor

from covlayers import functional as F
from tests.built import KINDS
from tests.counted import Counted
from tests.good_calls import GOOD, tensors_of
from tests.precision.shares import TYPES, of_peers, settings_of, try_all
from tests.precision.trials import Run, Trial

AREA = "precision"
CALLS = {name: (name, {}) for name in GOOD} | {
    f"whitening_matrix {kind}": ("whitening_matrix", {"kind": kind}) for kind in KINDS
}


def of_function(name: str, given: dict[str, object], options: dict[str, object]) -> Trial:
    tensors = tensors_of(name)
    rest = {key: value for key, value in given.items() if key not in tensors} | options

    def run(*values: Tensor) -> Tensor | tuple[Tensor, ...]:
        return getattr(F, name)(**dict(zip(tensors, values, strict=True)), **rest)

    return Trial(
        " ".join((name, *map(str, options.values()))),
        list(tensors.values()),
        lambda dtype: (run, []),
    )


def of_torch(function: Run) -> Trial:
    return Trial(function.__name__, [GOOD["sqrtm"]["A"]], lambda dtype: (function, []))


@pytest.mark.promise(AREA, "functions in {types}, four layouts, autocast off and to each half")
@pytest.mark.parametrize("types", TYPES)
@pytest.mark.parametrize("name", CALLS)
def test_types_and_layouts(name: str, types: str, full: bool, counted: Counted) -> None:
    function, options = CALLS[name]
    try_all(of_function(function, GOOD[function], options), settings_of(types), counted)
    if full:
        peers = [of_torch(torch.linalg.eigh), of_torch(torch.linalg.inv)]
        counted.beside = of_peers("torch.linalg.eigh, inv", peers, types)
