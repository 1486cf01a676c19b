"""How a new head gets into a model: one recipe for each structure that models have."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from torch import Tensor, nn

from covlayers.surgery.cut import MEANS, Cut, cut_at, cut_at_last_maps
from covlayers.surgery.new_head import NewHead, Unfit
from covlayers.surgery.pooled_features import (
    ChannelsFirst,
    ClassTokenFirst,
    PooledFeatures,
    drop_hidden_layers,
    take_dropout,
)
from covlayers.surgery.trial import on_meta, tried


class Plan(NamedTuple):
    """New layers, and how to put them, or a copy of them, into the model, or a copy of it."""

    layers: nn.Module
    install: Callable[[Any, Any], nn.Module]


Recipe: TypeAlias = Callable[[Any, NewHead, Tensor | None], Plan | None]
"""From a model, a head and an input to the plan, None for a model of another structure."""


class AsClassToken(nn.Module):
    """Logits as the one token of a sequence, where a model looks for its class token."""

    def forward(self, logits: Tensor) -> Tensor:
        """Lay ``(N, K)`` out as ``(N, 1, K)``."""
        return logits.unsqueeze(1)


def _has(model: nn.Module, *names: str) -> bool:
    return all(hasattr(model, name) for name in names)


def of_avgpool(model: Any, head: NewHead, _: Tensor | None) -> Plan | None:
    """For ``avgpool`` and a last child that is a linear layer or ends in some."""
    mean = getattr(model, "avgpool", None)
    if not (isinstance(mean, MEANS) and mean.output_size in (1, (1,), (1, 1), (1, 1, 1))):
        return None
    name, last = list(model.named_children())[-1]
    layers = list(last) if isinstance(last, nn.Sequential) else [last]
    linears = [layer for layer in layers if isinstance(layer, nn.Linear)]
    if not linears:
        return None
    flat = next((i for i, layer in enumerate(layers) if isinstance(layer, nn.Flatten)), 0)
    dropouts = [layer for layer in layers[flat:] if isinstance(layer, nn.Dropout)][-1:]

    def install(model: Any, new: Any) -> nn.Module:
        pool, linear = new.train(model.training)
        on_maps = list(getattr(model, name))[:flat] if flat else []
        model.avgpool = nn.Sequential(*on_maps, pool) if on_maps else pool
        classifier = nn.Sequential(*dropouts, linear) if len(layers) > 1 else linear
        classifier.training = model.training
        setattr(model, name, classifier)
        return model

    return Plan(nn.ModuleList(head.of_maps(linears[0].in_features, linears[-1].weight)), install)


def of_encoder(model: Any, head: NewHead, _: Tensor | None) -> Plan | None:
    """For ``class_token``, ``encoder.ln`` and ``heads`` with a linear layer."""
    if not (_has(model, "class_token", "encoder", "heads") and _has(model.encoder, "ln")):
        return None
    linears = [part for part in model.heads.modules() if isinstance(part, nn.Linear)]
    if not linears:
        return None

    def install(model: Any, new: Any) -> nn.Module:
        layers = OrderedDict(norm=model.encoder.ln, head=new, place=AsClassToken())
        new.train(model.training)
        model.encoder.ln = nn.Sequential(layers)
        model.heads = nn.Identity()
        return model

    return Plan(head.of_tokens(model.class_token.shape[-1], linears[-1].weight), install)


def of_timm(model: Any, head: NewHead, _: Tensor | None) -> Plan | None:
    """For the interface of timm: ``forward_features``, ``num_features``, ``reset_classifier``."""
    if not _has(model, "forward_features", "num_features", "reset_classifier"):
        return None
    *_, like = model.parameters()
    trial = on_meta(model)
    try:
        trial.reset_classifier(0, "")
    except Exception as error:  # whatever the model's own code raises
        raise Unfit(
            "have a reset_classifier that can remove its pooling, "
            f"got {type(model).__name__}, which says: {error}"
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
        layers = [ChannelsFirst(channels, channels_last, prefix), pool, nn.Dropout(0.0), linear]

    def install(model: Any, new: Any) -> nn.Module:
        dropout = take_dropout(model)
        if not token:
            new[2] = dropout
        drop_hidden_layers(model)
        model.reset_classifier(0, "")
        return PooledFeatures(model, new)

    return Plan(nn.Sequential(*layers), install)


def of_last_maps(model: Any, head: NewHead, x: Tensor | None) -> Plan | None:
    """For any model that torch.fx can follow from its last maps to its logits."""
    if x is None:
        return None
    return _of_cut(cut_at_last_maps(on_meta(model), x), model, head)


def of_module(name: str, model: Any, head: NewHead, x: Tensor | None) -> Plan:
    """For the module of this name, whose output is pooled."""
    if x is None:
        raise Unfit(
            f"run on a guessed input, got {type(model).__name__}, for which none was found; pass "
            "an example."
        )
    trial, outputs = on_meta(model), []
    hook = trial.get_submodule(name).register_forward_hook(lambda *call: outputs.append(call[-1]))
    tried(trial, x)
    hook.remove()
    if len(outputs) != 1 or not isinstance(outputs[0], Tensor) or outputs[0].dim() < 3:
        came = [tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__ for y in outputs]
        raise Unfit(
            f"have, for its features, a module that gives maps (N, C, *) once, got {name!r}, "
            f"which gives {came or 'nothing'}."
        )
    return _of_cut(cut_at(trial, name, outputs[0].shape[1]), model, head)


def _of_cut(cut: Cut, model: nn.Module, head: NewHead) -> Plan:
    *_, like = model.parameters()
    pool, linear = head.of_maps(cut.channels, like)
    layers = [pool, nn.Dropout(cut.dropout), linear] if cut.dropout else [pool, linear]
    return Plan(nn.Sequential(*layers), lambda model, new: PooledFeatures(cut.applied(model), new))


RECIPES: tuple[Recipe, ...] = (of_timm, of_avgpool, of_encoder, of_last_maps)
