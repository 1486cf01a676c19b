"""What the papers publish, typed once more, is what the cells that bear their names compute."""

import pytest
import torch
from torch import Tensor

from covlayers import functional as F

CELLS = {
    ("sqrtm", "published MPA"): {"method": F.Pade(5), "backward": F.Lyapunov(8)},
    ("sqrtm", "published MTP"): {"method": F.Taylor(10), "backward": F.Lyapunov(8)},
    ("sqrtm", "published iSQRT-COV"): {"method": F.NewtonSchulz(5), "backward": "autograd"},
    ("invsqrtm", "published MPA"): {"method": F.Pade(5), "backward": F.Lyapunov(8)},
    ("invsqrtm", "published MTP"): {"method": F.Taylor(10), "backward": F.Lyapunov(8)},
    ("invsqrtm", "published IterNorm"): {"method": F.NewtonSchulz(5), "backward": "autograd"},
}


@pytest.fixture(scope="module")
def matrices(script) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return script("measure").spd(6, 3, 50.0, generator).requires_grad_()


@pytest.mark.parametrize(("function", "name"), CELLS)
def test_a_published_root_is_its_cell(script, matrices: Tensor, function: str, name: str) -> None:
    (root,) = (root for n, _, root in script("published").PUBLISHED[function] if n == name)
    weight = torch.randn(
        matrices.shape, generator=torch.Generator().manual_seed(1), dtype=matrices.dtype
    )
    weight = weight + weight.mT
    results = []
    for run in (root, lambda A: getattr(F, function)(A, **CELLS[function, name])):
        Y = run(matrices)
        gradient = torch.autograd.grad(Y, matrices, weight)[0]
        results.append((Y, (gradient + gradient.mT) / 2))
    torch.testing.assert_close(*results, rtol=1e-8, atol=1e-8)


def test_all_that_is_published_is_compared(script) -> None:
    published = script("published").PUBLISHED
    assert {(f, name) for f, cells in published.items() for name, *_ in cells} == CELLS.keys()


def test_the_sign_steps_solve_a_well_conditioned_equation(script, matrices: Tensor) -> None:
    S = matrices.detach() + 0.2 * torch.eye(6)
    X = script("published").sign_steps(S, S)
    torch.testing.assert_close(X, torch.eye(6, dtype=X.dtype).expand_as(X) / 2)
