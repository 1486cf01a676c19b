"""Whitening of data: its meaning, its statistics, and the contract of a module."""

import copy
import io
import pickle
import warnings
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from torch import Tensor
from torch.testing import assert_close

from covlayers import functional as F
from covlayers.functional import InvalidTypeError, InvalidValueError
from covlayers.modules.data._data_whitening import DataWhitening
from covlayers.modules.data.whitening import CholeskyWhitening, PCAWhitening, ZCAWhitening
from tests.counted import Counted

KINDS = [ZCAWhitening, PCAWhitening, CholeskyWhitening]
BUILT: dict[str, Callable[..., DataWhitening]] = {
    **{kind.__name__: kind for kind in KINDS},
    **{
        f"{kind.__name__} patches": lambda *a, kind=kind, **k: kind(*a, patch_size=2, **k)
        for kind in KINDS
    },
    "leading": lambda *a, **k: PCAWhitening(*a, n_components=3, **k),
    "leading patches": lambda *a, **k: PCAWhitening(*a, n_components=3, patch_size=2, **k),
}
FULL = [name for name in BUILT if "leading" not in name]
STATISTICS = ("mean", "covariance", "num_samples")
per_kind = pytest.mark.parametrize("kind", KINDS)
per_module = pytest.mark.parametrize("name", BUILT)


def images(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Images, by default (200, 2, 4, 6), with correlated pixels about a mean."""
    x = torch.randn(*(shape or (200, 2, 4, 6)), dtype=torch.float64)
    return (x + 0.5 * x.roll(1, -1) + 0.7 * x.roll(1, 1) + 2).to(dtype)


def rows(x: Tensor, module: DataWhitening) -> Tensor:
    """The observations of images or of whitened ones, by slicing."""
    p = module.patch_size
    if p is None:
        return x.flatten(1)
    s = 1 if x.shape[1] == module.n_components else p
    patches = [
        x[:, :, i : i + s, j : j + s].flatten(1)
        for i in range(0, x.shape[2], s)
        for j in range(0, x.shape[3], s)
    ]
    return torch.stack(patches, 1).flatten(0, 1)


def state(module: DataWhitening) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in module.state_dict().items()}


def digits() -> Tensor:
    return torch.from_numpy(load_digits().images / 16).unsqueeze(1)


@per_module
def test_fitted_data_become_white(name: str) -> None:
    x = images()
    module = BUILT[name](eps=1e-6).fit(x)
    z = rows(module(x), module)
    K = z.shape[1]
    assert module.num_samples == len(rows(x, module)) == len(z)
    assert_close(F.covariance(z.mT), torch.eye(K), rtol=0, atol=1e-4)
    assert_close(z.mean(0), torch.zeros(K), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", FULL)
def test_eps_and_shrinkage_enter_the_covariance(name: str) -> None:
    x = images(dtype=torch.float64)
    module = BUILT[name](eps=0.1, shrinkage=0.2, dtype=torch.float64).fit(x)
    cov = torch.cov(rows(x, module).mT, correction=0)
    assert_close(module.covariance, cov)
    D = len(cov)
    expected = 0.8 * cov + (0.2 * cov.trace() / D + 0.1) * torch.eye(D).double()
    W = module.whitening_matrix
    assert_close(W @ expected @ W.mT, torch.eye(D).double())


@per_kind
def test_against_numpy_scipy_and_sklearn(kind: type[DataWhitening]) -> None:
    x = images(dtype=torch.float64).flatten(1)
    module = kind(eps=0.0, dtype=torch.float64).fit(x)
    y, a = module(x).numpy(), x.numpy()
    cov = np.cov(a, rowvar=False, bias=True)
    if kind is PCAWhitening:
        expected = PCA(whiten=True).fit_transform(a) * np.sqrt(len(a) / (len(a) - 1))
        np.testing.assert_allclose(np.abs(y), np.abs(expected), atol=1e-8)
        return
    W = {
        ZCAWhitening: lambda: np.linalg.inv(scipy.linalg.sqrtm(cov)),
        CholeskyWhitening: lambda: np.linalg.inv(np.linalg.cholesky(cov)),
    }[kind]()
    np.testing.assert_allclose(y, (a - a.mean(0)) @ W.T, atol=1e-8)


@pytest.mark.parametrize("name", FULL)
def test_the_inverse_gives_the_data_back(name: str) -> None:
    x = images()
    module = BUILT[name](x.shape[1:] if "patches" not in name else None).fit(x)
    y = module(x)
    assert y.shape == x.shape
    assert_close(module.inverse(y), x, rtol=1e-4, atol=1e-4)
    other = images(3, 2, 8, 2) if "patches" in name else images(3, 2, 4, 6)
    assert_close(module.inverse(module(other)), other, rtol=1e-4, atol=1e-4)


def test_leading_components_reconstruct_as_well_as_those_of_sklearn() -> None:
    x = digits()
    module = PCAWhitening(n_components=10, eps=0.0, dtype=torch.float64).fit(x)
    pca = PCA(10, whiten=True).fit(x.flatten(1).numpy())
    expected = pca.inverse_transform(pca.transform(x.flatten(1).numpy()))
    back = module.inverse(module(x))
    assert back.shape == x.shape
    assert_close(back.flatten(1), torch.from_numpy(expected))


@per_kind
def test_real_digits(kind: type[DataWhitening]) -> None:
    x = digits().float()
    module = kind((1, 8, 8), eps=1e-3).fit(x)
    y = module(x)
    cov = module.covariance
    expected = module.whitening_matrix @ cov @ module.whitening_matrix.mT
    assert_close(F.covariance(y.flatten(1).mT), expected, rtol=0, atol=1e-4)
    white = F.eigh(F.covariance(y.flatten(1).mT))[0]
    assert (white > 0.9).sum() == (F.eigh(cov)[0] > 9e-3).sum() > 30  # variance against eps
    assert_close(module.inverse(y), x, rtol=0, atol=1e-4)


def test_shapes_of_leading_components() -> None:
    x = images()
    flat = PCAWhitening(n_components=3)
    assert flat.fit(x)(x).shape == (200, 3)
    assert flat.num_features == (2, 4, 6)
    assert flat.inverse(flat(x)).shape == x.shape
    known = PCAWhitening(48, n_components=3).fit(x)
    assert known.inverse(known(x)).shape == (200, 48)
    patches = PCAWhitening(n_components=3, patch_size=2).fit(x)
    assert patches(x).shape == (200, 3, 2, 3)
    assert patches.inverse(patches(x)).shape == x.shape
    assert_close(patches(x)[5, :, 1, 2], patches(x[5:6, :, 2:4, 4:6]).flatten())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("split", [[200], [100, 100], [1, 2, 150, 47], [1] * 200])
def test_any_split_gives_the_statistics_of_one_fit(split: list[int], dtype: torch.dtype) -> None:
    x = 1e3 + torch.randn(200, 8, dtype=dtype) @ torch.randn(8, 8, dtype=dtype)
    parts = ZCAWhitening(dtype=dtype)
    for batch in x.split(split):
        assert parts.partial_fit(batch) is parts
    whole = ZCAWhitening(8, dtype=dtype).fit(images(200, 2, 4).to(dtype)).fit(x)
    exact = torch.cov(x.double().mT, correction=0)
    # float32 holds a mean of 1000 to 3e-5, and what is lost of it enters the next batch's step
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    for module in (parts, whole):
        assert module.num_samples == 200
        assert_close(module.mean.double(), x.double().mean(0), rtol=tolerance / 10, atol=0)
        error = torch.linalg.norm(module.covariance.double() - exact) / torch.linalg.norm(exact)
        assert error < tolerance
    assert_close(parts(x), whole(x), rtol=1e-3, atol=1e-3)


BAD = {
    "nan": lambda x: x.index_fill(0, torch.tensor([3]), torch.nan),
    "inf": lambda x: x.index_fill(0, torch.tensor([3]), torch.inf),
    "overflow": lambda x: x * 1e30,
    "features": lambda x: torch.cat([x, x], 1),
    "empty": lambda x: x[:0],
    "dimensions": lambda x: x[0, 0, 0],
}


@per_module
def test_bad_data_leave_the_statistics(name: str, counted: Counted) -> None:
    x = images()
    fresh, fitted = BUILT[name](), BUILT[name]().fit(x)
    for module, bad in product((fresh, fitted), BAD):
        if module is fresh and bad == "features":
            continue
        before, repr_before = state(module), repr(module)
        with counted("fresh" if module is fresh else "fitted", bad):
            for method in (module.fit, module.partial_fit):
                with pytest.raises(InvalidValueError, match="x must"):
                    method(BAD[bad](x))
            with pytest.raises(InvalidTypeError, match="x must"):
                module.fit(x.long())
            assert_close(state(module), before, rtol=0, atol=0)
            assert repr(module) == repr_before
    assert torch.isfinite(fitted(x)).all()


@per_module
def test_errors_name_the_remedy(name: str) -> None:
    x = images()
    module = BUILT[name]()
    for use in (module, module.inverse):
        with pytest.raises(InvalidValueError, match="call fit"):
            use(x)
    module.fit(x)
    with pytest.raises(InvalidValueError, match="num_features"):
        module(x[:, :1])
    with pytest.raises(InvalidValueError, match="y must"):
        module.inverse(module(x)[:, :1])
    with pytest.raises(InvalidTypeError, match="x must"):
        module(x.long())
    if module.patch_size:
        for wrong in (x[..., :3], x[0], x.flatten(2)):
            with pytest.raises(InvalidValueError, match="divisible by 2"):
                module(wrong)
    else:
        with pytest.raises(InvalidValueError, match="at least 2 observations"):
            module.fit(x[:1])


def test_more_components_than_the_data_have_features() -> None:
    module = PCAWhitening(n_components=9)
    with pytest.raises(InvalidValueError, match="n_components must be at most"):
        module.fit(torch.randn(20, 8))
    assert module.num_features is None
    assert module.num_samples == 0
    assert module.fit(torch.randn(20, 9)).num_features == 9


@per_kind
def test_few_samples_warn_once_and_stay_finite(kind: type[DataWhitening]) -> None:
    x = torch.randn(5, 8)
    module = kind()
    with pytest.warns(UserWarning, match=r"5 observations.*eps") as caught:
        module.fit(x)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.isfinite(module.fit(x)(x)).all()
        assert_close(module.inverse(module(x)), x, rtol=1e-3, atol=1e-3)
        kind(shrinkage=0.1).fit(x)
        PCAWhitening(n_components=4).fit(x)
    with pytest.warns(UserWarning, match="1 observations"):
        assert torch.isfinite(kind().partial_fit(x[:1])(x)).all()


@per_module
def test_gradient_flows_to_the_input_alone(name: str) -> None:
    x = images(dtype=torch.float64).requires_grad_()
    module = BUILT[name](dtype=torch.float64).fit(x)
    assert not any(buffer.requires_grad for buffer in module.buffers())
    few = x.detach()[:2].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: module.inverse(module(x)), few)
    y = module(few)
    module.fit(3 * images(dtype=torch.float64))  # between forward and backward
    y.sum().backward()


@per_module
def test_what_is_derived_follows_the_statistics(name: str) -> None:
    x = images()
    module = BUILT[name]().fit(x)
    expected = BUILT[name]().fit(3 * x)(x)
    module(x)
    for change in (
        lambda m: m.fit(3 * x),
        lambda m: m.load_state_dict(BUILT[name]().fit(3 * x).state_dict()),
        lambda m: (m.mean.mul_(3), m.covariance.mul_(9)),
        lambda m: m._buffers.update({k: v.clone() for k, v in state(tripled).items()}),
    ):
        tripled = BUILT[name]().fit(3 * x)
        changed = copy.deepcopy(module)
        assert_close(changed(x), module(x))
        change(changed)
        assert_close(changed(x), expected, rtol=1e-3, atol=1e-3)


@per_module
def test_copies_and_state(name: str) -> None:
    x = images()
    module = BUILT[name]().fit(x)
    expected, back = module(x), module.inverse(module(x))
    assert tuple(module.state_dict()) == STATISTICS
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert_close(twin(x), expected)
        assert repr(twin) == repr(module)
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    checkpoint = torch.load(file, weights_only=True)
    with torch.device("meta"):
        hollow = BUILT[name]()
    for assign in (False, True):
        for other in (BUILT[name](), BUILT[name](len(module.mean)), copy.deepcopy(hollow)):
            if assign or not other.mean.is_meta:
                other.load_state_dict(checkpoint, assign=assign)
                assert_close(other(x), expected)
                assert_close(other.inverse(expected).flatten(1), back.flatten(1))
    other.load_state_dict(BUILT[name](len(module.mean)).state_dict())
    with pytest.raises(InvalidValueError, match="call fit"):
        other(x)
    with pytest.raises(RuntimeError, match="size mismatch"):
        BUILT[name](4).load_state_dict(checkpoint)


@per_module
def test_moves(name: str) -> None:
    x = images()
    module = BUILT[name]().fit(x)
    double = copy.deepcopy(module).double()
    assert {b.dtype for b in double.buffers()} == {torch.float64, torch.int64}
    D = len(double.mean)
    W, C = double.whitening_matrix, double.coloring_matrix
    assert_close(W @ C, torch.eye(len(W)).double(), rtol=0, atol=1e-12)
    assert W.shape == (len(W), D)
    meta = BUILT[name](D, device="meta", dtype=torch.float64)
    assert {b.device.type for b in meta.buffers()} == {"meta"}
    meta.to_empty(device="cpu").load_state_dict(double.state_dict())
    assert_close(meta(x.double()), double(x.double()))
    module.to("meta").to_empty(device="cpu").load_state_dict(double.state_dict())
    assert_close(module(x), double(x), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@per_module
def test_half_inputs_compute_in_float32(name: str, dtype: torch.dtype) -> None:
    x = images()
    module = BUILT[name]().fit(x.to(dtype))
    assert module.mean.dtype == torch.float32
    assert_close(module.mean, BUILT[name]().fit(x.to(dtype).float()).mean)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = module(x.to(dtype))
        z = module(x)
    assert y.dtype == dtype
    assert_close(y, module(x.to(dtype).float()).to(dtype))
    assert_close(z, module(x))
    assert torch.isfinite(module.to(dtype)(x.to(dtype))).all()


@per_module
def test_memory_formats_and_inference_mode(name: str) -> None:
    x = images()
    y = x.to(memory_format=torch.channels_last)
    module = BUILT[name]().fit(y)
    assert_close(module.mean, BUILT[name]().fit(x).mean)
    assert_close(module(y), module(x))
    assert module(x).is_contiguous()
    if module(x).dim() == 4:
        assert module(y).is_contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        module.fit(x)
        expected = module(x)
        moved = copy.deepcopy(module).double()
        assert_close(moved(x), expected, rtol=1e-3, atol=1e-3)
    assert_close(moved.partial_fit(x)(x), expected, rtol=1e-3, atol=1e-3)
    assert_close(module(x.requires_grad_()), expected)


@pytest.mark.parametrize("name", [n for n in BUILT if "patches" not in n or "leading" in n])
def test_compiles_and_exports_once_fitted(name: str, whole_graph: Callable[..., Any]) -> None:
    x = images()
    module = BUILT[name]()
    compiled = whole_graph(module)
    with pytest.raises(Exception, match="must be fitted"):
        compiled(x)
    expected = BUILT[name]().fit(x)(x)
    assert_close(whole_graph(module.partial_fit(x))(x), expected)
    module.fit(x)
    assert_close(compiled(x), expected)
    batch = torch.export.Dim("batch")
    program = torch.export.export(module, (x,), dynamic_shapes=({0: batch},))
    assert_close(program.module()(x[:7]), expected[:7])
    module.fit(3 * x)
    assert_close(compiled(x), module(x))


@per_module
def test_the_repr_shows_the_options(name: str) -> None:
    module = BUILT[name](eps=0.5, shrinkage=0.25)
    shown = repr(module)
    assert f"None, eps=0.5, shrinkage=0.25, patch_size={module.patch_size}" in shown
    assert ("method=auto" in shown) == (not isinstance(module, CholeskyWhitening))
    assert (f"n_components={module.n_components}" in shown) == isinstance(module, PCAWhitening)
