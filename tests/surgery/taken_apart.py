"""Models that torch.fx cannot follow and that use a convolution apart from its layer."""

import torch
from torch import nn

from tests.surgery.partly_traced import Block, Layers, Whole, branches
from tests.surgery.test_fold import Forward, Norm, conv


class Apart(Whole):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(x) + self.block.conv(x) if branches(x) else x


class ApartByMethod(Whole):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(x) + self.start(x) if branches(x) else x

    def start(self, x: torch.Tensor) -> torch.Tensor:
        return self.block.conv(x)


class ApartByBase(Apart):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x)


class ApartByProperty(Whole):
    @property
    def first(self) -> nn.Module:
        return self.block.conv

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(x) + self.first(x) if branches(x) else x


class ApartByItsMethod(Whole):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(x) + self.block._half(x) if branches(x) else x


class ApartByGetattr(Whole):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(x) + getattr(self.block, "conv")(x) if branches(x) else x  # noqa: B009


class ApartByChildren(Whole):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, *_ = self.block.children()
        return self.block(x) + first(x) if branches(x) else x


class ApartByModules(Whole):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(x) + list(self.modules())[2](x) if branches(x) else x


class ApartByIndex(Whole):
    def __init__(self) -> None:
        super().__init__(nn.Sequential(conv(8, 8, 1), Norm(8)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(x) + self.block[0](x) if branches(x) else x


class ApartByIndexOfAClass(ApartByIndex):
    def __init__(self) -> None:
        Whole.__init__(self, Layers(conv(8, 8, 1), Norm(8)))


class ApartInAList(Whole):
    def __init__(self) -> None:
        super().__init__(nn.ModuleList([Block(), Block()]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for part in self.block:
            x = part(x) + part.conv(x)
        return x if branches(x) else -x


class ByContainer(nn.ModuleDict):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self["a"](x) + self["a"].conv(x) if branches(x) else x


def shared_with_closed() -> nn.Module:
    """A closed module has a convolution of what stands before it."""
    block = Block()
    taken = Forward(lambda m, x: m.taken(x) if branches(x) else x, taken=block.conv)
    return nn.Sequential(block, taken)


def reached_from_outside() -> nn.Module:
    """Code that can be followed uses a part of what it calls as a closed module."""
    return Forward(lambda m, x: m.inner(x) + m.inner.block.conv(x), inner=Whole())


class Given(Whole):
    """It gives a part to another module."""

    def __init__(self) -> None:
        super().__init__()
        self.other = Forward(lambda m, block: block.conv.weight.sum())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(x) + self.other(self.block) if branches(x) else x


class Optionally(Block):
    def forward(self, x: torch.Tensor, both: bool = True) -> torch.Tensor:
        return super().forward(x) if both else self.conv(x)


def followed_once() -> nn.Module:
    """One call of a module can be followed, another one cannot."""
    return Forward(lambda m, x: m.inner(x) + m.inner(x, x.sum() > 1e9), inner=Optionally())


def held_function() -> nn.Module:
    """The code is in a function that a module holds."""
    return Forward(lambda m, x: m.block.conv(x) + m.block(x) if branches(x) else x, block=Block())


def beside(block: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return block(x) + block.conv(x)


class ApartByFunction(Whole):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return beside(self.block, x) if branches(x) else x
