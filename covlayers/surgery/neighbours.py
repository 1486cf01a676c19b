"""Which convolution or linear layer stands alone next to a layer, as torch.fx sees the model."""

import copy
from collections import Counter
from typing import Any, NamedTuple

from torch import fx, nn

from covlayers.modules.norms.covariance_norm import CovarianceNorm
from covlayers.surgery.hooks import is_watched

MERGEABLE = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


class Neighbour(NamedTuple):
    """The name of a module, and whether it feeds the layer or reads it."""

    name: str
    feeds: bool


class Tracer(fx.Tracer):
    """Takes a layer of this library as one module."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        ours = isinstance(m, CovarianceNorm) or type(m).__module__.startswith("covlayers.")
        return ours or super().is_leaf_module(m, module_qualified_name)


def neighbours(model: nn.Module) -> dict[str, Neighbour]:
    """For the name of each layer a module that it may be merged into, if there is one.

    There is none for a model that torch.fx cannot follow. A trace takes optional arguments as
    given. Where there are some, a second trace omits them, and both must find the neighbour.
    """
    traced = copy.deepcopy(model).eval()  # a trace may leave its proxies in attributes
    try:
        given = Tracer().trace(traced)
        defaults = {n.target: n.args[0] for n in given.nodes if n.op == "placeholder" and n.args}
        omitted = Tracer().trace(traced, concrete_args=defaults) if defaults else given
    except Exception:  # whatever the model's own code raises when it meets a proxy
        return {}
    first, second = neighbours_in(model, given), neighbours_in(model, omitted)
    return {name: found for name, found in first.items() if second.get(name) == found}


def neighbours_in(model: nn.Module, graph: fx.Graph) -> dict[str, Neighbour]:
    """For the name of each layer a module that it may be merged into, in one graph."""
    modules = dict(model.named_modules())
    used = uses(graph)
    once = {
        node: modules[str(node.target)]
        for node in graph.nodes
        if node.op == "call_module" and used[_module_name(node)] == 1
    }
    found: dict[str, Neighbour] = {}
    for node, norm in once.items():
        if isinstance(norm, CovarianceNorm) and not is_watched(norm):
            # A reader comes next, as code between could write into what the layer reads.
            sources = [(source, node) for source in node.all_input_nodes]
            for first, second in [*sources, (node, node.next)]:
                other, feeds = (first, True) if second is node else (second, False)
                alone = list(first.users) == [second] and second.all_input_nodes == [first]
                if alone and other in once and _suits(once[other], norm, feeds):
                    found.setdefault(str(node.target), Neighbour(str(other.target), feeds))
    return found


def uses(graph: fx.Graph) -> Counter[str]:
    """How often a graph uses each module, or a parameter of it."""
    return Counter(_module_name(node) for node in graph.nodes)


def _suits(module: Any, norm: CovarianceNorm, feeds: bool) -> bool:
    """Whether the module can take the map of the layer into its own."""
    if type(module) not in MERGEABLE or is_watched(module):
        return False
    groups = getattr(module, "groups", 1)
    outputs, inputs = module.weight.shape[:2]
    channels = outputs if feeds else inputs * groups
    within = channels // groups % (norm.num_features // norm.num_groups) == 0
    return channels == norm.num_features and within and (feeds or not _pads_zeros(module))


def _pads_zeros(module: Any) -> bool:
    padded = getattr(module, "padding", "valid")
    return padded != "valid" and set(padded) != {0} and module.padding_mode == "zeros"


def _module_name(node: fx.Node) -> str:
    """The module that a node calls, or whose parameter it takes; empty for none."""
    name = str(node.target)
    return {"call_module": name, "get_attr": name.rpartition(".")[0]}.get(node.op, "")
