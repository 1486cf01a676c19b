"""What is passed in place of what an argument wants."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from covlayers import functional as F
from tests.signatures import parameters

Wrong = tuple[str, object, tuple[str, ...]]
"""A name, the value, and words of which an error has to use one to say what came."""

DTYPES = (
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
    torch.complex64,
    torch.complex128,
    torch.float8_e5m2,
)
COUNT = (0, -1, 2.5, True, "2", None)
FLAG = (1, 0.0, "yes", None)
ANY_NUMBER = (math.nan, math.inf, -math.inf, "x", True, None, 1j)
AT_LEAST_0 = (-1.0, *ANY_NUMBER)
ABOVE_0 = (0.0, *AT_LEAST_0)
SHARE = (-0.1, 1.5, *ANY_NUMBER)
WORD = ("nonsense", "", 3, None)
BUILDER = (3, "nonsense", None, [1], nn.Identity())
FEATURES = (0, -1, 2.5, True, "2", (), (2, 0), (2, 2.5))

COUNTS = """
    rank iterations doublings degree num_features num_groups num_components num_heads num_frames
    num_classes num_values in_channels reduced_channels attention_channels channels embed_dim
    grid_size patch_size group_size n_components every
"""
FLAGS = """
    center isometric affine track_running_stats channel position spatial_attention
    channel_attention temporal_conv class_token learnable frozen refine
    bias published of_covariance progress
"""


def no_norm(num_features: int, **options: object) -> nn.Module:
    """Takes what a layer takes, and keeps no averages."""
    return nn.Identity()


WRONG: dict[str, tuple[object, ...]] = {
    **dict.fromkeys(COUNTS.split(), COUNT),
    **dict.fromkeys(("n", "TaylorGaps.degree", "PowerIteration.iterations"), COUNT[1:]),
    **dict.fromkeys(
        [f"{kind}Whitening.num_features" for kind in ("ZCA", "PCA", "Cholesky")], FEATURES
    ),
    **dict.fromkeys(FLAGS.split(), FLAG),
    "p": ANY_NUMBER,
    "eps": AT_LEAST_0,
    **dict.fromkeys(("shrinkage", "alpha", "momentum"), SHARE),
    **dict.fromkeys(("mean_weight", "min_gap", "max_slope", "broadening"), ABOVE_0),
    "lower": (0.0, *SHARE),
    "weights": (3, "nonsense", [1.0]),
    **dict.fromkeys(("kind", "vectorize", "level", "fusion", "solver", "side"), WORD),
    "statistics": (("nonsense",), (), ("bw", "bw"), (3,), "nonsense", 3, None),
    "function": ("nonsense", math.nan, True, None, [1]),
    "method": ("nonsense", "Pade", 3, F.Pade, F.Smith(), None),
    "backward": ("nonsense", "Smith", 3, F.Smith, F.Pade(), None),
    "sync": ("nonsense", 3, None),
    "process_group": ("nonsense", 3, False),
    "norm": (3, "nonsense", nn.Identity),
    "pool": (*BUILDER, nn.Linear, nn.Identity),
    "layer": (*BUILDER, nn.LayerNorm, no_norm),
    "convert_batchnorm.group_size": (*COUNT, "nonsense", (2,)),
    "where": (3, "nothing.*", [1]),
    "model": (3, "nonsense", None, torch.ones(2), nn.Linear),
    "loader": (3, None, []),
    "features": (3, "nonsense", "", [1]),
    "example": (3, "nonsense", [1]),
    "inputs": (3, "nonsense", [1]),
    "device": ("nonsense", 2.5),
    "dtype": ("float32", torch.int32, torch.bool, torch.complex64),
}
"""By the name of the parameter, which has one meaning everywhere except where it is dotted."""


def wrong_options(owner: Callable[..., object], *left_out: str) -> Iterator[tuple[str, Wrong]]:
    """For each parameter of a signature that is not left out, its name and what it refuses."""
    for parameter in parameters(owner).values():
        variadic = parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        if variadic or parameter.name in left_out:
            continue
        dotted = f"{owner.__name__}.{parameter.name}"
        # None is a choice where it is the default or the annotation has it
        optional = parameter.default is None or "None" in str(parameter.annotation)
        for value in WRONG[dotted if dotted in WRONG else parameter.name]:
            if not (optional and value is None):
                yield parameter.name, (f"{parameter.name}={value!r}", value, said(value))


def said(value: object) -> tuple[str, ...]:
    """Words for a value: itself, its type, or the members of a sequence."""
    words = repr(value), getattr(value, "__name__", type(value).__name__), type(value).__name__
    members = tuple(repr(member) for member in value) if isinstance(value, tuple) else ()
    nothing = ("[]", "none") if value in ((), []) else ()
    return *words, *members, *nothing


def wrong_tensors(x: Tensor, at_least: int) -> Iterator[Wrong]:
    """Wrong values for a tensor that must have ``at_least`` dimensions."""
    yield "a list", x.tolist(), ("list",)
    yield "an array", x.numpy(), ("ndarray",)
    yield "None", None, ("NoneType", "None")
    yield "a number", 3.0, ("float",)
    yield "a word", "x", ("str",)
    yield "a nested tensor", torch.nested.nested_tensor([x, x]), ("nested",)
    jagged = torch.nested.nested_tensor([x, x], layout=torch.jagged)
    yield "a jagged tensor", jagged, ("nested",)
    yield "a sparse tensor", x.to_sparse(), ("torch.sparse_coo",)
    for dtype in DTYPES:
        yield str(dtype), x.to(dtype), (str(dtype),)
    for dim in range(at_least):
        fewer = x[(0,) * (x.dim() - dim)]
        yield f"{dim} dimensions", fewer, shape_of(fewer)


def misshapen(*bad: Tensor) -> Iterator[Wrong]:
    """Tensors of a wrong shape."""
    for x in bad:
        yield f"shape {tuple(x.shape)}", x, shape_of(x)


def shape_of(x: Tensor) -> tuple[str, ...]:
    """The words for a shape: itself, or the batch of its matrices or vectors."""
    return str(tuple(x.shape)), str(tuple(x.shape[:-2])), str(tuple(x.shape[:-1]))
