"""What an observation is: a sample, flattened, or a patch of an image."""

import math
from collections.abc import Sequence

from einops import rearrange
from torch import Tensor

from covlayers.functional._base.checks import check_count, check_divides
from covlayers.functional._base.errors import InvalidValueError
from covlayers.functional._base.tensors import check_tensor

Features = int | tuple[int, ...]
"""How many features an observation has, or the shape that they come in."""


def chosen_features(
    num_features: int | Sequence[int] | None, patch_size: int | None
) -> Features | None:
    """``num_features`` as a module was built with it, checked."""
    if patch_size is not None:
        check_count("patch_size", patch_size)
    if not isinstance(num_features, Sequence):
        if num_features is not None:
            check_count("num_features", num_features)
            if patch_size is not None:
                check_divides("patch_size ** 2", patch_size**2, "num_features", num_features)
        return num_features
    shape = tuple(num_features)
    if patch_size is not None and (len(shape) != 3 or shape[1:] != (patch_size, patch_size)):
        raise InvalidValueError(
            f"num_features must be the shape of a patch, (C, {patch_size}, {patch_size}), with "
            f"patch_size={patch_size}, got {shape}; images may then be of any size."
        )
    if not shape:
        raise InvalidValueError("num_features must name at least one dimension, got ().")
    for size in shape:
        check_count("num_features", size)
    return shape


def number(features: Features) -> int:
    """How many features there are."""
    return features if isinstance(features, int) else math.prod(features)


def observation_shape(name: str, x: Tensor, side: int | None) -> tuple[int, ...]:
    """The shape of a sample of ``(N, *)``, or of a patch ``side`` by ``side`` of images."""
    check_tensor(name, x, 2)
    if side is None:
        return tuple(x.shape[1:])
    if x.dim() != 4 or x.shape[2] % side or x.shape[3] % side:
        raise InvalidValueError(
            f"{name} must be images (N, C, H, W) with H and W divisible by {side}, got shape "
            f"{tuple(x.shape)}; crop or pad them."
        )
    return x.shape[1], side, side


def check_features(
    name: str, x: Tensor, shape: tuple[int, ...], argument: str, expected: Features
) -> None:
    """An observation of this shape has the features that a module was built for or fitted to."""
    if (math.prod(shape) if isinstance(expected, int) else shape) != expected:
        raise InvalidValueError(
            f"{name} must have {argument}={expected} features per observation, got {shape} in "
            f"shape {tuple(x.shape)}."
        )


def to_rows(x: Tensor, side: int | None) -> Tensor:
    """Observations one below the other, ``(n, D)``."""
    if side is None:
        return rearrange(x, "n ... -> n (...)")
    return rearrange(x, "n c (h p) (w q) -> (n h w) (c p q)", p=side, q=side)


def from_rows(rows: Tensor, shape: tuple[int, ...], side: int | None) -> Tensor:
    """The inverse of :func:`to_rows`."""
    if side is None:
        return rows.reshape(shape)
    n, c, h, w = shape[0], shape[1], shape[2] // side, shape[3] // side
    return rearrange(rows, "(n h w) (c p q) -> n c (h p) (w q)", n=n, c=c, h=h, w=w, p=side, q=side)
