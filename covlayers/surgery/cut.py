"""A model cut behind its features, as torch.fx sees its forward pass."""

from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from covlayers.surgery.new_head import Unfit

MEANS = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
MOST_LAYERS = 3
"""Of a classifier, as in VGG; more are taken for a part of the features."""


class _OneInput(nn.Module):
    """A model that takes its first argument alone, the others as by default."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Any:
        return self.model(x)


class _Reached(Exception):  # noqa: N818  no error
    """The output of the module that a trace looks for."""


class _Tracer(fx.Tracer):
    """Follows the forward pass of a model itself, and of what contains the module looked for.

    What is within other modules, such as a test of ``self.training``, stays as it is.
    """

    def __init__(self, name: str = "") -> None:
        super().__init__()
        self.looked_for = f"model.{name}"

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not self.looked_for.startswith(f"{module_qualified_name}.")

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        output = super().call_module(m, forward, args, kwargs)
        if self.path_of_module(m) == self.looked_for:
            raise _Reached(output)
        return output


class Cut(NamedTuple):
    """Where a model is cut, and what stood behind."""

    graph: fx.Graph
    features: fx.Node
    channels: int
    dropout: float

    def applied(self, model: nn.Module) -> nn.Module:
        """The part of the model up to the features, of its very modules.

        Raises:
            Unfit: if a function in it depends on the mode, as a trace takes it as in evaluation.
        """
        nodes: dict[fx.Node, fx.Node] = {}
        graph = fx.Graph()
        for node in self.graph.nodes:
            if "training" in node.kwargs:
                raise Unfit(
                    "have modules for what depends on the mode, got "
                    f"{type(model).__name__}, which calls {node.target.__name__} by itself."
                )
            nodes[node] = graph.node_copy(node, nodes.__getitem__)
            nodes[node].target = _own_name(node)
            if node is self.features:
                break
        graph.output(nodes[self.features])
        part = fx.GraphModule(model, graph, type(model).__name__)
        for module in part.modules():
            if type(module) is nn.Module:  # a container without its class
                module.training = model.training
        return part


def _own_name(node: fx.Node) -> Any:
    """The target of a node in the model, without the ``_OneInput`` around it."""
    if node.op in ("call_module", "get_attr"):
        return str(node.target).removeprefix("model.")
    return node.target


def cut_at(trial: nn.Module, name: str, channels: int) -> Cut:
    """Cut a model, of which a copy is traced, behind a module of it."""
    tracer = _Tracer(name)
    try:
        tracer.trace(_OneInput(trial.eval()))
    except _Reached as reached:
        features = reached.args[0].node
    except Exception as error:  # whatever the model's own code raises when it meets a proxy
        raise Unfit(
            f"have a forward pass that torch.fx can follow to {name!r}, got "
            f"{type(trial).__name__}, for which it says: {error}"
        ) from error
    else:
        raise Unfit(f"call {name!r} by this name, got {type(trial).__name__}, which does not.")
    return Cut(tracer.graph, features, channels, 0.0)


class _Shapes(fx.Interpreter):
    """Runs a graph and keeps what each node gives."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.values: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        self.values[n] = super().run_node(n)
        return self.values[n]


def cut_at_last_maps(trial: nn.Module, x: Tensor) -> Cut:
    """Cut a model, of which a copy is traced and run, behind its last maps of several positions.

    The rest has to be a classifier: a single path with weights in one module, few layers, of which
    the first has as many inputs as the maps have channels, or as they have values.
    """
    root, given = _OneInput(trial.eval()), type(trial).__name__
    try:
        run = _Shapes(fx.GraphModule(root, _Tracer().trace(root)))
        with torch.no_grad():
            logits = run.run(x)
    except Exception as error:  # whatever the model's own code raises when it meets a proxy
        raise Unfit(
            "have a forward pass that torch.fx can follow, or avgpool and a last linear layer, or "
            f"be of timm, got {given}, for which it says: {error}"
        ) from error
    nodes = list(run.graph.nodes)
    maps = [n for n in nodes if n.op != "placeholder" and _is_map(run.values.get(n))]
    if not (maps and isinstance(logits, Tensor) and logits.dim() == 2):
        raise Unfit(f"classify maps (N, C, H, W) of several positions, got {given}.")
    features = last = maps[-1]
    while isinstance(_called(root, features), MEANS):
        features = features.all_input_nodes[0]
    tail = nodes[nodes.index(features) + 1 : -1]
    behind = [part for node in tail for part in _called(root, node).modules()]
    _, channels, *positions = run.values[last].shape
    others = {n for node in tail for n in node.all_input_nodes} - {features, *tail}
    alone = all(isinstance(run.values[n], int | torch.Size) for n in others)
    weighted = [[p for p in _called(root, n).modules() if isinstance(p, WEIGHTED)] for n in tail]
    weighted = [layers for layers in weighted if layers]
    if not (alone and len(weighted) == 1 and _classifies(weighted[0], channels, positions)):
        raise Unfit(
            "have a classifier that reads the channels of its last maps and nothing else, got "
            f"{given}, whose last maps have shape {tuple(run.values[last].shape)}."
        )
    dropouts = [part.p for part in behind if isinstance(part, nn.Dropout)]
    return Cut(run.graph, features, channels, dropouts[-1] if dropouts else 0.0)


def _is_map(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() > 3 and prod(value.shape[2:]) > 1


def _called(root: nn.Module, node: fx.Node) -> nn.Module:
    """The module that a node calls, one without parts for none."""
    return root.get_submodule(str(node.target)) if node.op == "call_module" else nn.Identity()


def _classifies(layers: list[Any], channels: int, positions: list[int]) -> bool:
    inputs = getattr(layers[0], "in_features", getattr(layers[0], "in_channels", 0))
    return len(layers) <= MOST_LAYERS and inputs in (channels, channels * prod(positions))
