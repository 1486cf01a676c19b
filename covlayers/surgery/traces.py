"""The parts of a model that torch.fx can follow, each as its graphs."""

import copy
from typing import Any, NamedTuple

from torch import fx, nn

from covlayers.modules.norms.covariance_norm import CovarianceNorm


class Tracer(fx.Tracer):
    """Takes a layer of this library as one module, and so a module that it cannot follow."""

    def __init__(self) -> None:
        super().__init__()
        self.closed: dict[str, str] = {}
        """Why, for the name of each module that it cannot follow."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        ours = isinstance(m, CovarianceNorm) or type(m).__module__.startswith("covlayers.")
        return ours or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        before, around = len(self.graph.nodes), self.module_stack.copy()
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception as error:  # whatever the module's own code raises when it meets a proxy
            self.module_stack = around
            for node in reversed(list(self.graph.nodes)[before:]):
                self.graph.erase_node(node)
            name = self.path_of_module(m)
            output = self.create_proxy("call_module", name, args, kwargs)
            self.closed[name] = _said(error)
            return output


class Part(NamedTuple):
    """A module that torch.fx can follow, but for the modules closed to it."""

    name: str
    graphs: list[fx.Graph]  # with optional arguments given, and omitted

    def full(self, name: str) -> str:
        """The name in the model of what has this name in the part."""
        return joined(self.name, name)


class Traces(NamedTuple):
    """What torch.fx sees of a model."""

    parts: list[Part]
    closed: dict[str, str]  # why, for the name of each module that it cannot follow

    def closed_around(self, name: str) -> list[str]:
        """The names of the closed modules that contain this one, the outermost first."""
        return sorted((one for one in self.closed if is_within(name, one)), key=len)


def traces(model: nn.Module) -> Traces:
    """Trace a model; of a module that torch.fx cannot follow each child, as if it were the model.

    A trace takes optional arguments as given. Where there are some, a second trace omits them.
    """
    seen, pending = Traces([], {}), [("", model)]
    visited = set()
    for name, module in pending:  # grows on the way
        norms = any(isinstance(m, CovarianceNorm) for m in module.modules() if m is not module)
        if norms and module not in visited:
            visited.add(module)
            try:
                graphs, closed = _traced(module)
            except Exception as error:  # as above
                closed = {"": _said(error)}
            else:
                seen.parts.append(Part(name, graphs))
            for inner, why in closed.items():
                seen.closed[joined(name, inner)] = why
                children = module.get_submodule(inner).named_children()
                pending += [(joined(name, inner, child), one) for child, one in children]
    return seen


def joined(*names: str) -> str:
    """The name of a part of a part; empty names are the module itself."""
    return ".".join(filter(None, names))


def is_within(name: str, around: str) -> bool:
    """Whether a module is a part of another, by their names."""
    return not around or name.startswith(f"{around}.")


def _traced(module: nn.Module) -> tuple[list[fx.Graph], dict[str, str]]:
    twin = copy.deepcopy(module).eval()  # a trace may leave its proxies in attributes
    tracer = Tracer()
    graphs, closed = [tracer.trace(twin)], tracer.closed
    defaults = {n.target: n.args[0] for n in graphs[0].nodes if n.op == "placeholder" and n.args}
    if defaults:
        tracer = Tracer()
        graphs.append(tracer.trace(twin, concrete_args=defaults))
        closed = closed | tracer.closed
    return graphs, closed


def _said(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
