"""Classification heads replaced by second-order pooling."""

from functools import partial
from typing import Any

from torch import Tensor, nn

from covlayers.functional._base.checks import check_count, check_model
from covlayers.functional._base.errors import InvalidTypeError, InvalidValueError, UnsupportedError
from covlayers.modules.pooling.build_pool import PoolFactory
from covlayers.surgery.head_recipes import RECIPES, Plan, of_module
from covlayers.surgery.new_head import NewHead, Unfit
from covlayers.surgery.trial import on_meta, tried, usual_input

BY_HAND = (
    "Name the module whose maps are pooled, as in features='layer4', or build it by hand: "
    "torch.nn.Sequential(features, pool, torch.nn.Linear(pool.out_features, num_classes)) for "
    "maps, SecondOrderHead(embed_dim, num_classes) after the features for tokens."
)


def replace_head(
    model: nn.Module,
    pool: PoolFactory,
    num_classes: int,
    *,
    features: str | None = None,
    example: Tensor | None = None,
    **options: Any,
) -> nn.Module:
    r"""Replace the classification head of a model by second-order pooling and a linear layer.

    The features :math:`X` stay, with their very parameters, and the logits become
    :math:`W \operatorname{pool}(X) + b`. The new layers are fresh, on the device and in the dtype
    of the old classifier and in the mode of the model. The function knows a model by its structure:

    - the interface of timm: ``forward_features``, ``num_features``, ``reset_classifier``. The model
      loses its pooling, its classifier and the hidden layers of VGG; the function returns a new
      module around it. With a class token the head is a ``SecondOrderHead`` without dropout, which
      ignores registers and distillation tokens. Without one, the dropout of the model goes between
      pooling and classifier.
    - ``avgpool``, a mean over all positions, and a last child that is a linear layer or ends in
      some, as in ResNet, ConvNeXt, EfficientNet, MobileNetV3, RegNet, Swin and the video ResNets of
      torchvision. ``avgpool`` becomes the pooling, after the layers that the classifier begins with
      and that act on maps (the norm of ConvNeXt). The last dropout and auxiliary classifiers
      stay, hidden linear layers go.
    - ``class_token``, ``encoder.ln`` and ``heads``, as in the VisionTransformer of torchvision. A
      :class:`~covlayers.SecondOrderHead` follows ``encoder.ln``, and
      ``heads`` becomes :class:`torch.nn.Identity`.
    - a forward pass that ``torch.fx`` can follow, from the last maps :math:`(N, C, *)` on a single
      path to a classifier that reads their channels, as in DenseNet, VGG, MobileNetV2, MNASNet,
      ShuffleNetV2, SqueezeNet and MaxViT of torchvision. The function returns a new module around
      the part of the model up to these maps. Its last dropout goes between pooling and classifier.

    For any other model name the module whose output is pooled by ``features``.

    Before the model is changed, a copy on the meta device is changed and takes two inputs, if some
    are found that the model takes, or an ``example`` is given. Where the copy raises, or gives
    another tensor than logits :math:`(2, K)`, the function raises.

    Without ``reduced_channels`` the 2048 channels of a ResNet-50 give :math:`2048 \cdot 2049/2`
    features, two million for each class; the papers reduce the channels to 256.

    Args:
        model: the model, changed in place; unchanged if this raises. Where the function returns a
            new module, that has its modules.
        pool: class, or function, to build the pooling from the number of channels, ``device``,
            ``dtype`` and options; it has the attribute ``out_features``.
        num_classes: number :math:`K \ge 1` of logits.
        features: dotted name of the module whose output :math:`(N, C, *)` is pooled, whatever the
            structure of the model, without a dropout; None finds it. ``torch.fx`` has to follow the
            forward passes of the model and of what contains the module, up to it.
        example: a batch of inputs, where the function does not find their shape; only its shape and
            dtype count.
        **options: of ``pool``, e.g. ``reduced_channels``; for a model with a class token also
            ``fusion``.

    Shape:
        - Output: the model, with logits :math:`(N, K)`

    Raises:
        InvalidValueError: for a number out of range, no module of the name ``features``, an
            ``example`` that the model does not take, or a ``fusion`` without a class token; and as
            ``pool`` itself.
        InvalidTypeError: for an argument of a wrong type, and as ``pool`` itself.
        UnsupportedError: for a model of another structure, a timm model that cannot do without its
            pooling, features of a single position, or a new head that gives no logits.

    Example:
        >>> model = nn.Sequential()
        >>> model.conv, model.avgpool = nn.Conv2d(3, 64, 3), nn.AdaptiveAvgPool2d(1)
        >>> model.flat, model.fc = nn.Flatten(), nn.Linear(64, 1000)
        >>> model = replace_head(model, CovPool, 10, reduced_channels=16)
        >>> model.fc, model(torch.randn(2, 3, 8, 8)).shape
        (Linear(in_features=136, out_features=10, bias=True), torch.Size([2, 10]))
        >>> maps = nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU())
        >>> model = nn.Sequential(maps, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(64, 9))
        >>> replace_head(model, CovPool, 10, features="0")(torch.randn(2, 3, 8, 8)).shape
        torch.Size([2, 10])

    Reference:
        :cite:t:`li2018towards`, :cite:t:`xie2021sovit`.
    """
    check_model(model)
    check_count("num_classes", num_classes)
    _check_features(model, features)
    x = _input(model, example)
    recipes = RECIPES if features is None else (partial(of_module, features),)
    head = NewHead(pool, num_classes, options)
    reasons: list[str] = []
    for recipe in recipes:
        try:
            plan = recipe(model, head, x)
            if plan is None:
                continue
            if x is not None:
                _prove(plan, model, x, num_classes)
        except Unfit as reason:
            reasons.append(str(reason))
        else:
            return plan.install(model, plan.layers)
    structure = (
        "be a classifier of timm, or have avgpool and a last linear layer, or class_token, "
        f"encoder.ln and heads, as in torchvision, got {type(model).__name__}."
    )
    raise UnsupportedError(f"model must {[*reasons, structure][0]} {BY_HAND}")


def _check_features(model: nn.Module, features: str | None) -> None:
    if not (features is None or isinstance(features, str)):
        raise InvalidTypeError(
            f"features must be the name of a module or None, got {features!r}; "
            "model.named_modules() has the names."
        )
    if features is not None and features not in dict(model.named_modules()).keys() - {""}:
        raise InvalidValueError(
            f"features must be the name of a module of the model, got {features!r}; "
            "model.named_modules() has the names."
        )


def _input(model: nn.Module, example: Tensor | None) -> Tensor | None:
    if not (example is None or isinstance(example, Tensor)):
        raise InvalidTypeError(
            f"example must be a batch of inputs, a tensor, or None, got {example!r}; "
            "torch.empty(1, 3, 224, 224) would do for images."
        )
    x = usual_input(model, example)
    if x is None and example is not None:
        raise InvalidValueError(
            "example must be a batch of inputs that the model takes in evaluation, got shape "
            f"{tuple(example.shape)} of {example.dtype}; a copy on the meta device raised."
        )
    return x


def _prove(plan: Plan, model: nn.Module, x: Tensor, num_classes: int) -> None:
    """Run the plan on copies, which must give logits, unless they need the values of a tensor."""
    given = type(model).__name__
    try:
        logits = tried(plan.install(on_meta(model), on_meta(plan.layers)), x)
    except (InvalidValueError, InvalidTypeError) as error:
        raise Unfit(
            "have features at two positions or more for its usual input, "
            f"got {given}, for which the new head says: {error}"
        ) from error
    except Exception as error:  # whatever the model's own code raises
        if "meta tensor" in str(error) or isinstance(error, NotImplementedError):
            return
        raise Unfit(f"give logits with the new head, got {given}, which says: {error}.") from error
    if isinstance(logits, Tensor) and logits.shape != (2, num_classes):
        raise Unfit(
            f"give logits (2, {num_classes}) with the new head, got shape {tuple(logits.shape)} "
            f"from {given}."
        )
