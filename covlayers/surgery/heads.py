"""Classification heads replaced by second-order pooling."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, nn

from covlayers.functional._base.checks import check_count, check_model
from covlayers.functional._base.errors import InvalidTypeError, InvalidValueError, UnsupportedError
from covlayers.modules.pooling.build_pool import PoolFactory, build_pool
from covlayers.modules.pooling.second_order_head import SecondOrderHead
from covlayers.surgery.pooled_features import (
    ChannelsFirst,
    ClassTokenFirst,
    PooledFeatures,
    drop_hidden_layers,
    on_meta,
    take_dropout,
    try_head,
)

BY_HAND = (
    "Build it by hand: torch.nn.Sequential(features, pool, torch.nn.Linear(pool.out_features, "
    "num_classes)) for maps, SecondOrderHead(embed_dim, num_classes) after the features for tokens."
)
MEANS = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)


class _Head(NamedTuple):
    """What the new head is to be."""

    pool: PoolFactory
    num_classes: int
    options: dict[str, Any]

    def of_maps(self, channels: int, like: Tensor) -> tuple[nn.Module, nn.Linear]:
        """The pooling and the classifier, on the device and in the dtype of ``like``."""
        if "fusion" in self.options:
            raise InvalidValueError(
                f"fusion must not be given where there is no class token to fuse, got "
                f"{self.options['fusion']!r} for a model without; leave it out."
            )
        place: Any = {"device": like.device, "dtype": like.dtype}
        pool = build_pool(self.pool, channels, self.options, **place)
        features: Any = pool.out_features
        return pool, nn.Linear(features, self.num_classes, **place)

    def of_tokens(self, embed_dim: int, like: Tensor) -> SecondOrderHead:
        """The head of tokens with a class token, on the device and in the dtype of ``like``."""
        place: Any = {"device": like.device, "dtype": like.dtype}
        return SecondOrderHead(embed_dim, self.num_classes, pool=self.pool, **self.options, **place)


class AsClassToken(nn.Module):
    """Logits as the one token of a sequence, where a model looks for its class token."""

    def forward(self, logits: Tensor) -> Tensor:
        """Lay ``(N, K)`` out as ``(N, 1, K)``."""
        return logits.unsqueeze(1)


def replace_head(
    model: nn.Module, pool: PoolFactory, num_classes: int, **options: Any
) -> nn.Module:
    r"""Replace the classification head of a model by second-order pooling and a linear layer.

    The features :math:`X` stay, with their very parameters, and the logits become
    :math:`W \operatorname{pool}(X) + b`. The new layers are fresh, on the device and in the dtype
    of the old classifier and in the mode of the model. The function knows a model by its structure:

    - ``avgpool``, a mean over all positions, and a last child that is a linear layer or ends in
      some, as in ResNet, ConvNeXt, EfficientNet, MobileNetV3, RegNet, Swin and the video ResNets of
      torchvision. ``avgpool`` becomes the pooling, after the layers that the classifier begins with
      and that act on maps (the norm of ConvNeXt). The last dropout and auxiliary classifiers
      stay, hidden linear layers go.
    - ``class_token``, ``encoder.ln`` and ``heads``, as in the VisionTransformer of torchvision. A
      :class:`~covlayers.SecondOrderHead` follows ``encoder.ln``, and
      ``heads`` becomes :class:`torch.nn.Identity`.
    - the interface of timm: ``forward_features``, ``num_features``, ``reset_classifier``. The model
      loses its pooling, its classifier and the hidden layers of VGG; the function returns a new
      module around it. With a class token the head is a ``SecondOrderHead`` without dropout, which
      ignores registers and distillation tokens. Without one, the dropout of the model goes between
      pooling and classifier.

    Without ``reduced_channels`` the 2048 channels of a ResNet-50 give :math:`2048 \cdot 2049/2`
    features, two million for each class; the papers reduce the channels to 256.

    Args:
        model: the model, changed in place; unchanged if this raises.
        pool: class, or function, to build the pooling from the number of channels, ``device``,
            ``dtype`` and options; it has the attribute ``out_features``.
        num_classes: number :math:`K \ge 1` of logits.
        **options: of ``pool``, e.g. ``reduced_channels``; for a model with a class token also
            ``fusion``.

    Shape:
        - Output: the model, with logits :math:`(N, K)`

    Raises:
        InvalidValueError: for a number out of range, or a ``fusion`` without a class token; and as
            ``pool`` itself.
        InvalidTypeError: for an argument of a wrong type, and as ``pool`` itself.
        UnsupportedError: for a model of another structure, a timm model that cannot do without its
            pooling, or features of a single position.

    Example:
        >>> model = nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 64, 3)))
        >>> model.avgpool, model.flat = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        >>> model.fc = nn.Linear(64, 1000)
        >>> model = replace_head(model, CovPool, 10, reduced_channels=16)
        >>> model.fc, model(torch.randn(2, 3, 8, 8)).shape
        (Linear(in_features=136, out_features=10, bias=True), torch.Size([2, 10]))

    Reference:
        :cite:t:`li2018towards`, :cite:t:`xie2021sovit`.
    """
    check_model(model)
    check_count("num_classes", num_classes)
    for fits, replace in RECIPES:
        if fits(model):
            return replace(model, _Head(pool, num_classes, options))
    raise UnsupportedError(
        "model must be a classifier of timm, or have avgpool and a last linear layer, or "
        "class_token, encoder.ln and heads, as in torchvision, "
        f"got {type(model).__name__}. {BY_HAND}"
    )


def _has(model: nn.Module, *names: str) -> bool:
    return all(hasattr(model, name) for name in names)


def _last_layers(model: nn.Module) -> tuple[str, list[nn.Module]]:
    """The name of the last child, and its layers in order."""
    name, last = list(model.named_children())[-1]
    return name, list(last) if isinstance(last, nn.Sequential) else [last]


def _classifies_maps(model: nn.Module) -> bool:
    mean = getattr(model, "avgpool", None)
    one = isinstance(mean, MEANS) and mean.output_size in (1, (1,), (1, 1), (1, 1, 1))
    return one and any(isinstance(layer, nn.Linear) for layer in _last_layers(model)[1])


def _replace_maps(model: Any, head: _Head) -> nn.Module:
    name, layers = _last_layers(model)
    linears = [layer for layer in layers if isinstance(layer, nn.Linear)]
    flat = next((i for i, layer in enumerate(layers) if isinstance(layer, nn.Flatten)), 0)
    on_maps, dropouts = layers[:flat], [x for x in layers[flat:] if isinstance(x, nn.Dropout)]
    pool, linear = head.of_maps(linears[0].in_features, linears[-1].weight)
    pool.train(model.training)
    model.avgpool = nn.Sequential(*on_maps, pool) if on_maps else pool
    classifier = nn.Sequential(*dropouts[-1:], linear) if len(layers) > 1 else linear
    setattr(model, name, classifier.train(model.training))
    return model


def _classifies_encoded(model: Any) -> bool:
    return _has(model, "class_token", "encoder", "heads") and _has(model.encoder, "ln")


def _replace_encoded(model: Any, head: _Head) -> nn.Module:
    *_, like = model.parameters()
    second_order = head.of_tokens(model.class_token.shape[-1], like).train(model.training)
    layers = OrderedDict(norm=model.encoder.ln, head=second_order, place=AsClassToken())
    model.encoder.ln = nn.Sequential(layers)
    model.heads = nn.Identity()
    return model


def _is_timm(model: nn.Module) -> bool:
    return _has(model, "forward_features", "num_features", "reset_classifier")


def _replace_timm(model: Any, head: _Head) -> nn.Module:
    *_, like = model.parameters()
    trial = on_meta(model)
    try:
        trial.reset_classifier(0, "")
    except Exception as error:  # whatever the model's own code raises
        raise UnsupportedError(
            "model must have a reset_classifier that can remove its pooling, "
            f"got {type(model).__name__}, which says: {error} {BY_HAND}"
        ) from error
    hidden = drop_hidden_layers(trial)
    channels = trial.num_features
    if not hidden:
        channels = getattr(trial, "head_hidden_size", channels)
    token = getattr(model, "cls_token", None) is not None
    token = getattr(model, "has_class_token", token)
    prefix = getattr(model, "num_prefix_tokens", int(token))
    if token:
        layers: list[nn.Module] = [ClassTokenFirst(prefix), head.of_tokens(channels, like)]
    else:
        channels_last = getattr(model, "output_fmt", "NCHW") != "NCHW"
        pool, linear = head.of_maps(channels, like)
        layers = [ChannelsFirst(channels, channels_last, prefix), pool, linear]
    try:
        try_head(trial, nn.Sequential(*layers), like.dtype)
    except (InvalidValueError, InvalidTypeError) as error:
        raise UnsupportedError(
            "model must have features at two positions or more for its usual input, "
            f"got {type(model).__name__}, for which the new head says: {error} {BY_HAND}"
        ) from error
    dropout = take_dropout(model)
    if not token:
        layers.insert(2, dropout)
    drop_hidden_layers(model)
    model.reset_classifier(0, "")
    return PooledFeatures(model, nn.Sequential(*layers))


Recipe = tuple[Callable[[nn.Module], bool], Callable[[Any, _Head], nn.Module]]
RECIPES: tuple[Recipe, ...] = (
    (_is_timm, _replace_timm),
    (_classifies_maps, _replace_maps),
    (_classifies_encoded, _replace_encoded),
)
