"""Shared by every test: the doctests' namespace, and torch left as it was found."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    """Each device at hand."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no accelerator here")
    return request.param
