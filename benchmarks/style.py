"""Time and memory of a training step of whitening-coloring and its peers.

    python -m benchmarks.style [--quick] [--device cpu|cuda|auto] [--min-time S] [--output FILE]

A step is one forward and one backward pass, to content and style: the two halves of the input. The
third and fourth stage of a VGG have these sizes. ``relative`` is the time over the time of the
same layer with torch.linalg.eigh, left to autograd. ``moments`` is the relative error of the
covariance of the output, which ought to equal the covariance of the style.

See ``training_step.py`` for what is measured, and for the spread of the times.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

import covlayers as cl
from benchmarks.measure import Row
from benchmarks.training_step import Group, command
from covlayers import functional as F

SHAPES = ((2, 256, 64, 64), (1, 512, 64, 64))
EPS = 1e-5
BASELINE = "eigh + autograd"


class Halves(nn.Module):
    """A layer of two inputs that takes them as one: content first, then style."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(*x.chunk(2))


class Textbook(nn.Module):
    """Whitening-coloring as one writes it by hand: whiten, then color, every step in the graph."""

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        x, _, values, vectors = self.spectrum(content)
        white = vectors @ (values.rsqrt().unsqueeze(-1) * (vectors.mT @ x))
        _, mean, values, vectors = self.spectrum(style)
        colored = vectors @ (values.sqrt().unsqueeze(-1) * (vectors.mT @ white))
        return (colored + mean).view_as(content)

    def spectrum(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Centred features, their mean, eigenvalues and eigenvectors."""
        x = x.flatten(2)
        mean = x.mean(-1, keepdim=True)
        x = x - mean
        identity = torch.eye(x.shape[1], device=x.device)
        return x, mean, *torch.linalg.eigh(x @ x.mT / x.shape[-1] + EPS * identity)


def layers() -> dict[str, nn.Module]:
    """What is measured, by name."""
    named = {
        BASELINE: cl.WhiteningColoring(method=F.Eigh(), backward=F.Autograd()),
        "textbook": Textbook(),
        "WhiteningColoring": cl.WhiteningColoring(),
        "WhiteningColoring polar_express": cl.WhiteningColoring(method=F.PolarExpress()),
        "WhiteningColoring MPA": cl.WhiteningColoring(method=F.Pade(5), backward=F.Lyapunov(8)),
        "WhiteningColoring Newton-Schulz, autograd": cl.WhiteningColoring(
            method=F.NewtonSchulz(5), backward=F.Autograd()
        ),
        "GroupWhiteningColoring 8 groups": cl.GroupWhiteningColoring(8, alpha=1.0),
        "GroupWhiteningColoring 16 groups": cl.GroupWhiteningColoring(16, alpha=1.0),
        "AdaIN": cl.AdaIN(),
    }
    return {name: Halves(layer) for name, layer in named.items()}


def features(shape: Sequence[int], device: str) -> Tensor:
    """Content and style with their channels mixed at random, the same on every device."""
    generator = torch.Generator().manual_seed(0)
    N, C, *spatial = shape
    mix = torch.randn(2, C, C, generator=generator) / C**0.5 + torch.eye(C)
    x = torch.randn(2, N, C, *spatial, generator=generator)
    return torch.einsum("tdc,tnchw->tndhw", mix, x).flatten(0, 1).to(device)


def moments(layer: nn.Module, x: Tensor) -> Row:
    """How far the covariance of the first output is from the covariance of its style."""
    with torch.no_grad():
        y, style = (z[0].flatten(1).double().cov(correction=0) for z in (layer(x), x.chunk(2)[1]))
    return {"moments": float(torch.linalg.matrix_norm(y - style) / torch.linalg.matrix_norm(style))}


def groups(device: str, quick: bool) -> Iterator[Group]:
    """Each size; the first only if quick."""
    for shape in SHAPES[:1] if quick else SHAPES:
        yield Group(
            f"content and style {shape}",
            features(shape, device),
            {name: layer.to(device) for name, layer in layers().items()},
            figures=moments,
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print size by size, write."""
    command(
        "style.py",
        __doc__,
        groups,
        BASELINE,
        arguments=arguments,
        metadata={"eps": EPS},
        extra={"moments": ".0e"},
    )


if __name__ == "__main__":
    main()
