"""The regularisers of style networks against their formulas."""

import pytest
import torch
from torch.testing import assert_close

import covlayers as cl
from covlayers import functional as F
from tests.built import features


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_whitening_loss(groups: int) -> None:
    x = features(3).double()
    size = 6 // groups
    entries = []
    for one in x.flatten(2):
        for group in one.split(size):
            centred = group - group.mean(1, keepdim=True)
            entries.append((centred @ centred.T / 20 - torch.eye(size).double()).abs())
    assert_close(cl.WhiteningLoss(groups)(x), torch.stack(entries).mean())


def test_white_features_cost_nothing() -> None:
    x = features(2).double().flatten(2)
    W = F.whitening_matrix(F.covariance(x))
    white = F.whiten(x, x.mean(-1), W)
    for groups in (1, 3):
        loss = cl.WhiteningLoss(groups)(white)
        assert_close(loss, torch.zeros_like(loss), rtol=0, atol=1e-10)


def test_orthogonality_loss() -> None:
    X = torch.randn(2, 3, 4, 4).double()
    U = X / X.square().sum(-2, keepdim=True).sqrt()
    expected = (torch.einsum("...ij,...ik->...jk", U, U) - torch.eye(4)).abs().mean()
    assert_close(cl.ColoringOrthogonalityLoss()(X), expected)
    orthogonal = torch.linalg.qr(X)[0] * torch.arange(1.0, 5.0)
    loss = cl.ColoringOrthogonalityLoss()(orthogonal)
    assert_close(loss, torch.zeros_like(loss), rtol=0, atol=1e-10)


def test_gradient() -> None:
    x = features(1)[:, :4, :2, :3].double().requires_grad_()
    assert torch.autograd.gradcheck(cl.WhiteningLoss(2), x)
    X = torch.randn(2, 3, 3).double().requires_grad_()
    assert torch.autograd.gradcheck(cl.ColoringOrthogonalityLoss(), X)
    zero = torch.zeros(3, 3, requires_grad=True)
    cl.ColoringOrthogonalityLoss()(zero).backward()
    assert zero.grad.isfinite().all()


@pytest.mark.parametrize("loss", [cl.WhiteningLoss(2), cl.ColoringOrthogonalityLoss()])
def test_half_features_compute_in_float32(loss: torch.nn.Module) -> None:
    x = (features(2) if isinstance(loss, cl.WhiteningLoss) else torch.randn(2, 5, 5)).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = loss(x)
    assert_close(actual, loss(x.float()).bfloat16(), rtol=0, atol=0)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    assert_close(compiled(x.float()), loss(x.float()))
