"""A model tried on the meta device, where a forward pass computes shapes alone."""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

CONVOLUTIONS = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}
SIDES = (224, 64, 32)
FRAMES = 16


def on_meta(model: nn.Module) -> Any:
    """A copy on the meta device, to try what a model may refuse; no forward hook sees the trial."""
    parts = [vars(part) for part in model.modules()]
    dicts = [held for part in parts for held in part.values() if isinstance(held, dict)]
    # parameters, buffers, and what a part has computed and kept, which may have a graph
    tensors = [one for held in dicts for one in held.values() if isinstance(one, Tensor)]
    memo: dict[int, Any] = {}
    for one in tensors:
        empty = one.detach().to("meta")
        is_parameter = isinstance(one, nn.Parameter)
        memo[id(one)] = nn.Parameter(empty, one.requires_grad) if is_parameter else empty
    twin = copy.deepcopy(model, memo)
    for part in twin.modules():
        part._forward_hooks.clear()
    return twin


@torch.no_grad()
def tried(model: nn.Module, x: Tensor) -> Any:
    """What a model on the meta device gives in evaluation; raises what the model raises."""
    return model.eval()(x)


def usual_input(model: nn.Module, example: Tensor | None) -> Tensor | None:
    """Two inputs on the meta device that the model takes, None if none is found.

    The example decides, if there is one. Else the model may say its size, as timm and the vision
    transformers of torchvision do. Else the first convolution says channels and dimensions.
    """
    try:
        trial = on_meta(model)
    except Exception:  # a part of the model that cannot be copied
        return None
    for shape, dtype in _guesses(model, example):
        x = torch.empty(2, *shape, device="meta", dtype=dtype)
        try:
            tried(trial, x)
        except Exception:  # whatever the model's own code raises; another size may do
            continue
        return x
    return None


def _guesses(model: Any, example: Tensor | None) -> Iterator[tuple[tuple[int, ...], torch.dtype]]:
    if example is not None:
        yield tuple(example.shape[1:]), example.dtype
        return
    stem = next((part for part in model.modules() if type(part) in CONVOLUTIONS), None)
    if stem is None:
        return
    dtype = stem.weight.dtype
    size = (getattr(model, "default_cfg", None) or {}).get("input_size")
    if size is not None:
        yield tuple(size), dtype
    own = getattr(model, "image_size", None), getattr(model, "img_size", None)
    patches = getattr(getattr(model, "patch_embed", None), "img_size", None)
    for side in (*own, patches, *SIDES):
        if side is not None:
            sides = side if isinstance(side, tuple) else (side,) * CONVOLUTIONS[type(stem)]
            frames = (FRAMES,) if len(sides) == 3 else ()
            yield (stem.in_channels, *frames, *sides[len(frames) :]), dtype
