"""The styles of a whitening-coloring, with the regions that each comes from and goes to."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from covlayers.functional._base.checks import FLOATS, check_divides, check_values
from covlayers.functional._base.errors import InvalidTypeError, InvalidValueError
from covlayers.functional._base.tensors import check_positions, check_same, check_tensor, full

TensorOrTensors = Tensor | Sequence[Tensor]

OVER = 1e-2
"""How far masks may sum to more than one: resizing and half precision round them."""


class Region(NamedTuple):
    """A style in groups, the weights of its positions, and the share of it in the content."""

    style: Tensor  # (N or 1, G, c, M')
    weights: Tensor | None  # (N or 1, 1, M')
    mask: Tensor | None  # (N or 1, 1, M)


def grouped(x: Tensor, num_groups: int) -> Tensor:
    """``(N, C, *)`` as ``(N, G, c, M)``."""
    return full(x).flatten(2).unflatten(1, (num_groups, -1))


def check_features(name: str, x: Tensor) -> None:
    """Features ``(N, C, *)`` at two positions or more."""
    check_tensor(name, x, 3)
    check_positions(name, x, 2, first=2)


def regions(
    content: Tensor,
    style: TensorOrTensors,
    content_mask: TensorOrTensors | None,
    style_mask: TensorOrTensors | None,
    num_groups: int,
) -> list[Region]:
    """The inputs, checked: a region for each style, or for each mask of the content."""
    check_divides("num_groups", num_groups, "the channels of content", content.shape[1])
    single = isinstance(style, Tensor)
    named = {"style": style} if isinstance(style, Tensor) else _listed("style", style)
    for name, one in named.items():
        _check_style(name, one, content)
    masks = _split("content_mask", content_mask, content)
    styles = list(named.values()) * (len(masks) if single and masks else 1)
    shares = _weights("content_mask", masks, [content] * len(styles))
    weights = _weights("style_mask", _split("style_mask", style_mask, styles[0]), styles)
    if masks:
        total = torch.stack(torch.broadcast_tensors(*shares)).sum(0)
        check_values("content_mask", total, total <= 1 + OVER, "sum to at most 1 at each position")
    for weight in weights:
        if weight is not None:
            count = (weight > 0).sum(-1)
            check_values("style_mask", count, count > 1, "cover two positions of the style or more")
    groups = (grouped(one, num_groups) for one in styles)
    return [Region(*parts) for parts in zip(groups, weights, shares, strict=True)]


def mixture(
    weights: Sequence[float] | Tensor | None, count: int, like: Tensor
) -> list[Tensor] | list[float]:
    """The weights of the styles as shares of one; equal shares for None."""
    if weights is None:
        return [1 / count] * count
    try:
        if isinstance(weights, Tensor) and weights.is_complex():
            raise TypeError
        w = torch.as_tensor(weights, dtype=like.dtype, device=like.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidTypeError(
            f"weights must be real numbers, one for each style, in a list or a tensor, got "
            f"{weights!r}."
        ) from error
    if w.shape != (count,):
        raise InvalidValueError(
            f"weights must be a number for each style, {count} in all, got shape {tuple(w.shape)}."
        )
    total = w.sum()
    fine = (w >= 0) & (total > 0) & (total < torch.inf)
    check_values("weights", w, fine, "be finite, at least 0 and not all 0")
    return list((w / total).unbind())


def _listed(name: str, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
    """Some tensors under the names that errors give them."""
    listed = isinstance(tensors, list | tuple)
    if not (listed and tensors):
        came = repr(tensors) if listed else type(tensors).__name__
        raise InvalidTypeError(f"{name} must be a tensor or a list of tensors, got {came}.")
    return {f"{name}[{index}]": tensor for index, tensor in enumerate(tensors)}


def _split(name: str, masks: TensorOrTensors | None, features: Tensor) -> dict[str, Tensor]:
    """Masks ``(N or 1, S, *)``, or a list of ``(N or 1, *)``, one by one."""
    if masks is None:
        return {}
    if not isinstance(masks, Tensor):
        return _listed(name, masks)
    _check_mask_dtype(name, masks)
    if masks.dim() != features.dim() or masks.shape[1] == 0:
        raise InvalidValueError(
            f"{name} must have shape (N, S, *) with a region or more and the {features.dim() - 2} "
            f"spatial dimensions of its features, got {tuple(masks.shape)}; {name}.unsqueeze(1) "
            "makes a region of one mask for each sample."
        )
    return {f"region {index} of {name}": mask for index, mask in enumerate(masks.unbind(1))}


def _check_mask_dtype(name: str, mask: Tensor) -> None:
    """Booleans or real floating numbers, no labels."""
    if mask.dtype != torch.bool and mask.dtype not in FLOATS:
        raise InvalidTypeError(
            f"{name} must have a real floating dtype or be boolean, got {mask.dtype}; "
            f"{name}.bool() converts zeros and ones, and "
            "torch.nn.functional.one_hot(labels.long(), S).movedim(-1, 1).bool() makes "
            "masks (N, S, *) of labels (N, *)."
        )


def _check_style(name: str, style: Tensor, content: Tensor) -> None:
    N, C = content.shape[:2]
    check_features(name, style)
    check_same("content", content, name, style)
    if style.shape[0] not in (1, N) or style.shape[1] != C:
        raise InvalidValueError(
            f"{name} must have the {C} channels of content and a batch of 1 or {N}, got shape "
            f"{tuple(style.shape)}."
        )


def _weights(
    name: str, masks: dict[str, Tensor], features: list[Tensor]
) -> list[Tensor] | list[None]:
    """The masks of features, none or one for each, as weights of their positions."""
    if not masks:
        return [None] * len(features)
    if len(masks) != len(features):
        raise InvalidValueError(
            f"{name} must have a region for each style, {len(features)} in all, got {len(masks)}."
        )
    return [_weight(*named, one) for named, one in zip(masks.items(), features, strict=True)]


def _weight(name: str, mask: Tensor, features: Tensor) -> Tensor:
    """A mask ``(N or 1, *)`` as weights ``(N or 1, 1, M)``."""
    if isinstance(mask, Tensor):
        _check_mask_dtype(name, mask)
    if not (isinstance(mask, Tensor) and mask.dtype == torch.bool):
        check_tensor(name, mask, 2)
    N, spatial = features.shape[0], features.shape[2:]
    if mask.shape[1:] != spatial or mask.shape[0] not in (1, N) or mask.device != features.device:
        raise InvalidValueError(
            f"{name} must have a batch of 1 or {N}, the spatial shape {tuple(spatial)} and the "
            f"device {features.device} of its features, got {tuple(mask.shape)} on {mask.device}; "
            "torch.nn.functional.interpolate resizes masks."
        )
    weights = mask.to(full(features).dtype).flatten(1).unsqueeze(1)
    check_values(name, weights, (weights >= 0) & (weights <= 1), "lie in [0, 1]")
    return weights
