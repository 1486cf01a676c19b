"""What the code of a module names, and which of the parts of its parts it may so reach."""

import ast
import builtins
import inspect
from functools import cache
from textwrap import dedent
from types import FunctionType
from typing import Any, NamedTuple

from torch import nn

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
ALL_CHILDREN = {"children", "named_children", "_modules"}
BY_ANY_NAME = {*ALL_CHILDREN, "modules", "named_modules", "get_submodule", "getattr"}
# Packages whose methods call whole modules, or are for use by their forward pass alone.
NOT_ASKED = {"torch", "torchvision", "pytorch_lightning", "lightning"}


def is_asked(function: Any) -> bool:
    """Whether a function may take modules apart; generated code, of no package, may."""
    return (function.__module__ or "").partition(".")[0] not in NOT_ASKED


def names_in(code: Any) -> set[str]:
    """The names in a function and in the functions within it."""
    inner = (names_in(one) for one in code.co_consts if inspect.iscode(one))
    return set(code.co_names).union(*inner)


def may_reach_apart(module: nn.Module, path: str) -> bool:
    """Whether the forward pass of a module may use a part of a part of it by itself.

    It then names every module on the way, but for those that a container holds, and does more
    with it than call it; or it gives one to other code, or names a method of one that does.
    """
    named, taken, given = _names_through(module, {"forward"})
    if named & BY_ANY_NAME:
        return True
    *way, last = path.split(".")
    around: Any = module
    held = bool(named) and isinstance(module, CONTAINERS)
    for name in way:
        if name in given:
            return True
        if not held and name not in taken:
            return False
        around = around.get_submodule(name)
        held = isinstance(around, CONTAINERS)
        more = _names_through(around, named - {"forward"})
        named, taken, given = named | more.named, taken | more.taken, given | more.given
    return held or last in named


class _Names(NamedTuple):
    """The names in some code."""

    named: set[str]
    taken: set[str]  # those that it does more with than call
    given: set[str]  # those that it gives to other code


def _names_through(module: nn.Module, methods: set[str]) -> _Names:
    """The names in these functions of a module, and in the functions that they name.

    These are its methods, what it holds, and functions of their files.
    """
    found = _Names(set(), set(), set())
    places: list[Any] = [vars(module), *map(vars, type(module).__mro__)]
    pending, done = [(name, places) for name in methods], set()
    for name, where in pending:  # grows on the way
        for function in filter(None, (_function(place.get(name)) for place in where)):
            new = _names_of(function)
            if function not in done:
                done.add(function)
                for names, more in zip(found, new, strict=True):
                    names.update(more)
                for one in new.named - {"forward"}:
                    pending += [(one, places), (one, [function.__globals__])]
            if "super" not in new.named:
                break
    return found


def _function(value: Any) -> FunctionType | None:
    """The Python function behind a method or a property, if it may take modules apart."""
    value = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
    value = inspect.unwrap(value) if inspect.isfunction(value) else None
    return value if inspect.isfunction(value) and is_asked(value) else None


@cache
def _names_of(function: FunctionType) -> _Names:
    named = names_in(function.__code__)
    try:
        nodes = list(ast.walk(ast.parse(dedent(inspect.getsource(function)))))
    except (OSError, TypeError, SyntaxError):  # generated code, or a lambda within an expression
        return _Names(named, named, set())
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    attributes = {node for node in nodes if isinstance(node, ast.Attribute)}
    given = {
        value
        for call in calls
        if not (isinstance(call.func, ast.Name) and hasattr(builtins, call.func.id))
        for value in (*call.args, *(keyword.value for keyword in call.keywords))
    }
    taken = {node.attr for node in attributes - {call.func for call in calls}}
    return _Names(named, taken, {node.attr for node in attributes & given})
