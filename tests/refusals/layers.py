"""What layers refuse, when they are built and when they are called in training."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

import covlayers as cl
from tests.built import (
    ATTENTION,
    HEADS,
    MODULES,
    NORMS,
    STYLE,
    TEMPORAL,
    sample,
    unlike_at_first,
)
from tests.refusals.refusal import Refusal
from tests.refusals.wrong_values import (
    Wrong,
    misshapen,
    said,
    wrong_options,
    wrong_tensors,
)

C6: dict[str, object] = {"channels": 6}
IN6: dict[str, object] = {"in_channels": 6}
FEATURES6: dict[str, object] = {"num_features": 6}
BUILT: dict[str, dict[str, object]] = {
    **dict.fromkeys(("DecorrelatedBatchNorm", "IterNorm", "SwitchableWhitening"), FEATURES6),
    "GroupWhitening": FEATURES6 | {"num_groups": 3},
    "PCANorm": FEATURES6 | {"num_components": 2},
    **dict.fromkeys(("CovPool", "MPNCovPool", "ISQRTCovPool", "MTPCovPool", "MPACovPool"), IN6),
    "CrossCovPool": IN6,
    **dict.fromkeys(("CovAttention", "TemporalSpatialAttention", "TemporalChannelAttention"), C6),
    "TemporalConv": C6 | {"num_frames": 4},
    **dict.fromkeys(("AttentiveTemporalCovPool", "TCPCovPool"), IN6 | {"num_frames": 4}),
    "SecondOrderHead": {"embed_dim": 6, "num_classes": 3},
    **{name: {} for name in ("ZCAWhitening", "PCAWhitening", "CholeskyWhitening", "SVPowerNorm")},
    **{name: {} for name in ("WhiteningColoring", "AdaIN", "WhiteningLoss")},
    "GroupWhiteningColoring": {"num_groups": 3},
}
SMITH = "Smith(lower=None, doublings=None)"
# The first does not fit the others; the last word is one that the error has for it.
UNFIT: tuple[tuple[str, dict[str, object], str], ...] = (
    ("DecorrelatedBatchNorm", {"num_groups": 4}, ""),
    ("GroupWhitening", {"num_groups": 4}, ""),
    ("GroupWhitening", {"group_size": 4, "num_groups": None}, ""),
    ("GroupWhitening", {"num_groups": None}, ""),
    *(
        (name, {"group_size": size, "num_groups": groups}, "")
        for name in ("DecorrelatedBatchNorm", "IterNorm", "SwitchableWhitening")
        for size, groups in ((4, None), (2, 3), (2, 1))
    ),
    ("PCANorm", {"num_components": 7}, ""),
    ("CovPool", {"reduced_channels": 7}, ""),
    ("CrossCovPool", {"reduced_channels": 7}, ""),
    ("CrossCovPool", {"reduced_channels": (2, 7)}, ""),
    ("CrossCovPool", {"reduced_channels": (2, 3, 4)}, ""),
    ("CovAttention", {"reduced_channels": 7}, ""),
    ("AttentiveTemporalCovPool", {"attention_channels": 7}, ""),
    ("AttentiveTemporalCovPool", {"reduced_channels": 7}, ""),
    ("PCAWhitening", {"n_components": 7, "num_features": 6}, ""),
    ("SVPowerNorm", {"num_values": 7, "num_features": 6}, ""),
    ("ZCAWhitening", {"num_features": (3, 4, 4), "patch_size": 3}, ""),
    ("SecondOrderHead", {"fusion": "late", "class_token": False}, ""),
    ("CovAttention", {"channel": False, "position": False}, ""),
    ("CovAttention", {"reduced_channels": 1}, ""),
    ("SVPowerNorm", {"num_values": None, "num_features": 3}, ""),
    ("SVPowerNorm", {"num_values": None, "learnable": True}, ""),
    ("DecorrelatedBatchNorm", {"method": "eigh", "kind": "cholesky"}, "Eigh(refine=False)"),
    ("DecorrelatedBatchNorm", {"method": "pade", "kind": "pca"}, "Pade(degree=5)"),
    ("PCANorm", {"method": "pade"}, "Pade(degree=5)"),
    ("PCAWhitening", {"method": "newton_schulz"}, "NewtonSchulz(iterations=5)"),
    ("CovPool", {"method": "pade", "function": "log"}, "Pade(degree=5)"),
    ("CovPool", {"method": "taylor", "function": 0.3}, "Taylor(degree=10)"),
    ("CovPool", {"backward": "smith", "function": "log"}, SMITH),
    ("CovPool", {"method": "eigh", "function": nn.Identity()}, "Eigh(refine=False)"),
    (
        "CovPool",
        {"backward": "smith", "function": nn.Identity()},
        SMITH,
    ),
)


def of_options() -> Iterator[Refusal]:
    """Out of range, of a wrong type, unknown, too many for another."""
    for name, given in BUILT.items():
        kind = getattr(cl, name)
        for option, (what, value, came) in wrong_options(kind):
            yield Refusal(f"{name}({what})", partial(kind, **given | {option: value}), option, came)
    for name, options, word in UNFIT:
        argument, value = next(iter(options.items()))
        call = partial(getattr(cl, name), **BUILT[name] | options)
        yield Refusal(f"{name}({options})", call, argument, (*said(value), *[word] * bool(word)))


def in_training(name: str) -> nn.Module:
    """A module with weights and statistics of its own, the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = unlike_at_first(MODULES[name]()).train()
    module(sample(name))
    return module


def given(
    name: str,
    module: nn.Module,
    argument: str,
    wrongs: Iterable[Wrong],
    call: Callable[..., object] | None = None,
) -> Iterator[Refusal]:
    """A module, or what of it is called, with this argument wrong; it must stay as it is."""
    for what, value, came in wrongs:
        wrong = partial(call or module, **{argument: value})
        yield Refusal(f"{name}({argument}: {what})", wrong, argument, came, module)


def of_inputs() -> Iterator[Refusal]:
    """No tensor, another dtype, too few dimensions or positions, other channels."""
    for name in [name for name in MODULES if name not in STYLE]:
        module, x = in_training(name), sample(name)
        (argument,) = inspect.signature(module.forward).parameters
        at_least = 2 if name in NORMS else 4 if name in ATTENTION | TEMPORAL else 3
        yield from given(name, module, argument, wrong_tensors(x, at_least))
        dim = 2 if name in TEMPORAL | HEADS else 1
        others = (x.index_select(dim, torch.arange(size) % 6) for size in (0, 4, 7))
        yield from given(name, module, argument, misshapen(*others))
        yield from given(name, module, argument, misshapen(*too_few(name, x)))
    one_value = sample("GroupWhitening")[:, :, :1, :1]
    yield from given("six groups of six", cl.GroupWhitening(6, 6), "x", misshapen(one_value))


def too_few(name: str, x: Tensor) -> tuple[Tensor, ...]:
    """Inputs of too few samples, positions, frames or tokens, or of a dimension too many."""
    if name in HEADS:
        return x[:, :1], x[:, :0], x[None]
    if name.startswith(("AttentiveTemporal", "TCP")):
        return x[:, :0], x[:, :1, :, :1, :1], x[..., :0], x[None]
    if name in TEMPORAL:
        return (x[:, :0], *((x[:1, :1, :, :1, :1],) if "Spatial" in name else ()))
    one = x[:, :, :1, :1]
    if name in NORMS:
        batch = (one, x[..., :0]) if name == "SwitchableWhitening" else ()
        return (one[:1], *batch) if name != "GroupWhitening" else ()  # it has two values a group
    return (one, one[:1], x[..., :0], *((x[None],) if name in ATTENTION else ()))
