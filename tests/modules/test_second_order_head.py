"""Second-order heads: what each fusion computes, and what is refused."""

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from covlayers import CovPool, ISQRTCovPool, MPACovPool
from covlayers import functional as F
from covlayers.modules.pooling.build_pool import build_pool
from covlayers.modules.pooling.cross_pooling import CrossCovPool
from covlayers.modules.pooling.second_order_head import FUSIONS, SecondOrderHead

HEADS = {
    **{
        f"SecondOrderHead {fusion}": lambda fusion=fusion, **options: SecondOrderHead(
            6, 5, fusion=fusion, **options
        )
        for fusion in FUSIONS
    },
    "SecondOrderHead reduced": lambda **options: SecondOrderHead(
        6, 5, pool=ISQRTCovPool, fusion="late", reduced_channels=4, vectorize="isometric", **options
    ),
    "SecondOrderHead cross": lambda **options: SecondOrderHead(
        6, 5, pool=CrossCovPool, reduced_channels=4, **options
    ),
    "SecondOrderHead without class token": lambda **options: SecondOrderHead(
        6, 5, fusion="visual_only", class_token=False, **options
    ),
}
each_head = pytest.mark.parametrize("name", HEADS)


def tokens(n: int = 4) -> Tensor:
    return torch.randn(n, 1 + 20, 6) @ torch.randn(6, 6) + torch.arange(6.0)


def rows(linear: nn.Linear, x: Tensor) -> Tensor:
    return x @ linear.weight.T + linear.bias


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_fusion_is_its_formula(fusion: str) -> None:
    head = HEADS[f"SecondOrderHead {fusion}"]().double()
    x = tokens().double()
    t, X = x[:, 0], x[:, 1:].mT
    v = F.triu_vector(F.sqrtm(F.covariance(X, eps=1e-5), method=F.Pade(5)))
    parts = head.fusion
    expected = {
        "sum": lambda: rows(parts.classifier, t + rows(parts.projection, v)),
        "concat": lambda: rows(parts.classifier, torch.cat([t, v], 1)),
        "late": lambda: rows(parts.classifier, t) + rows(parts.visual_classifier, v),
        "visual_only": lambda: rows(parts.classifier, v),
    }
    assert_close(head(x), expected[fusion]())


def test_without_a_class_token_all_are_visual() -> None:
    head = HEADS["SecondOrderHead without class token"]()
    x = tokens()
    assert_close(head(x), rows(head.fusion.classifier, head.pool(x.mT)))


@each_head
def test_the_order_of_the_visual_tokens_does_not_matter(name: str) -> None:
    head = HEADS[name]()
    x = tokens()
    shuffled = torch.cat([x[:, :1], x[:, 1 + torch.randperm(20)]], 1)
    assert_close(head(shuffled), head(x), rtol=1e-3, atol=1e-3)


@each_head
def test_shapes_and_an_empty_batch(name: str) -> None:
    head = HEADS[name]()
    assert head(tokens()).shape == (4, 5)
    assert head(tokens()[:, :3]).shape == (4, 5)
    assert head(tokens(0)).shape == (0, 5)
    assert "6, 5, class_token=" in repr(head)


@each_head
def test_gradient_reaches_tokens_and_parameters(name: str) -> None:
    head = HEADS[name]()
    x = tokens().requires_grad_()
    loss = nn.functional.cross_entropy(head(x), torch.arange(4))
    for grad in torch.autograd.grad(loss, [x, *head.parameters()]):
        assert torch.isfinite(grad).all()
        assert grad.abs().sum() > 0


@each_head
def test_copies(name: str) -> None:
    head = HEADS[name]().eval()
    x = tokens()
    meta = HEADS[name](device="meta", dtype=torch.float64)
    assert all(p.is_meta and p.dtype == torch.float64 for p in meta.parameters())
    loaded = meta.to_empty(device="cpu").float().eval()
    loaded.load_state_dict(head.state_dict())
    for twin in (copy.deepcopy(head), pickle.loads(pickle.dumps(head)), loaded):
        assert_close(twin(x), head(x), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["SecondOrderHead sum", "SecondOrderHead without class token"])
def test_compiles_and_exports(name: str) -> None:
    torch._dynamo.reset()
    head = HEADS[name]().eval()
    x = tokens()
    compiled = torch.compile(head, fullgraph=True, backend="aot_eager")
    assert_close(compiled(x), head(x), rtol=1e-5, atol=1e-5)
    exported = torch.export.export(head, (x,)).module()
    assert_close(exported(x), head(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@each_head
def test_half_modules_and_autocast(name: str, dtype: torch.dtype) -> None:
    head = HEADS[name]().eval()
    x = tokens()
    expected = head(x)
    scale = expected.abs().max()
    for half in (x, x.to(dtype)):
        with torch.autocast("cpu", dtype=dtype):
            actual = head(half)
        assert actual.dtype == dtype
        assert (actual - expected).abs().max() < 0.05 * scale
    actual = head.to(dtype)(x.to(dtype))
    assert actual.dtype == dtype
    assert (actual - expected).abs().max() < 0.05 * scale


class Mean(nn.Module):
    """A pooling of one's own, always in float32."""

    def __init__(self, channels: int, **options) -> None:
        super().__init__()
        self.out_features = channels

    def forward(self, x: Tensor) -> Tensor:
        return x.float().mean(-1)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_pooling_with_a_dtype_of_its_own(fusion: str) -> None:
    head = SecondOrderHead(6, 5, pool=Mean, fusion=fusion, dtype=torch.float16)
    assert head(tokens().half()).dtype == torch.float16
    assert head.double()(tokens().double()).dtype == torch.float64


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"fusion": "early"}, F.InvalidValueError, "fusion must be one of"),
        ({"class_token": False}, F.InvalidValueError, "fusion must .* class_token=False.* Set"),
        ({"num_classes": 0}, F.InvalidValueError, "num_classes must be at least 1"),
        ({"embed_dim": 0}, F.InvalidValueError, "embed_dim must be at least 1"),
        ({"pool": "mpn"}, F.InvalidTypeError, "pool must be a class or a function .* got str"),
        ({"pool": MPACovPool(6)}, F.InvalidTypeError, "pool must be a class .* got MPACovPool"),
        ({"pool": nn.Linear}, F.InvalidTypeError, "pool must take .* got Linear"),
        ({"pool": lambda c, **o: nn.Identity()}, F.InvalidTypeError, "pool must .* out_features"),
        ({"pool": lambda c, **o: None}, F.InvalidTypeError, "pool must build .* got NoneType"),
        ({"pool": lambda c, **o: CovPool()}, F.InvalidValueError, "in_channels"),
        ({"eps": "a"}, F.InvalidTypeError, "eps must be a real number"),
        ({"bogus": 1}, F.InvalidTypeError, r"options \['bogus'\].* unexpected keyword"),
    ],
)
def test_bad_options(options: dict, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        SecondOrderHead(**{"embed_dim": 6, "num_classes": 5} | options)


def test_a_pooling_is_built_from_a_class_or_a_function() -> None:
    for pool in (CovPool, lambda channels, **options: CovPool(channels, **options)):
        module = build_pool(pool, 6, {"reduced_channels": 4}, device="meta", dtype=torch.float64)
        assert module.out_features == 10
        assert all(p.is_meta and p.dtype == torch.float64 for p in module.parameters())
