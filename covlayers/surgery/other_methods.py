"""Whether a model's other methods, beside ``forward``, see two modules as neighbours too."""

import copy
import inspect
from types import FunctionType
from typing import Any

from torch import fx, nn

from covlayers.surgery.neighbours import Neighbour, Tracer, neighbours_in, uses

OUTSIDE = " "
"""The name of what is no part of a module."""
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
ALL_CHILDREN = {"children", "named_children", "_modules"}
# Packages whose methods call whole modules, or are for use by their forward pass alone.
NOT_ASKED = {"torch", "torchvision", "pytorch_lightning", "lightning"}


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
                    if not graphs or any(
                        uses(graph)[inside[0]] + uses(graph)[inside[1]]
                        and neighbours_in(module, graph).get(inside[0]) != expected
                        for graph in graphs
                    ):
                        del found[norm]
    return found


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
        theirs = (method.__module__ or "").partition(".")[0] in NOT_ASKED  # none of generated code
        if not theirs and name != "forward" and not name.startswith("_"):
            code = method.__code__
            if code.co_argcount > 1 or code.co_flags & inspect.CO_VARARGS:
                methods.append((name, method, _names(code)))
    return methods


def _names(code: Any) -> set[str]:
    """The names in a function and in the functions within it."""
    inner = (_names(one) for one in code.co_consts if inspect.iscode(one))
    return set(code.co_names).union(*inner)


def _graphs(module: nn.Module, name: str, method: FunctionType) -> list[fx.Graph]:
    """The method with its optional arguments given and omitted, as far as torch.fx can follow."""
    parameters = inspect.signature(method).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    graphs = []
    for omitted in [{}, defaults] if defaults else [{}]:
        tracer = Tracer()
        tracer.traced_func_name = name
        try:
            graphs.append(tracer.trace(copy.deepcopy(module).eval(), concrete_args=omitted))
        except Exception:  # whatever the model's own code raises when it meets a proxy
            continue
    return graphs
