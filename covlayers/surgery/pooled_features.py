"""The features of a model, pooled and classified by a head of our own."""

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from covlayers.functional._base.tensors import check_tensor


class ClassTokenFirst(nn.Module):
    """Tokens without the registers and distillation tokens that follow the class token."""

    def __init__(self, num_prefix_tokens: int) -> None:
        super().__init__()
        self.num_prefix_tokens = num_prefix_tokens

    def forward(self, tokens: Tensor) -> Tensor:
        """Bring ``(N, P + M, D)`` to ``(N, 1 + M, D)``."""
        check_tensor("the features of the model", tokens, 3)
        if self.num_prefix_tokens == 1:
            return tokens
        return torch.cat([tokens[:, :1], tokens[:, self.num_prefix_tokens :]], 1)


class ChannelsFirst(nn.Module):
    """Maps, or tokens without a class token, as ``(N, C, *)``."""

    def __init__(self, channels: int, channels_last: bool, num_prefix_tokens: int) -> None:
        super().__init__()
        self.channels = channels
        self.channels_last = channels_last
        self.num_prefix_tokens = num_prefix_tokens

    def forward(self, x: Tensor) -> Tensor:
        """Bring ``(N, C, H, W)``, ``(N, H, W, C)`` or ``(N, P + M, C)`` to ``(N, C, *)``."""
        check_tensor("the features of the model", x, 3)
        if x.dim() == 3:
            return x[:, self.num_prefix_tokens :].movedim(-1, 1)
        first = x.shape[1] == self.channels and not self.channels_last
        return x if first else x.movedim(-1, 1)


class PooledFeatures(nn.Module):
    """A model without pooling and classifier, and a head on its features.

    What timm asks a model for its data and its optimizer, it answers as the model does, with the
    names that the parameters have here. Of a model of another origin it has none of this.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone: Any = backbone
        self.head = head.train(backbone.training)
        self.training = backbone.training
        # the classifiers of a distilled model take tokens, whatever its pooling
        self.distilled = hasattr(backbone, "head_dist")

    def forward(self, x: Tensor) -> Tensor:
        """Classify a batch of images."""
        features = self.backbone.forward_features(x) if self.distilled else self.backbone(x)
        return self.head(features)

    @property
    def pretrained_cfg(self) -> dict[str, Any]:
        """The size of images, their mean and deviation, and where the weights came from."""
        cfg: dict[str, Any] = self.backbone.pretrained_cfg
        return cfg

    @property
    def default_cfg(self) -> dict[str, Any]:
        """The same by its old name."""
        cfg: dict[str, Any] = self.backbone.default_cfg
        return cfg

    @property
    def no_weight_decay(self) -> Callable[[], set[str]]:
        """Gives the names of parameters that are not to decay."""
        names = self.backbone.no_weight_decay
        return lambda: {f"{BACKBONE}{name}" for name in names()}

    @property
    def group_matcher(self) -> Callable[..., dict[str, Any]]:
        """Gives patterns of parameters from the first layer to the last, the head behind them."""
        matcher = self.backbone.group_matcher
        return lambda coarse=False: {
            group: _within_backbone(patterns) for group, patterns in matcher(coarse=coarse).items()
        }

    @property
    def set_grad_checkpointing(self) -> Callable[..., None]:
        """Turns activation checkpointing on or off."""
        setter: Callable[..., None] = self.backbone.set_grad_checkpointing
        return setter


BACKBONE = "backbone."


def _within_backbone(patterns: Any) -> Any:
    """Patterns that match from the first character on, behind a prefix."""
    if isinstance(patterns, list | tuple):  # each with a suffix for its order
        return [(_within_backbone(pattern), suffix) for pattern, suffix in patterns]
    if patterns is None:
        return None
    pattern = getattr(patterns, "pattern", patterns)
    anywhere = re.sub(r"(?<![\[\\])\^", "", pattern)  # the start is no longer where it was
    return f"{re.escape(BACKBONE)}(?:{anywhere})"


def drop_hidden_layers(model: Any) -> bool:
    """Drop the hidden layers that leave one position of the maps, as in VGG, if there are some."""
    window = getattr(getattr(model, "pre_logits", None), "input_kernel_size", 1)
    if window == 1:
        return False
    model.pre_logits = nn.Identity()
    return True


def take_dropout(model: Any) -> nn.Dropout:
    """The dropout ahead of the classifier of a timm model, taken out of the model.

    Left there, it would drop single positions and raise their variances.
    """
    modules = dict(model.named_modules())
    layers = [modules.get(name) for name in ("head_drop", "head.drop", "head.dropout")]
    rates = [float(getattr(model, "drop_rate", 0.0))]
    model.drop_rate = 0.0
    for layer in layers:
        if isinstance(layer, nn.Dropout):
            rates.append(layer.p)
            layer.p = 0.0
    return nn.Dropout(max(rates))
