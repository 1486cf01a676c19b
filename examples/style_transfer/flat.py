"""What a training step makes of styles that are flat, or have parts that are.

Where a style does not vary, eigenvalues of its covariance are equal, and the derivatives of their
eigenvectors infinite.
"""

import torch
from torch import Tensor, nn

from common.trial import Options
from data import photograph
from module import StyleModel

SIZE = 64
"""Side of the pictures."""


def crop(name: str, top: int, left: int) -> Tensor:
    """A square of a photograph."""
    return photograph(name)[None, :, top : top + SIZE, left : left + SIZE]


def styles() -> dict[str, Tensor]:
    """Styles by name, from one that varies everywhere to one that does not vary at all."""
    half = crop("cat", 100, 100).clone()
    half[..., : SIZE // 2] = 0.5
    return {
        "photograph": crop("cat", 100, 100),
        "night sky": crop("rocket", 0, 0),
        "half grey": half,
        "grey": torch.full((1, 3, SIZE, SIZE), 0.5),
    }


def gradient_norms(options: Options) -> dict[str, float]:
    """The norm of the first gradient of a training, by what the style is.

    Args:
        options: of the model.
    """
    torch.manual_seed(0)
    model = StyleModel(**options)
    content = crop("astronaut", 20, 100)
    norms = {}
    for name, style in styles().items():
        model.zero_grad()
        losses = model.losses((content, style), *model(content, style))
        model.total(losses).backward()
        grads = [weight.grad for weight in model.parameters() if weight.grad is not None]
        norms[name] = nn.utils.get_total_norm(grads).item()
    return norms


def table(variants: dict[str, Options]) -> str:
    """The norms of all variants, as a Markdown table."""
    rows = {variant: gradient_norms(options) for variant, options in variants.items()}
    names = list(next(iter(rows.values())))
    lines = [f"| {'gradient norm':16} | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for variant, norms in rows.items():
        lines.append(f"| {variant:16} | {' | '.join(f'{norm:.3g}' for norm in norms.values())} |")
    return "\n".join(lines)
