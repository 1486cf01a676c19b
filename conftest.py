"""Doctests see what a reader of the docs has imported."""

from importlib.util import find_spec

import pytest
import torch

import covlayers
from covlayers import functional

if find_spec("triton") is None:  # these are imported where a kernel is launched, and not before
    collect_ignore_glob = [
        "covlayers/functional/_iterations/*_triton.py",
        "covlayers/functional/_iterations/launch.py",
        "covlayers/functional/_iterations/tile.py",
    ]


@pytest.fixture(autouse=True)
def _doctest_names(doctest_namespace: dict[str, object]) -> None:
    torch.manual_seed(0)
    names = {name: getattr(functional, name) for name in functional.__all__}
    names |= {name: getattr(covlayers, name) for name in covlayers.__all__}
    doctest_namespace.update(names, torch=torch)
