"""Channels in groups, each channel with a learnt scale and shift."""

from typing import Unpack

import torch
from torch import nn

from covlayers.functional._base.checks import (
    check_count,
    check_divides,
    check_flag,
    check_not_both,
    groups_of,
)
from covlayers.modules._factory import Factory, check_factory
from covlayers.modules._ranges import in_range


def chosen_groups(num_features: int, num_groups: int | None, group_size: int | None) -> int:
    """The number of groups, as given or from their size; one group where neither is given."""
    check_not_both("group_size", group_size, "num_groups", num_groups)
    if group_size is not None:
        return groups_of(group_size, num_features)
    return 1 if num_groups is None else num_groups


class ChannelAffine(nn.Module):
    """What the norm layers share: groups of channels, ``eps``, a scale and a shift."""

    eps: float = in_range(0)
    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(
        self,
        num_features: int,
        num_groups: int,
        *,
        eps: float,
        affine: bool,
        **factory: Unpack[Factory],
    ) -> None:
        super().__init__()
        check_factory(self, factory)
        check_count("num_features", num_features)
        check_divides("num_groups", num_groups, "num_features", num_features)
        check_flag("affine", affine)
        self.num_features, self.num_groups = num_features, num_groups
        self.eps, self.affine = eps, affine
        self._looked = False
        for name in ("weight", "bias"):
            empty = torch.empty(num_features, **factory)
            self.register_parameter(name, nn.Parameter(empty) if affine else None)

    def reset_parameters(self) -> None:
        """Scale by one, without a shift."""
        if self.weight is not None and self.bias is not None:
            nn.init.ones_(self.weight)
            nn.init.zeros_(self.bias)
