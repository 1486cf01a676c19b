"""What ``select`` says is what runs."""

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from covlayers import functional as F
from covlayers.functional.functions import INVSQRT, LOG, SQRT
from tests.properties import spd

FUNCTIONS = {"sqrtm": SQRT, "invsqrtm": INVSQRT, "logm": LOG}


@pytest.mark.parametrize(("function", "method"), [*product(FUNCTIONS, F.METHODS)])
def test_says_what_runs(function: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    A = spd(3).float()
    if function == "logm" and method not in ("auto", "eigh"):
        with pytest.raises(F.UnsupportedError):
            F.select(A, function, method=method)
        return
    chosen = F.select(A, function, method=method)
    ran: list[tuple[F.Method, Any]] = []
    apply = type(chosen.backward).apply

    def seen(self: F.Backward, fns: Any, method: F.Method, A: Tensor) -> Any:
        ran.append((method, self))
        return apply(self, fns, method, A)

    monkeypatch.setattr(type(chosen.backward), "apply", seen)
    getattr(F, function)(A, method=method)
    assert ran == [(chosen.method, chosen.backward)]


def test_says_how_and_why() -> None:
    """Each implementation has words of its own."""
    many, large = torch.empty(64, 16, 16), torch.empty(1, 4096, 4096)
    said = {
        F.select(A, function, method=method).implementation
        for A, function, method in (
            (torch.eye(3), "sqrtm", "auto"),
            (torch.eye(3), "invsqrtm", "auto"),
            (torch.eye(99), "invsqrtm", "auto"),
            (many, "sqrtm", "auto"),
            (large, "sqrtm", "pade"),
            (torch.eye(3), "sqrtm", "pade"),
        )
    }
    assert len(said) == 6
    assert F.select(many).method == F.PolarExpress()
    assert "many matrices" in F.select(many).reason


def test_half_is_computed_in_float32() -> None:
    assert F.select(torch.eye(3).half(), "invsqrtm").method == F.Eigh(refine=True)


def test_what_a_user_names() -> None:
    chosen = F.select(torch.eye(3), method=F.Pade(3), backward="loewner")
    assert (chosen.method, chosen.backward) == (F.Pade(3), F.Loewner())
    with pytest.raises(F.InvalidValueError, match="function must be one of"):
        F.select(torch.eye(3), "expm")
