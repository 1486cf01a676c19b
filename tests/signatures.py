"""The parameters of a call, with the options of a TypedDict one by one."""

import inspect
from collections.abc import Callable
from inspect import Parameter
from typing import Any, Unpack, get_args, get_origin, get_type_hints


def parameters(made: Callable[..., Any]) -> dict[str, Parameter]:
    """What a function or a class takes, by name; ``**options: Unpack[Options]`` by its keys."""
    found = dict(inspect.signature(made).parameters)
    for rest in [p for p in found.values() if get_origin(p.annotation) is Unpack]:
        del found[rest.name]
        (options,) = get_args(rest.annotation)
        for name, hint in get_type_hints(options).items():
            default = _default(made, name)
            found[name] = Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=hint)
        last = {name: found.pop(name) for name in ("device", "dtype") if name in found}
        found |= last
    return found


def _default(made: Callable[..., Any], name: str) -> object:
    """The nearest base class that names it says it; what none names is None, as in torch."""
    for base in inspect.getmro(made) if inspect.isclass(made) else ():
        named = inspect.signature(base.__init__).parameters.get(name)
        if named is not None:
            return named.default
    return None
