"""Gradients for root and inverse root at once: right, and by one solve where a rule has one."""

from itertools import product

import pytest
import torch
from torch import Tensor

from covlayers import functional as F
from covlayers.functional.solvers import SmithSolver
from tests.properties import exact_gradient, relative_error, spd, weights_like

CELLS = [*product(("auto", "eigh", "polar_express"), ("smith", "loewner"))]


@pytest.mark.parametrize(("method", "rule"), CELLS)
def test_the_gradient_of_both_is_the_sum(method: str, rule: str) -> None:
    A = spd(3, condition=10.0).requires_grad_()
    g = weights_like(A)
    (grad,) = torch.autograd.grad(
        F.sqrtm_and_invsqrtm(A, method=method, backward=rule), A, (g, g.mT)
    )
    expected = sum(exact_gradient(name, A.detach(), g) for name in ("sqrtm", "invsqrtm"))
    assert isinstance(expected, Tensor)
    assert relative_error(grad, expected) < 1e-6
    assert torch.equal(grad, grad.mT)


@pytest.mark.parametrize("used", [(0,), (1,), (0, 1)])
def test_smith_solves_once(used: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    A = spd(3).requires_grad_()
    both = F.sqrtm_and_invsqrtm(A, backward="smith")
    solved = []
    solve = SmithSolver.solve

    def seen(self: SmithSolver, S: Tensor, Q: Tensor, *known: Tensor) -> Tensor:
        solved.append(Q)
        return solve(self, S, Q, *known)

    monkeypatch.setattr(SmithSolver, "solve", seen)
    torch.autograd.grad([both[k] for k in used], A, [weights_like(A) for _ in used])
    assert len(solved) == 1
