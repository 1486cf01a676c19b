r"""Whitening of fixed statistics merged into the convolutions around it.

In evaluation a layer is :math:`y = V x + b` for each group of channels, with
:math:`V = \operatorname{diag}(\gamma) W` and :math:`b = \beta - V \mu`. A convolution or a linear
map before it, with weight :math:`K` and bias :math:`d`, takes the weight :math:`V K` and the bias
:math:`V d + b`. One after it that pads by no zeros takes :math:`K V` and :math:`d + \sum K b`.
"""

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from covlayers.functional._base.checks import check_model
from covlayers.functional._base.errors import UnsupportedError
from covlayers.modules.norms.covariance_norm import CovarianceNorm
from covlayers.surgery.hooks import take_hooks
from covlayers.surgery.neighbours import Neighbour, neighbours
from covlayers.surgery.other_methods import unseparated
from covlayers.surgery.parameters import make_masks_permanent

NO_EPS = 1e-30
"""Positive, as torch wants it, and lost beside a variance of one."""

NO_NEIGHBOUR = "no convolution or linear layer alone beside it can take it"


class Affine(NamedTuple):
    """A fixed map of each group of channels, in float64."""

    V: Tensor  # (G, c, c)
    b: Tensor  # (G, c)


@fx.wrap  # one node of any graph, so that a quantiser leaves it in full precision
def pointwise(x: Tensor, weight: Tensor, bias: Tensor, num_groups: int) -> Tensor:
    """A grouped 1x1 convolution of ``(N, C, *)``."""
    row = x.unsqueeze(-1).flatten(2).unsqueeze(2)  # (N, C, 1, M), channels last if x is
    weight, bias = weight.to(x.dtype), bias.to(x.dtype)
    return nn.functional.conv2d(row, weight, bias, groups=num_groups).reshape(x.shape)


class PointwiseAffine(nn.Module):
    """A grouped 1x1 convolution of ``(N, C, *)``, whatever the spatial shape."""

    reason: str
    """Why it is not merged into a neighbour."""

    def __init__(self, weight: Tensor, bias: Tensor, num_groups: int, reason: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)  # (C, c, 1, 1)
        self.bias = nn.Parameter(bias)  # (C)
        self.num_groups = num_groups
        self.reason = reason

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``(N, C, *)``."""
        return pointwise(x, self.weight, self.bias, self.num_groups)

    def extra_repr(self) -> str:
        """The sizes, and why it is here."""
        return f"{self.bias.numel()}, num_groups={self.num_groups}, reason={self.reason!r}"


@torch.no_grad()
def fold(model: nn.Module) -> nn.Module:
    r"""A copy for inference in which no whitening is left to compute.

    In evaluation :class:`DecorrelatedBatchNorm`, :class:`IterNorm` and :class:`PCANorm` are fixed
    affine maps :math:`V x + b`. Each is merged into the convolution or linear layer
    :math:`K x + d` that alone feeds it, or else into the one that alone reads it and pads by no
    zeros, and becomes :class:`torch.nn.Identity`:

    .. math:: V (K x + d) + b &= (V K)\, x + (V d + b),

              K (V x + b) + d &= (K V)\, x + (K b + d)

    Where there is no such neighbour, the layer becomes a grouped 1x1 convolution, whose printed
    form says why. Of a model that :mod:`torch.fx` cannot follow, such as a detector, the largest
    parts that it can follow are folded, each by itself. Layers whose map depends on the sample stay
    as they are. The copy has the class and the structure of the model, and is exported and
    quantised like any other model. A model with a method ``fuse_model``, as torchvision's
    quantizable ones, gets a BatchNorm that changes nothing in place of the identity, which that
    method looks for.

    A layer is merged where its groups lie within the groups of the convolution, where the model
    uses both once, and where no hook watches either; hooks of a layer go on to what replaces it. Of
    other public methods than ``forward`` each has to use both as ``forward`` does, or neither, as
    far as :mod:`torch.fx` can follow it. A forward pass that it cannot follow is read, and a layer
    that it may use by itself, not through the part around the layer and its neighbour, stays. A
    linear neighbour is taken to work on :math:`(N, C)`.

    Args:
        model: a trained model; unchanged.

    Shape:
        - Output: a model of the same shapes, in evaluation mode

    Raises:
        InvalidTypeError: if ``model`` is not a module.
        UnsupportedError: for a layer without running statistics, whose map depends on the batch.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), DecorrelatedBatchNorm(8)).eval()
        >>> x = torch.randn(2, 3, 5, 5)
        >>> torch.allclose(fold(model)(x), model(x), atol=1e-5), fold(model)[1]
        (True, Identity())
    """
    check_model(model)
    for name, module in model.named_modules():
        if isinstance(module, CovarianceNorm) and not module.has_averages:
            raise UnsupportedError(
                f"fold needs layers with track_running_stats=True, got {name!r} without; its map "
                "depends on each batch. Build it with track_running_stats=True, then recalibrate."
            )
    beside, reasons = neighbours(model)
    found = unseparated(model, dict(beside))
    folded = copy.deepcopy(model).eval()
    new: dict[nn.Module, nn.Module] = {}
    for name, module in folded.named_modules():
        if isinstance(module, CovarianceNorm):
            make_masks_permanent(module)
            affine = _affine(module)
            if name in found:
                _merge(affine, folded, found[name])
                new[module] = _nothing(folded, found[name])
            else:
                other = "another method uses it apart" if name in beside else NO_NEIGHBOUR
                new[module] = _pointwise(affine, module, reasons.get(name, other))
            take_hooks(new[module], module)
    if folded in new:
        return new[folded].eval()
    for name, module in list(folded.named_modules(remove_duplicate=False)):
        if module in new:
            folded.set_submodule(name, new[module].eval())
    return folded


def _wide(x: Tensor) -> Tensor:
    return x.to("cpu", torch.float64)  # not every device has float64


def _affine(norm: CovarianceNorm) -> Affine:
    V, mean = _wide(norm.evaluation_matrix()), _wide(norm.running_mean)
    columns = (*V.shape[:-1], 1)
    if norm.weight is not None:
        V = _wide(norm.weight).view(columns) * V
    b = -V @ mean.view(columns)
    if norm.bias is not None:
        b = b + _wide(norm.bias).view(columns)
    return Affine(V, b.squeeze(-1))


def _pointwise(affine: Affine, norm: CovarianceNorm, reason: str) -> PointwiseAffine:
    G, c, _ = affine.V.shape
    like = norm.running_mean if norm.weight is None else norm.weight
    weight, bias = affine.V.view(G * c, c, 1, 1).to(like), affine.b.flatten().to(like)
    return PointwiseAffine(weight, bias, G, reason)


def _nothing(model: nn.Module, neighbour: Neighbour) -> nn.Module:
    """What leaves its input as it is: the identity, or what ``fuse_model`` looks for."""
    other = model.get_submodule(neighbour.name)
    fuses = any(hasattr(part, "fuse_model") for part in model.modules())
    if not (fuses and neighbour.feeds):
        return nn.Identity()
    weight: Any = other.weight
    kinds: dict[type, type] = {nn.Conv2d: nn.BatchNorm2d, nn.Conv3d: nn.BatchNorm3d}
    kind = kinds.get(type(other), nn.BatchNorm1d)
    nothing: nn.Module = kind(len(weight), eps=NO_EPS, device=weight.device, dtype=weight.dtype)
    return nothing


def _merge(affine: Affine, model: nn.Module, neighbour: Neighbour) -> None:
    module: Any = model.get_submodule(neighbour.name)
    old = module.weight
    K = _wide(old)
    d = K.new_zeros(len(K)) if module.bias is None else _wide(module.bias)
    merge = _after if neighbour.feeds else _before
    K, d = merge(affine, K, d)
    # a parameter of its own, as others may hold the old one, and in its memory format
    weight = torch.empty_like(old).copy_(K.reshape(old.shape))
    bias = old.new_empty(len(d)).copy_(d)
    module.weight = nn.Parameter(weight, requires_grad=old.requires_grad)
    module.bias = nn.Parameter(bias, requires_grad=old.requires_grad)


def _after(affine: Affine, K: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """The map after the convolution: its rows mixed within each group."""
    V, b = affine
    rows = K.reshape(*b.shape, -1)  # (G, c, inputs)
    return V @ rows, ((V @ d.view(*b.shape, 1)).squeeze(-1) + b).flatten()


def _before(affine: Affine, K: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """The map before it: its columns mixed; ``h`` groups of the convolution hold ``a`` of ours."""
    V, b = affine
    G, c = b.shape
    groups = G * c // K.shape[1]
    blocks = K.reshape(groups, len(K) // groups, G // groups, c, -1)
    V, b = V.view(groups, -1, c, c), b.view(groups, -1, c)
    mixed = torch.einsum("hoaik,haij->hoajk", blocks, V)
    return mixed, d + torch.einsum("hoaik,hai->ho", blocks, b).flatten()
