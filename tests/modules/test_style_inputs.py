"""Every input that whitening-coloring refuses, and what it says."""

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


OPTIONS = [
    ({"alpha": 1.1}, VALUE, r"alpha must lie in \[0, 1\], got 1.1"),
    ({"alpha": math.nan}, VALUE, "alpha must lie"),
    ({"alpha": "1"}, TYPE, "alpha must be a real number"),
    ({"alpha": None}, TYPE, "alpha must be a real number"),
    ({"num_groups": 0}, VALUE, "num_groups must be at least 1, got 0"),
    ({"num_groups": 2.0}, TYPE, "num_groups must be an int"),
    ({"eps": -1e-5}, VALUE, "eps must lie"),
    ({"eps": math.inf}, VALUE, "eps must lie"),
    ({"eps": None}, TYPE, "eps must be a real number"),
    ({"shrinkage": 1.5}, VALUE, "shrinkage must lie"),
    ({"shrinkage": "oas"}, VALUE, r"shrinkage must be one of \['auto'\], got 'oas'"),
    ({"shrinkage": True}, TYPE, "shrinkage must be a real number"),
    ({"method": "svd"}, VALUE, "method must be one of .*'eigh'.*, got 'svd'"),
    ({"method": F.Eigh}, TYPE, r"method must be .*write Eigh\(\)"),
    ({"backward": "exact"}, VALUE, "backward must be one of"),
]
CALLS = [
    ((X[0, 0], S), {}, VALUE, r"content must have at least 3 dimensions, got shape \(3, 2\)"),
    ((X.long(), S), {}, TYPE, "content must have a real floating dtype"),
    ((X.tolist(), S), {}, TYPE, "content must be a torch.Tensor, got list"),
    ((X[..., :1, :1], S), {}, VALUE, "content must have at least 2 positions"),
    ((X[:, :3], S[:, :3]), {}, VALUE, "num_groups must divide the channels of content=3, got 2"),
    ((X, S[:, :2]), {}, VALUE, "style must have the 4 channels of content .*got shape"),
    ((X, torch.cat([S, S])), {}, VALUE, "style must have .* a batch of 1 or 2, got shape"),
    ((X, S[0]), {}, VALUE, "style must have at least 3 dimensions"),
    ((X, S.double()), {}, TYPE, "style must have the dtype of content, torch.float32, got"),
    ((X, S.bfloat16()), {}, TYPE, "style must have the dtype of content"),
    ((X, S.long()), {}, TYPE, "style must have a real floating dtype"),
    ((X, S.to("meta")), {}, VALUE, "style must be on the device of content, cpu, got meta"),
    ((X, S[..., :1]), {}, VALUE, "style must have at least 2 positions"),
    ((X, None), {}, TYPE, "style must be a tensor or a list of tensors, got None"),
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
    ((X, S), {"content_mask": marked(MASK, 1.1)}, VALUE, r"content_mask\[:, 1\] must lie in"),
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
    ((X, [S, S]), {"style_mask": OWN * 2}, VALUE, r"style_mask\[:, 0\] must lie in"),
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


@pytest.mark.parametrize("layer", [cl.WhiteningColoring, cl.GroupWhiteningColoring])
@pytest.mark.parametrize(("options", "error", "words"), OPTIONS)
def test_bad_options(layer, options, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        layer(**{"num_groups": 2} | options)


@pytest.mark.parametrize(("inputs", "given", "error", "words"), CALLS)
def test_bad_inputs(inputs, given, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        cl.WhiteningColoring(num_groups=2)(*inputs, **given)


def test_bad_strength_of_adain() -> None:
    with pytest.raises(VALUE, match="alpha must lie"):
        cl.AdaIN(1.5)
    with pytest.raises(VALUE, match="eps must lie"):
        cl.AdaIN(eps=-1.0)
