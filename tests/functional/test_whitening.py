"""Whitening matrices, whitening and coloring."""

import pytest
import scipy.linalg
import torch

from covlayers import functional as F
from tests.properties import spd, weights_like

KINDS = ("zca", "pca", "cholesky", "zca_cor", "pca_cor")
per_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.mark.parametrize("shape", [(), (0,), (2,), (2, 3)])
@per_kind
def test_whitens(kind: str, shape: tuple[int, ...]) -> None:
    cov = spd(*shape, condition=1e3)
    W = F.whitening_matrix(cov, kind=kind)
    assert W.shape == cov.shape
    assert torch.allclose(W @ cov @ W.mT, torch.eye(5).double().expand_as(cov), atol=1e-9)


def test_each_kind_is_its_definition() -> None:
    cov = spd(condition=50.0)
    values, vectors = torch.linalg.eigh(cov)
    V = torch.diag(cov.diagonal().rsqrt())
    assert torch.allclose(
        F.whitening_matrix(cov), torch.linalg.inv(torch.from_numpy(scipy.linalg.sqrtm(cov.numpy())))
    )
    pca = F.whitening_matrix(cov, kind="pca")
    rotated = pca @ vectors.flip(-1)
    assert torch.allclose(rotated, torch.diag(rotated.diagonal()), atol=1e-9)
    assert torch.allclose(pca.norm(dim=-1), values.flip(0).rsqrt())  # the leading component first
    assert (pca.gather(-1, pca.abs().argmax(-1, keepdim=True)) > 0).all()
    cholesky = F.whitening_matrix(cov, kind="cholesky")
    assert torch.equal(cholesky, cholesky.tril())
    assert (cholesky.diagonal() > 0).all()
    P = V @ cov @ V
    assert torch.allclose(F.whitening_matrix(cov, kind="zca_cor"), F.invsqrtm(P) @ V)
    assert torch.allclose(
        F.whitening_matrix(cov, kind="pca_cor"), F.whitening_matrix(P, kind="pca") @ V
    )


@per_kind
def test_gradcheck(kind: str) -> None:
    cov = spd(2, n=3, condition=10.0).requires_grad_()
    f = lambda cov: F.whitening_matrix(cov, kind=kind)
    assert torch.autograd.gradcheck(f, cov)
    assert torch.autograd.gradgradcheck(f, cov)


@per_kind
def test_singular_covariances_give_finite_whitening(kind: str) -> None:
    x = torch.randn(4, 6, 20)
    x[1] = 0
    x[2, 3:] = 0  # constant channels
    x[3] = x[3, :1]  # rank one
    cov = F.covariance(x).requires_grad_()
    W = F.whitening_matrix(cov, kind=kind)
    (grad,) = torch.autograd.grad(W, cov, weights_like(cov))
    assert torch.isfinite(W).all()
    assert torch.isfinite(grad).all()


@pytest.mark.parametrize("method", ["newton_schulz", "pade", "polar_express"])
def test_zca_takes_every_method(method: str) -> None:
    cov = spd(2)
    assert torch.equal(F.whitening_matrix(cov, method=method), F.invsqrtm(cov, method=method))


@per_kind
def test_whitened_features_have_unit_covariance(kind: str) -> None:
    x = spd(condition=30.0, n=4) @ torch.randn(3, 4, 200).double() + 5
    W = F.whitening_matrix(F.covariance(x), kind=kind)
    y = F.whiten(x, x.mean(-1), W)
    assert torch.allclose(F.covariance(y), torch.eye(4).double().expand(3, 4, 4), atol=1e-9)
    assert y.mean(-1).abs().max() < 1e-10
    back = F.color(y, x.mean(-1), torch.linalg.inv(W))
    assert torch.allclose(back, x)


def test_whitening_color_moves_the_statistics() -> None:
    content = torch.randn(2, 4, 300).double()
    style = spd(n=4, condition=30.0) @ torch.randn(2, 4, 200).double() + 3
    y = F.whiten_color(content, style, eps=0.0)
    assert torch.allclose(F.covariance(y), F.covariance(style))
    assert torch.allclose(y.mean(-1), style.mean(-1))
    half = F.whiten_color(content, style, eps=0.0, alpha=0.5)
    assert torch.allclose(half, (y + content) / 2)
    assert torch.equal(F.whiten_color(content, style, alpha=0.0), content)
    assert torch.allclose(F.whiten_color(content, content), content)
    content.requires_grad_()
    style.requires_grad_()
    assert torch.autograd.gradcheck(F.whiten_color, (content[:1, :2, :4], style[:1, :2, :5]))


def test_constant_content_takes_the_mean_of_the_style() -> None:
    style = torch.randn(3, 50)
    y = F.whiten_color(torch.full((3, 20), 0.1), style)
    assert torch.allclose(y, style.mean(-1, keepdim=True).expand(3, 20), atol=1e-4)
