"""Normalisation by the batch covariance: what it computes, remembers and keeps."""

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from covlayers import (
    DecorrelatedBatchNorm,
    GroupWhitening,
    IterNorm,
    PCANorm,
    SwitchableWhitening,
    ZCAWhitening,
)
from covlayers import functional as F
from tests.built import BATCH_NORMS, KINDS, features

SURROGATES = {"DecorrelatedBatchNorm published", "PCANorm power iteration"}
MOMENTA = [0.1, 1.0, None]
each_batch_norm = pytest.mark.parametrize("name", BATCH_NORMS)
each_kind = pytest.mark.parametrize("kind", KINDS)


def group_covariances(y: Tensor, num_groups: int) -> Tensor:
    """The covariance of each group of channels by numpy, in float64."""
    rows = y.detach().double().transpose(0, 1).flatten(1).chunk(num_groups)
    return torch.stack([torch.from_numpy(np.cov(group.numpy(), ddof=0)) for group in rows])


@pytest.mark.parametrize("num_groups", [1, 2, 3])
@each_kind
def test_training_output_is_white(kind: str, num_groups: int) -> None:
    eps = 1e-2
    norm = DecorrelatedBatchNorm(6, num_groups, eps, affine=False, kind=kind)
    x = features(32)
    y = norm(x)
    # W (cov + eps) Wᵀ = I, so the output has the covariance I - eps W Wᵀ
    cov = group_covariances(x, num_groups) + eps * torch.eye(6 // num_groups)
    W = F.whitening_matrix(cov, kind=kind)
    expected = torch.eye(6 // num_groups) - eps * W @ W.mT
    # The sign of a component is a convention, and a tie between its entries leaves it to rounding.
    assert_close(group_covariances(y, num_groups).abs(), expected.abs(), rtol=0, atol=1e-4)
    assert_close(y.mean((0, 2, 3)), torch.zeros(6), rtol=0, atol=1e-5)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("momentum", MOMENTA)
@pytest.mark.parametrize("shape", [(8, 6), (8, 6, 5), (4, 6, 5, 4), (2, 6, 2, 3, 4)])
def test_as_many_groups_as_channels_are_batch_norm(shape, momentum, affine: bool) -> None:
    kinds = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
    peer = kinds[len(shape)](6, momentum=momentum, affine=affine)
    ours = DecorrelatedBatchNorm(6, 6, peer.eps, momentum, affine)
    models = [nn.Sequential(nn.Identity(), norm) for norm in (peer, ours)]
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.1) for m in models if affine]
    for step in range(5):
        generator = torch.Generator().manual_seed(step)
        x = 3 + 2 * torch.randn(shape, generator=generator)
        weights = torch.randn(shape, generator=generator)
        inputs = [x.clone().requires_grad_() for _ in models]
        outputs = [model(one) for model, one in zip(models, inputs, strict=True)]
        for y in outputs:
            (y * weights).sum().backward()
        assert_close(outputs[1], outputs[0], rtol=1e-5, atol=1e-5)
        assert_close(inputs[1].grad, inputs[0].grad, rtol=1e-5, atol=1e-5)
        for p, q in zip(ours.parameters(), peer.parameters(), strict=True):
            assert_close(p.grad, q.grad, rtol=1e-5, atol=1e-5)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    assert_close(ours.running_mean, peer.running_mean, rtol=1e-5, atol=1e-5)
    assert_close(ours.running_cov.flatten(), peer.running_var, rtol=1e-5, atol=1e-5)
    assert ours.num_batches_tracked == peer.num_batches_tracked == 5
    assert_close(ours.eval()(x), peer.eval()(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", sorted(BATCH_NORMS.keys() - SURROGATES))
def test_gradient_of_the_batch_statistics(name: str) -> None:
    norm = BATCH_NORMS[name](dtype=torch.float64)
    for parameter in norm.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    names, parameters = zip(*norm.named_parameters(), strict=True)

    def function(x: Tensor, *values: Tensor) -> Tensor:
        given = dict(zip(names, values, strict=True))
        return torch.func.functional_call(norm, given, (x,))

    x = features(2)[..., :2].double().requires_grad_()
    assert torch.autograd.gradcheck(function, (x, *parameters), fast_mode=True)


def test_running_averages_are_of_the_unbiased_moments() -> None:
    norm = DecorrelatedBatchNorm(6, 2, momentum=0.25)
    x = features()
    norm(x)
    rows = x.transpose(0, 1).flatten(1)
    assert_close(norm.running_mean, 0.25 * rows.mean(1))
    cov = torch.stack([torch.from_numpy(np.cov(group.numpy())).float() for group in rows.chunk(2)])
    assert_close(norm.running_cov, 0.75 * torch.eye(3) + 0.25 * cov)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_cumulative_average_is_plain(dtype: torch.dtype) -> None:
    norm = DecorrelatedBatchNorm(6, momentum=None, dtype=dtype)
    batches = [features(seed=seed).to(dtype) for seed in range(3)]
    for x in batches:
        norm(x)
    means = torch.stack([x.double().mean((0, 2, 3)) for x in batches])
    tolerance = 8 * torch.finfo(dtype).eps
    assert_close(norm.running_mean.double(), means.mean(0), rtol=tolerance, atol=tolerance)
    norm.reset_running_stats()
    assert norm.num_batches_tracked == 0
    assert torch.equal(norm.running_cov, torch.eye(6, dtype=dtype)[None])


@each_batch_norm
def test_without_running_averages_evaluation_is_training(name: str) -> None:
    norm = BATCH_NORMS[name](track_running_stats=False)
    assert not list(norm.buffers())
    x = features()
    assert_close(norm.eval()(x), norm.train()(x))


@each_batch_norm
def test_averages_that_are_told_to_stay(name: str) -> None:
    """As in torch, the flag that is set later says whether they move, not whether they count."""
    norm, x = BATCH_NORMS[name](), features()
    norm(x)
    before, y = copy.deepcopy(norm.state_dict()), norm.eval()(x)
    norm.track_running_stats = False
    norm.train()(3 * x)
    assert_close(norm.state_dict(), before, rtol=0, atol=0)
    assert_close(norm.eval()(x), y, rtol=0, atol=0)
    norm.track_running_stats = True
    norm.train()(3 * x)
    assert norm.num_batches_tracked == 2
    without = BATCH_NORMS[name](track_running_stats=False)
    without.track_running_stats = True
    without(x)
    without.reset_parameters()
    assert_close(without.eval()(x), without.train()(x))


@pytest.mark.parametrize("name", sorted(BATCH_NORMS.keys() - {"SwitchableWhitening"}))
def test_channels_of_vectors_may_lie_apart(name: str) -> None:
    x = torch.randn(6, 16).mT
    assert_close(BATCH_NORMS[name]()(x), BATCH_NORMS[name]()(x.contiguous()))


@each_batch_norm
def test_frozen_training_is_evaluation(name: str) -> None:
    norm = BATCH_NORMS[name]()
    norm(features(seed=1))
    before = copy.deepcopy(norm.state_dict())
    norm.frozen = True
    x = features()
    y = norm(x)
    assert_close(norm.state_dict(), before, rtol=0, atol=0)
    assert_close(y, norm.eval()(x))


@each_batch_norm
def test_evaluation_follows_every_change_of_the_running_covariance(name: str) -> None:
    norm = BATCH_NORMS[name]()
    x = features()
    scale = torch.diag(torch.arange(1.0, 7)).view(1, 6, 6)
    blocks = scale if norm.running_cov.shape[0] == 1 else torch.stack([scale[0, :3, :3]] * 2)

    def in_place() -> None:
        with torch.no_grad():
            norm.running_cov.mul_(blocks)

    def replaced() -> None:
        norm.running_cov = norm.running_cov + blocks

    def by_training() -> None:
        norm.train()(3 * x)
        norm.eval()

    def by_loading() -> None:
        state = {key: value.clone() for key, value in norm.state_dict().items()}
        norm.load_state_dict(state | {"running_cov": 2 * blocks})

    def under_inference() -> None:
        with torch.inference_mode():
            norm.running_cov.add_(blocks)

    norm.eval()
    for change in (in_place, replaced, by_training, by_loading, under_inference):
        with torch.inference_mode():
            norm(x)
        change()
        fresh = BATCH_NORMS[name]().eval()
        fresh.load_state_dict(norm.state_dict())
        assert_close(norm(x), fresh(x), rtol=0, atol=0)
        norm(x.requires_grad_()).sum().backward()
        x = x.detach()


@each_batch_norm
@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("last", [True, False])
def test_checkpointing_counts_a_batch_once(name: str, reentrant: bool, last: bool) -> None:
    plain, checkpointed = BATCH_NORMS[name](), BATCH_NORMS[name]()
    x = features().requires_grad_()
    plain(x).sum().backward()
    # A recomputation stops once it has what is missing: a layer at the end is not run again.
    block = checkpointed if last else nn.Sequential(checkpointed, nn.Tanh())
    checkpoint(block, x, use_reentrant=reentrant).sum().backward()
    for key, buffer in plain.named_buffers():
        assert torch.equal(checkpointed.get_buffer(key), buffer), key


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_the_backward_pass_keeps_little_but_the_input(kind: str, affine: bool) -> None:
    norm = DecorrelatedBatchNorm(64, affine=affine, kind=kind)
    x = torch.randn(64, 64, 32, 32, requires_grad=True)
    kept = []
    with saved_tensors_hooks(lambda t: kept.append(t.nbytes) or t, lambda t: t):
        norm(x)
    assert sum(kept) <= 1.1 * x.nbytes


@each_kind
def test_scarce_samples_warn_once_and_stay_finite(kind: str) -> None:
    norm = DecorrelatedBatchNorm(8, kind=kind)
    x = torch.randn(5, 8, requires_grad=True)
    with pytest.warns(UserWarning, match="num_groups, a shrinkage, a larger eps"):
        norm(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        norm(x).sum().backward()
    assert torch.isfinite(x.grad).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DecorrelatedBatchNorm(8, kind=kind, shrinkage=0.5)(x)
        DecorrelatedBatchNorm(8, 8, kind=kind)(x)


def test_shrinkage_acts_in_training_and_evaluation() -> None:
    norm = DecorrelatedBatchNorm(6, eps=0, momentum=1.0, affine=False, shrinkage=1.0)
    x = features(64)
    variance = x.transpose(0, 1).flatten(1).var(1, correction=0).mean()
    centred = x - x.mean((0, 2, 3), keepdim=True)
    assert_close(norm(x), centred / variance.sqrt(), rtol=1e-4, atol=1e-4)
    assert_close(norm.eval()(x), centred / variance.sqrt(), rtol=1e-3, atol=1e-3)


def test_iter_norm_is_its_papers_formula() -> None:
    norm = IterNorm(6, eps=1e-5, affine=False)
    x = features().double()
    rows = x.transpose(0, 1).flatten(1)
    centred = rows - rows.mean(1, keepdim=True)
    cov = centred @ centred.mT / rows.shape[1] + 1e-5 * torch.eye(6).double()
    normed, P = cov / cov.trace(), torch.eye(6).double()
    for _ in range(5):
        P = (3 * P - P @ P @ P @ normed) / 2
    expected = P @ centred / cov.trace().sqrt()
    assert_close(norm.double()(x).transpose(0, 1).flatten(1), expected)


@pytest.mark.parametrize("training", [True, False])
def test_pca_norm_keeps_the_leading_components(training: bool) -> None:
    norm = PCANorm(6, 2, eps=0, momentum=1.0, affine=False, dtype=torch.float64)
    x = features(64).double()
    norm(x)
    y = norm.train(training)(x)
    rows = x.transpose(0, 1).flatten(1)
    standard = (rows - rows.mean(1, keepdim=True)) / rows.std(1, correction=int(not training))[
        :, None
    ]
    U = torch.linalg.svd(standard, full_matrices=False).U[:, :2]
    assert_close(y.transpose(0, 1).flatten(1), U @ U.mT @ standard)


def test_group_whitening_is_its_papers_formula() -> None:
    norm = GroupWhitening(6, 3, eps=1e-3, affine=False).double()
    x = features(2).double()
    y = norm(x)
    for sample, out in zip(x, y, strict=True):
        rows = sample.reshape(3, -1)
        centred = rows - rows.mean(1, keepdim=True)
        values, vectors = torch.linalg.eigh(
            centred @ centred.mT / rows.shape[1] + 1e-3 * torch.eye(3)
        )
        expected = vectors @ torch.diag(values**-0.5) @ vectors.mT @ centred
        assert_close(out.reshape(3, -1), expected)
    assert_close(norm(x[:1]), y[:1])


@pytest.mark.parametrize(
    ("statistics", "peer"),
    [
        ("bn", lambda x: nn.functional.batch_norm(x, None, None, training=True)),
        ("in", nn.functional.instance_norm),
        ("ln", lambda x: nn.functional.group_norm(x, 1)),
        ("bw", DecorrelatedBatchNorm(6, 2, 1e-5, affine=False)),
        ("iw", lambda x: torch.cat([DecorrelatedBatchNorm(6, 2, 1e-5)(one[None]) for one in x])),
    ],
)
def test_switchable_whitening_of_one_kind_is_that_kind(statistics: str, peer) -> None:
    norm = SwitchableWhitening(6, 2, affine=False, statistics=[statistics])
    x = features()
    assert_close(norm(x), peer(x), rtol=1e-4, atol=1e-4)


def test_switchable_whitening_mixes_moments() -> None:
    norm = SwitchableWhitening(6, 1, 1e-5, affine=False, statistics=("bw", "in")).double()
    with torch.no_grad():
        norm.mean_logits.copy_(torch.tensor([0.0, 1.0]))
        norm.cov_logits.copy_(torch.tensor([2.0, 0.0]))
    x = features().double()
    (w, v), (a, b) = norm.mean_logits.softmax(0), norm.cov_logits.softmax(0)
    batch = x.transpose(0, 1).flatten(1)
    for sample, out in zip(x, norm(x), strict=True):
        rows = sample.flatten(1)
        mean = w * batch.mean(1) + v * rows.mean(1)
        cov = a * torch.cov(batch, correction=0) + b * torch.diag(rows.var(1, correction=0))
        values, vectors = torch.linalg.eigh(cov + 1e-5 * torch.eye(6))
        expected = vectors @ torch.diag(values**-0.5) @ vectors.mT @ (rows - mean[:, None])
        assert_close(out.flatten(1), expected)


def test_sync_needs_a_process_group() -> None:
    norm = DecorrelatedBatchNorm(6, sync=True)
    with pytest.raises(F.UnsupportedError, match="init_process_group"):
        norm(features())
    with pytest.raises(F.InvalidTypeError, match="sync must be"):
        DecorrelatedBatchNorm(6, sync=3)


@pytest.mark.parametrize("training", [True, False])
@each_batch_norm
def test_a_large_mean_costs_no_more_than_its_rounding(name: str, training: bool) -> None:
    norm = BATCH_NORMS[name](momentum=1.0)
    x = (features(64) + 1e3).round(decimals=2)
    norm(x)
    exact = copy.deepcopy(norm).double().train(training)
    y = norm.train(training)(x)
    # A unit in the last place of 1e3 is 6e-5 of a deviation, and Padé multiplies it by four.
    assert_close(y.double(), exact(x.double()), rtol=0, atol=5e-4)


@each_batch_norm
@pytest.mark.parametrize("shape", [(64, 6, 2), (8, 6, 2, 2), (32, 6, 14, 14), (4, 6, 64, 64)])
def test_a_large_mean_costs_one_rounding(name: str, shape: tuple[int, ...]) -> None:
    """At 1000 deviations float32 rounds the mean by 3e-5 of one, whatever the memory format."""
    x = torch.randn(shape) + 1000
    formats = [x] if x.dim() < 4 else [x, x.contiguous(memory_format=torch.channels_last)]
    for one in formats:
        y = BATCH_NORMS[name]()(one)
        expected = BATCH_NORMS[name]().double()(x.double())
        assert (y - expected).abs().max() < 1.5e-4  # measured 1e-4; by a sum in float32 4e-4


@pytest.mark.parametrize("option", ["eps", "shrinkage"])
def test_an_option_that_is_set_later_counts(option: str) -> None:
    x = features()
    norm = DecorrelatedBatchNorm(6, 2)
    norm(x)
    norm.eval()(x)  # so that a stale matrix would show
    other = DecorrelatedBatchNorm(6, 2, **{option: 0.5}).eval()
    other.load_state_dict(norm.state_dict())
    setattr(norm, option, 0.5)
    assert_close(norm(x), other(x), rtol=0, atol=0)
    rows, data = x[..., 0, 0], ZCAWhitening().fit(x[..., 0, 0])
    setattr(data, option, 0.5)
    expected = ZCAWhitening(**{option: 0.5}).fit(rows)(rows)
    assert_close(data(rows), expected, rtol=0, atol=0)
