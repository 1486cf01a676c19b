"""Every public name says all that it has to: ``python -m tests.test_documentation`` counts it.

The names are the classes and functions of ``__all__``; the menus METHODS and BACKWARDS are
described on the page of the functions.
"""

import ast
import builtins
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
import torch

import covlayers
from covlayers import functional
from covlayers.functional.functions import INVSQRT, LOG, SQRT
from tests.signatures import parameters as parameters_of

DOCS = Path(__file__).parents[1] / "docs"
NAMES = {
    name: getattr(tier, name)
    for tier in (functional, covlayers)
    for name in tier.__all__
    if callable(getattr(tier, name))
}
SECTIONS = ("Args", "Attributes", "Shape", "Raises", "Example", "Reference")

# What these are is a matter of words, not of a formula: choices, interfaces, errors, options.
IN_WORDS = {
    *("Auto", "Method", "DirectMethod", "Backward", "Rule", "Saved", "Selection", "select"),
    *("InvalidTypeError", "InvalidValueError", "UnsupportedError", "ConvergenceError"),
    *("convert_sync", "freeze_stats"),
}

# Why there is no publication to refer to.
NO_SOURCE = {
    "chooses by the measurements of this library": {"Auto"},
    "an interface of this library": {
        *("Method", "DirectMethod", "Backward", "Rule", "Saved", "Selection", "LyapunovSolver"),
        "select",
    },
    "an error of this library": {
        *("InvalidTypeError", "InvalidValueError", "UnsupportedError", "ConvergenceError"),
    },
    "a definition or a layout": {"covariance", "cross_covariance", "triu_vector", "triu_matrix"},
    "two affine maps in one": {"fold"},
    "sets an option of the layers": {"convert_sync", "freeze_stats"},
}
SOURCELESS = set().union(*NO_SOURCE.values())

# How an argument that is a number says which numbers it may be.
RANGE = re.compile(
    r"\\ge|[<>] 0|at (least|most)|in [\[(]0, 1\]|must\s+divide|from 1 |finite|real number"
    r"|as\s+:class:`"
)
TENSOR_SHAPE = re.compile(r"\([*NG], |scalar")


def kind(name: str) -> str:
    obj = NAMES[name]
    if inspect.isfunction(obj):
        return "function"
    if issubclass(obj, torch.nn.Module):
        return "module"
    if issubclass(obj, Exception):
        return "error"
    if obj in functional.METHODS.values():
        return "method"
    if obj in functional.BACKWARDS.values():
        return "rule"
    return "base class" if name in functional.__all__ else "monitor"


def sections(name: str) -> dict[str, str]:
    """The docstring by section, its beginning under the empty name."""
    text = inspect.getdoc(NAMES[name]) or ""
    parts = re.split(rf"^({'|'.join(SECTIONS)}):\n", text, flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def has_formula(name: str) -> bool:
    return bool(re.search(r":math:|\.\. math::", sections(name)[""]))


def entries(section: str) -> dict[str, str]:
    """What a section says of each name, of some names together."""
    found = re.findall(r"^ {4}\**(\w+(?:, \w+)*): (.*(?:\n {8}.*)*)", section, re.MULTILINE)
    return {name: text for names, text in found for name in names.split(", ")}


def parameters(obj: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters of a function or a constructor, also inherited, not torch's or Python's."""
    made = obj if inspect.isfunction(obj) else obj.__init__
    ours = getattr(made, "__module__", "").startswith("covlayers")
    return parameters_of(obj) if ours else {}


def refuses(name: str) -> bool:
    """Whether it raises: a module for its input, a rule for a derivative that it has not, and else
    as is seen when each argument is what none may be. Nobody calls a base class or an error.
    """
    obj = NAMES[name]
    if kind(name) in ("base class", "error"):
        return False
    if kind(name) == "module":
        return True
    if kind(name) == "rule" and issubclass(obj, functional.Rule):
        fns, rule = (SQRT, INVSQRT, LOG), obj()
        if not all(rule.serves(fn) and rule.any_order(fn) for fn in fns):
            return True
    given = [p for p in parameters(obj).values() if p.kind is not p.VAR_KEYWORD]
    by_name = {p.name: object() for p in given if p.kind is p.KEYWORD_ONLY}
    try:
        obj(*(object() for p in given if p.kind is not p.KEYWORD_ONLY), **by_name)
    except Exception:
        return True
    return False


def needs(name: str) -> dict[str, bool]:
    """What is asked of a docstring, and whether it has it. Shapes are asked of what works on
    tensors; methods and rules are options, and work where a function or a module takes them.
    """
    found = sections(name)
    asked = {
        "summary": bool(re.match(r".+[.]$", found[""].split("\n")[0])),
        "words" if name in IN_WORDS else "formula": name in IN_WORDS or has_formula(name),
        "Shape": ":math:`(" in found.get("Shape", "") or "Output: " in found.get("Shape", ""),
        "Args": parameters(NAMES[name]).keys() <= entries(found.get("Args", "")).keys(),
        "Raises": bool(entries(found.get("Raises", ""))),
        "Example": ">>> " in found.get("Example", ""),
        "Reference": bool(re.search(":cite:|:func:", found.get("Reference", ""))),
    }
    spared = {
        "Shape": kind(name) not in ("function", "module"),
        "Args": not parameters(NAMES[name]),
        "Raises": not refuses(name),
        "Reference": name in SOURCELESS,
    }
    return {what: has for what, has in asked.items() if not spared.get(what, False)}


def shown() -> Iterator[tuple[type, str]]:
    """The members that the documentation lists, as its configuration chooses them."""
    tree = ast.parse((DOCS / "conf.py").read_text())
    values = {ast.unparse(n.targets[0]): n.value for n in tree.body if isinstance(n, ast.Assign)}
    chosen = eval(compile(ast.Expression(values["autosummary_context"]), "conf.py", "eval"))
    for name in chosen["abstract"]:
        for member, value in vars(NAMES[name]).items():
            if not member.startswith("_") and isinstance(value, property | FunctionType):
                yield NAMES[name], member
    for name, members in chosen["offered"].items():
        yield from ((NAMES[name], member) for member in members.split(", "))


@pytest.mark.parametrize("name", NAMES)
def test_sections(name: str) -> None:
    assert [what for what, has in needs(name).items() if not has] == []


@pytest.mark.parametrize("name", NAMES)
def test_numbers_have_a_range(name: str) -> None:
    said = entries(sections(name).get("Args", ""))
    for parameter, p in parameters(NAMES[name]).items():
        if re.search(r"\b(int|float)\b", inspect.formatannotation(p.annotation)):
            assert RANGE.search(said[parameter]), f"{parameter}: {said[parameter]}"


@pytest.mark.parametrize("name", NAMES)
def test_raised_are_exceptions(name: str) -> None:
    for error in entries(sections(name).get("Raises", "")):
        assert issubclass(getattr(functional, error, getattr(builtins, error, str)), Exception)


def test_citations_are_in_the_bibliography() -> None:
    known = set(re.findall(r"^@\w+{(.+),", (DOCS / "references.bib").read_text(), re.MULTILINE))
    for path in Path(covlayers.__file__).parent.rglob("*.py"):
        for keys in re.findall(r":cite:\w+:`(.+?)`", path.read_text()):
            assert set(keys.split(",")) <= known, path


def test_what_is_spared_needs_to_be() -> None:
    assert {name for name in IN_WORDS if has_formula(name)} == set()
    assert {name for name in SOURCELESS if "Reference" in sections(name)} == set()


@pytest.mark.parametrize(("owner", "member"), list(shown()))
def test_members(owner: type, member: str) -> None:
    """Its own docstring or a class's docstring names each parameter, and the shape of tensors."""
    obj = inspect.getattr_static(owner, member)
    own = inspect.getdoc(getattr(owner, member))
    assert own
    ours = (base for base in owner.__mro__ if base.__module__.startswith("covlayers"))
    text = "\n".join([own, *(base.__doc__ or "" for base in ours)])
    signature = inspect.signature(obj.fget if isinstance(obj, property) else obj)
    for parameter in signature.parameters.keys() - {"self"}:
        named = rf"``[^`]*\b{parameter}\b[^`]*``|^ +\**{parameter}: "
        assert re.search(named, text, re.MULTILINE), parameter
    if "Tensor" in str(signature):
        assert TENSOR_SHAPE.search(text)


def table() -> str:
    """How many names of each kind have what is asked of them."""
    columns = ("summary", "formula", "words", "Shape", "Args", "Raises", "Example", "Reference")
    rows = [("", "names", *columns)]
    for group in dict.fromkeys(map(kind, NAMES)):
        asked = [needs(name) for name in NAMES if kind(name) == group]
        counts = ([has[column] for has in asked if column in has] for column in columns)
        cells = (f"{sum(has)}/{len(has)}" if has else "–" for has in counts)
        rows.append((group, str(len(asked)), *cells))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ((f"{c:>{w}}" for c, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join("  ".join(line) for line in lines)


if __name__ == "__main__":
    print(table())
