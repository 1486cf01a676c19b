"""Whether a model's other methods, beside ``forward``, see two modules as neighbours too."""

import copy
import inspect
from collections.abc import Iterable
from types import FunctionType

from torch import fx, nn

from covlayers.surgery.neighbours import Neighbour, neighbours_in, uses
from covlayers.surgery.reach import ALL_CHILDREN, CONTAINERS, is_asked, names_in
from covlayers.surgery.traces import Tracer, is_within

OUTSIDE = " "
"""The name of what is no part of a module."""


def unseparated(model: nn.Module, found: dict[str, Neighbour]) -> dict[str, Neighbour]:
    """The neighbours, less those that another public method uses apart from each other.

    A method that names one of the two is traced. Where torch.fx cannot follow it, what it names
    counts as used apart.
    """
    modules = dict(model.named_modules())
    methods = {kind: _other_methods(kind) for kind in {type(one) for one in modules.values()}}
    for prefix, module in modules.items():
        for name, method, named in methods[type(module)]:
            for norm, neighbour in list(found.items()):
                pair = [_reached(path, prefix, modules) for path in (norm, neighbour.name)]
                if any(first and named & {first, *ALL_CHILDREN} for first in pair):
                    inside = [_inner(one, prefix) or OUTSIDE for one in (norm, neighbour.name)]
                    graphs = _graphs(module, name, method)
                    expected = Neighbour(inside[1], neighbour.feeds)
                    if not graphs or not all(
                        _together(module, graph, closed, inside[0], expected)
                        for graph, closed in graphs
                    ):
                        del found[norm]
    return found


def _together(
    module: nn.Module, graph: fx.Graph, closed: Iterable[str], norm: str, expected: Neighbour
) -> bool:
    """Whether a graph uses a layer and its neighbour as expected, or neither."""
    pair = norm, expected.name
    if any(is_within(one, around) for one in pair for around in closed):
        return False
    used = any(uses(graph)[one] for one in pair)
    return not used or neighbours_in(module, graph).get(norm) == expected


def _inner(path: str, prefix: str) -> str:
    """The path from a module to a part of it; empty for what is none."""
    start = f"{prefix}." if prefix else ""
    return path.removeprefix(start) if path.startswith(start) else ""


def _reached(path: str, prefix: str, modules: dict[str, nn.Module]) -> str:
    """The name by which a module's own code may call a part; empty for none."""
    first, *others = _inner(path, prefix).split(".")
    around = f"{prefix}.{first}".lstrip(".")
    for name in others:
        if type(modules[around]) not in CONTAINERS:
            return ""
        around = f"{around}.{name}"
    return first


def _other_methods(kind: type[nn.Module]) -> list[tuple[str, FunctionType, set[str]]]:
    """Public methods that take something, of the classes of a user, and the names in them."""
    methods = []
    for name, method in inspect.getmembers(kind, inspect.isfunction):
        if is_asked(method) and name != "forward" and not name.startswith("_"):
            code = method.__code__
            if code.co_argcount > 1 or code.co_flags & inspect.CO_VARARGS:
                methods.append((name, method, names_in(code)))
    return methods


def _graphs(
    module: nn.Module, name: str, method: FunctionType
) -> list[tuple[fx.Graph, dict[str, str]]]:
    """The method with its optional arguments given and omitted, as far as torch.fx can follow.

    Beside each graph stand the modules that are closed to it.
    """
    parameters = inspect.signature(method).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    graphs = []
    for omitted in [{}, defaults] if defaults else [{}]:
        tracer = Tracer()
        tracer.traced_func_name = name
        try:
            graph = tracer.trace(copy.deepcopy(module).eval(), concrete_args=omitted)
        except Exception:  # whatever the model's own code raises when it meets a proxy
            continue
        graphs.append((graph, tracer.closed))
    return graphs
