"""Which convolution or linear layer stands alone next to a layer, as torch.fx sees the model."""

from collections import Counter
from typing import Any, NamedTuple

from torch import fx, nn

from covlayers.modules.norms.covariance_norm import CovarianceNorm
from covlayers.surgery.hooks import is_watched
from covlayers.surgery.reach import may_reach_apart
from covlayers.surgery.traces import Part, Traces, traces

MERGEABLE = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


class Neighbour(NamedTuple):
    """The name of a module, and whether it feeds the layer or reads it."""

    name: str
    feeds: bool


def neighbours(model: nn.Module) -> tuple[dict[str, Neighbour], dict[str, str]]:
    """For the name of each layer a module that it may be merged into, or why torch.fx forbids it.

    All graphs of a part have to find the neighbour. No code that torch.fx cannot follow may use
    either of the two but through the whole part. A layer without a neighbour is in neither.
    """
    seen = traces(model)
    paths = Counter(module for _, module in model.named_modules(remove_duplicate=False))
    used = Counter(name for part in seen.parts for name in _used_in(part))
    found: dict[str, Neighbour] = {}
    reasons: dict[str, str] = {}
    for name, module in model.named_modules():
        around = seen.closed_around(name)
        if isinstance(module, CovarianceNorm) and around and not used[name]:
            reasons[name] = _cannot_follow(seen, around[-1])
    for part in seen.parts:
        module = model.get_submodule(part.name)
        first, *others = [neighbours_in(module, graph) for graph in part.graphs]
        for norm, one in first.items():
            if all(other.get(norm) == one for other in others):
                pair = name, other_name = part.full(norm), part.full(one.name)
                shared = any(paths[model.get_submodule(n)] > 1 or used[n] > 1 for n in pair)
                users = [closed for n in pair for closed in _users(model, seen, n)]
                if users:
                    reasons[name] = f"{_cannot_follow(seen, users[0])}; it may use the layer apart"
                elif shared and seen.closed:
                    reasons[name] = "several modules share it, and torch.fx cannot follow them all"
                else:
                    found[name] = Neighbour(other_name, one.feeds)
    return found, reasons


def _cannot_follow(seen: Traces, closed: str) -> str:
    what = repr(closed) if closed else "the model"
    return f"torch.fx cannot follow {what}: {seen.closed[closed]}"


def _used_in(part: Part) -> set[str]:
    return {part.full(name) for graph in part.graphs for name in uses(graph)}


def _users(model: nn.Module, seen: Traces, name: str) -> list[str]:
    """The closed modules around a module whose code may use it by itself."""
    return [
        closed
        for closed in seen.closed_around(name)
        if may_reach_apart(model.get_submodule(closed), name[len(closed) :].lstrip("."))
    ]


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
