"""What operations on whole models refuse; the model stays as it was."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import nn

import covlayers as cl
from tests.refusals.refusal import Refusal
from tests.refusals.wrong_values import wrong_options

OPERATIONS: dict[str, tuple[str, dict[str, object]]] = {
    "convert_batchnorm": ("plain", {}),
    "replace_head": ("plain", {"pool": cl.CovPool, "num_classes": 3}),
    "convert_sync": ("ours", {}),
    "fold": ("ours", {}),
    "freeze_stats": ("ours", {}),
    "recalibrate": ("ours", {"loader": [torch.ones(4, 3, 6, 6)]}),
    "ConditioningMonitor": ("ours", {}),
}


def model(kind: str) -> nn.Module:
    """A small classifier of torch's layers alone, or with one of ours, that has seen a batch."""
    norm = nn.BatchNorm2d(8) if kind == "plain" else cl.DecorrelatedBatchNorm(8, 2)
    layers = OrderedDict(conv=nn.Conv2d(3, 8, 3), norm=norm, avgpool=nn.AdaptiveAvgPool2d(1))
    built = nn.Sequential(layers | OrderedDict(flat=nn.Flatten(), fc=nn.Linear(8, 5)))
    built(torch.arange(4 * 3 * 36.0).sin().view(4, 3, 6, 6))
    return built


def of_arguments() -> Iterator[Refusal]:
    """Arguments of a wrong type, out of range, unknown."""
    for name, (kind, given) in OPERATIONS.items():
        operation = getattr(cl, name)
        for option, (what, value, came) in wrong_options(operation):
            whole = model(kind)
            call = partial(operation, **{"model": whole, **given, option: value})
            yield Refusal(f"{name}({what})", call, option, came, whole)


def of_models() -> Iterator[Refusal]:
    """Arguments of a right type, for another model."""
    refused: dict[str, tuple[str, Callable[[nn.Module], object], str, str]] = {
        "groups twice": (
            "plain",
            partial(cl.convert_batchnorm, group_size=2, num_groups=2),
            "group_size",
            "2",
        ),
        "groups of three": (
            "plain",
            partial(cl.convert_batchnorm, group_size=3),
            "group_size",
            "3",
        ),
        "an unknown kind": ("plain", partial(cl.convert_batchnorm, kind="x"), "kind", "'x'"),
        "an unknown option": (
            "plain",
            partial(cl.convert_batchnorm, kinds=1),
            "kinds",
            "DecorrelatedBatchNorm",
        ),
        "nothing to convert": ("ours", cl.convert_batchnorm, "where", "None"),
        "an option of no pooling": (
            "plain",
            partial(cl.replace_head, pool=cl.CovPool, num_classes=3, epsilon=1),
            "epsilon",
            "CovPool",
        ),
        "eps of the pooling": (
            "plain",
            partial(cl.replace_head, pool=cl.CovPool, num_classes=3, eps=-1.0),
            "eps",
            "-1.0",
        ),
        "an example of another shape": (
            "plain",
            partial(cl.replace_head, pool=cl.CovPool, num_classes=3, example=torch.ones(2, 5)),
            "example",
            "(2, 5)",
        ),
        "features that are no maps": (
            "plain",
            partial(cl.replace_head, pool=cl.CovPool, num_classes=3, features="flat"),
            "features",
            "'flat'",
        ),
        "batches without the key": (
            "ours",
            partial(cl.recalibrate, loader=[{"x": torch.ones(4, 3, 6, 6)}], inputs="y"),
            "inputs",
            "'y'",
        ),
        "dicts without a key": (
            "ours",
            partial(cl.recalibrate, loader=[{"x": torch.ones(4, 3, 6, 6)}]),
            "inputs",
            "['x']",
        ),
        "fusion without a class token": (
            "plain",
            partial(cl.replace_head, pool=cl.CovPool, num_classes=3, fusion="late"),
            "fusion",
            "'late'",
        ),
    }
    for name, (kind, operation, argument, came) in refused.items():
        whole = model(kind)
        yield Refusal(name, partial(operation, whole), argument, (came,), whole)
    bare = nn.Linear(2, 2)
    yield Refusal(
        "no head", partial(cl.replace_head, bare, cl.CovPool, 3), "model", ("Linear",), bare
    )
    batches = cl.IterNorm(4, track_running_stats=False)
    yield Refusal("no averages", partial(cl.fold, batches), "track_running_stats", ("''",), batches)
    alone = cl.IterNorm(3, sync=True)
    yield Refusal(
        "no process group", partial(alone, torch.ones(2, 3, 4)), "sync", ("sync=True",), alone
    )
