"""Weights of positions: how much each counts in a mean or a covariance."""

import torch
from torch import Tensor

from covlayers.functional._base.checks import check_values
from covlayers.functional._base.errors import InvalidTypeError, InvalidValueError
from covlayers.functional._base.function import compiling, readable


def relative_weights(weights: Tensor | None, x: Tensor, *others: Tensor) -> Tensor | None:
    r"""Weights of the positions of ``x (*, C, M)`` as multiples of their mean, ``(*, 1, M)``.

    .. math:: \omega_j = w_j \Big/ \tfrac1M \sum_k w_k

    Weights that are all zero stay zero. Where values cannot be read, a negative or infinite weight
    makes all of its sample NaN.

    Args:
        weights: :math:`w`, of the dtype of ``x`` or a boolean mask, of a shape that broadcasts to
            ``(*, M)``; None stays None.
        x: features.
        *others: more features at these positions, whose batches broadcast.

    Raises:
        InvalidValueError: for another shape or device, and for a negative or infinite weight.
        InvalidTypeError: for another dtype.
    """
    if weights is None:
        return None
    if not isinstance(weights, Tensor):
        raise InvalidTypeError(
            f"weights must be a torch.Tensor, got {type(weights).__name__}; torch.as_tensor makes "
            "one."
        )
    if weights.dtype not in (torch.bool, x.dtype):
        raise InvalidTypeError(
            f"weights must have the dtype of the features, {x.dtype}, or be boolean, got "
            f"{weights.dtype}; convert them, e.g. weights.to(x)."
        )
    if weights.device != x.device:
        raise InvalidValueError(
            f"weights must be on the device of the features, {x.device}, got {weights.device}; "
            f"move them, e.g. weights.to(x.device)."
        )
    batch = torch.broadcast_shapes(*[one.shape[:-2] for one in (x, *others)])
    wanted = (*batch, x.shape[-1])
    fits = weights.dim() > 0 and weights.shape[-1] == wanted[-1] and weights.dim() <= len(wanted)
    pairs = zip(reversed(weights.shape), reversed(wanted), strict=False)
    if not (fits and all(own in (1, whole) for own, whole in pairs)):
        raise InvalidValueError(
            f"weights must have a shape that broadcasts to {wanted}, one weight for each position "
            f"of each sample, got {tuple(weights.shape)}."
        )
    w = weights.to(x.dtype)
    fine = (w >= 0) & (w < torch.inf)
    if compiling() or readable(w):
        check_values("weights", w, fine, "be at least 0 and finite")
    else:
        w = torch.where(fine, w, torch.nan)
    largest = w.detach().amax(-1, keepdim=True)  # so that no sum overflows
    w = w / torch.where(largest == 0, 1.0, largest)
    mean = w.mean(-1, keepdim=True)
    return (w / torch.where(mean == 0, 1.0, mean)).expand(wanted).unsqueeze(-2)
