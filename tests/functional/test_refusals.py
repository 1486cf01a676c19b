"""Everything that functions refuse, and how: the error names the argument and helps."""

from functools import partial
from inspect import isfunction
from itertools import chain

import pytest
import torch

from covlayers import functional as F
from tests.counted import Counted
from tests.good_calls import X
from tests.properties import spd
from tests.refusals import calls
from tests.refusals.refusal import count, naming
from tests.refusals.wrong_values import misshapen, wrong_tensors

AREA = "bad inputs"


def test_every_function_has_a_row() -> None:
    assert {name for name in F.__all__ if isfunction(getattr(F, name))} == calls.CALLS.keys()


@pytest.mark.promise(AREA, "wrong type, dtype, rank, shape or device of a function's tensor")
def test_tensors(counted: Counted) -> None:
    count(chain(calls.of_one_tensor(), calls.of_two_tensors()), counted)
    counted.beside = beside()


@pytest.mark.promise(AREA, "wrong option of a function, method or rule, or a pair without meaning")
def test_options(counted: Counted) -> None:
    count(chain(calls.of_options(), calls.of_cells()), counted)


def beside() -> str:
    """The eigendecomposition and the covariance of torch with the tensors that ours refuse."""
    A, x = spd(2, n=3), X[0]
    skewed = ("asymmetric", A + torch.ones(3, 3).triu(1), ())
    of_eigh = (*wrong_tensors(A, 2), *misshapen(A[..., :2], A[:, :1]), skewed)
    of_cov = (*wrong_tensors(x, 1), *misshapen(x[:, :1], x[:, :0]))
    eigh = (("A", partial(torch.linalg.eigh, value)) for _, value, _ in of_eigh)
    cov = (("input", partial(torch.cov, value)) for _, value, _ in of_cov)
    return f"{naming('torch.linalg.eigh', eigh)}; {naming('torch.cov', cov)}"
