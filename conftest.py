"""Doctests see what a reader of the docs has imported."""

import pytest
import torch

import covlayers
from covlayers import functional


@pytest.fixture(autouse=True)
def _doctest_names(doctest_namespace: dict[str, object]) -> None:
    torch.manual_seed(0)
    names = {name: getattr(functional, name) for name in functional.__all__}
    names |= {name: getattr(covlayers, name) for name in covlayers.__all__}
    doctest_namespace.update(names, torch=torch)
