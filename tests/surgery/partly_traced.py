"""Models that torch.fx follows in part, and that use the parts of their parts as they are."""

import torch
from torch import nn

from tests.surgery.test_fold import Norm, conv

IMAGE = (4, 8, 6, 5)


class Block(nn.Module):
    """A convolution and a layer that merges into it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = conv(8, 8, 1), Norm(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x)).relu()

    def _half(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


def branches(x: torch.Tensor) -> bool:
    """What no trace can follow."""
    return bool(x.sum() < 1e9)


class Whole(nn.Module):
    """A module that torch.fx cannot follow calls its block as a whole."""

    def __init__(self, block: nn.Module | None = None) -> None:
        super().__init__()
        self.block = block or Block()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(x) if branches(x) else x


class OwnCode(Whole):
    """Its own code uses a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = conv(8, 8, 1), Norm(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(self.norm(self.conv(x)))


class Twice(Whole):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(self.block(x)) if branches(x) else x


class Layers(nn.Sequential):
    pass


class WholeSequential(Whole):
    def __init__(self) -> None:
        super().__init__(nn.Sequential(conv(8, 8, 1), Norm(8)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(x) if branches(x) else x


class WholeInAList(Whole):
    def __init__(self) -> None:
        super().__init__(nn.ModuleList([Block(), Block()]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for part in self.block:
            x = part(x)
        return x if branches(x) else -x


class Detector(nn.Module):
    """As a detector: a list of images of any size in, a dict for each out."""

    def __init__(self) -> None:
        super().__init__()
        stem = nn.Sequential(conv(8, 8, 3), Norm(8), nn.ReLU())
        self.backbone = nn.Sequential(stem, Block(), Block())
        self.heads = nn.ModuleDict({"boxes": conv(8, 4, 1), "scores": Block()})

    def forward(self, images: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        found = []
        for image in images:
            features = self.backbone(image[None])
            one = {name: head(features).flatten(2) for name, head in self.heads.items()}
            keep = one["scores"].mean(1)[0] > 0.5
            found.append({name: values[..., keep] for name, values in one.items()})
        return found
