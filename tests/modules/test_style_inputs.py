"""What whitening-coloring says of lists, masks and weights that it refuses."""

import math

import pytest
import torch
from torch import Tensor

import covlayers as cl
from covlayers import functional as F

X, S = torch.randn(2, 4, 3, 2), torch.randn(2, 4, 5)
MASK, OWN = torch.full((2, 2, 3, 2), 0.5), torch.ones(1, 2, 5)
VALUE, TYPE = F.InvalidValueError, F.InvalidTypeError


def marked(mask: Tensor, value: float) -> Tensor:
    """A mask with one value of its own."""
    mask = mask.clone()
    mask[0, 1, 0] = value
    return mask


CALLS = [
    ((X[:, :3], S[:, :3]), {}, VALUE, "num_groups must divide the channels of content=3, got 2"),
    ((X, []), {}, TYPE, r"style must be a tensor or a list of tensors, got \[\]"),
    ((X, [S, 1]), {}, TYPE, r"style\[1\] must be a torch.Tensor, got int"),
    ((X, [S, S[:, :2]]), {}, VALUE, r"style\[1\] must have the 4 channels"),
    # masks of the content
    ((X, S), {"content_mask": 0.5}, TYPE, "content_mask must be a tensor or a list"),
    (
        (X, S),
        {"content_mask": MASK[0, 0]},
        VALUE,
        r"content_mask must have shape \(N, S, \*\) with",
    ),
    ((X, S), {"content_mask": MASK.long()}, TYPE, "content_mask.* must have a real floating"),
    ((X, S), {"content_mask": MASK[..., :1]}, VALUE, "content_mask.* the spatial shape .*resizes"),
    ((X, S), {"content_mask": torch.cat([MASK] * 2)}, VALUE, "content_mask.* a batch of 1 or 2"),
    ((X, S), {"content_mask": MASK.to("meta")}, VALUE, "content_mask.* device cpu .*on meta"),
    ((X, S), {"content_mask": marked(MASK, -0.1)}, VALUE, "content_mask.*lie in .*got .-0.1"),
    ((X, S), {"content_mask": marked(MASK, 1.1)}, VALUE, r"region 1 of content_mask must lie in"),
    ((X, S), {"content_mask": marked(MASK, math.nan)}, VALUE, "content_mask.*lie in .*got .nan"),
    (
        (X, S),
        {"content_mask": marked(MASK, 0.6)},
        VALUE,
        "content_mask must sum to at most 1 .*1.1",
    ),
    ((X, [S] * 3), {"content_mask": MASK}, VALUE, "content_mask must have a region for each style"),
    ((X, S), {"content_mask": MASK[:, :0]}, VALUE, r"content_mask must .* with a region or more"),
    # masks of the style
    ((X, S), {"style_mask": OWN}, VALUE, "style_mask must have a region for each style, 1 in all"),
    ((X, [S, S]), {"style_mask": OWN[0]}, VALUE, r"style_mask must have shape \(N, S, \*\) with"),
    ((X, S), {"style_mask": OWN[:, :0]}, VALUE, r"style_mask must .* with a region or more"),
    ((X, [S, S]), {"style_mask": []}, TYPE, "style_mask must be a tensor or a list"),
    ((X, [S, S]), {"style_mask": [OWN[0, :1], 1]}, TYPE, r"style_mask\[1\] must be a torch.Tensor"),
    ((X, [S, S]), {"style_mask": OWN[..., :3]}, VALUE, "style_mask.* the spatial shape"),
    ((X, [S, S]), {"style_mask": OWN * 2}, VALUE, r"region 0 of style_mask must lie in"),
    ((X, [S, S]), {"style_mask": OWN * math.nan}, VALUE, "style_mask.* must lie in"),
    ((X, [S, S]), {"style_mask": OWN * 0}, VALUE, r"style_mask must cover two .*got \[0"),
    ((X, S), {"style_mask": torch.eye(5)[None, :1]}, VALUE, r"style_mask must cover .*got \[1\]"),
    # weights
    ((X, [S, S]), {"weights": [1]}, VALUE, r"weights must be a number for each style, 2 in all"),
    ((X, [S, S]), {"weights": torch.ones(1, 2)}, VALUE, r"weights must .*got shape \(1, 2\)"),
    ((X, [S, S]), {"weights": [2, -1]}, VALUE, "weights must be finite, at least 0 and not all 0"),
    ((X, [S, S]), {"weights": [0, 0]}, VALUE, "weights must be finite, at least 0 and not all 0"),
    ((X, [S, S]), {"weights": [1, math.inf]}, VALUE, "weights must be finite"),
    ((X, [S, S]), {"weights": [1, math.nan]}, VALUE, "weights must be finite"),
    ((X, S), {"weights": [1], "content_mask": MASK}, VALUE, "weights must be None beside content_"),
]


@pytest.mark.parametrize(("inputs", "given", "error", "words"), CALLS)
def test_bad_inputs(inputs, given, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        cl.WhiteningColoring(num_groups=2)(*inputs, **given)
