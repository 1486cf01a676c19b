"""What in a source file runs code that a file brings along, or opens a picture without a limit."""

import ast
from collections.abc import Iterator
from pathlib import Path

MODULES = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
"""Modules not to be imported, except for their errors."""

CALLS = {
    *("builtins.eval", "builtins.exec", "os.system", "os.popen", "hub.load", "read_pickle"),
    *("yaml.load", "yaml.full_load", "yaml.unsafe_load", "yaml.load_all", "Image.open"),
}
"""How names end that are not to be called, except where they are allowed."""

ALLOWED = {"picture_files.py": {"Image.open"}}
"""Calls that a file may make: this one has a limit."""

NEEDS = {
    "torch.load": ("weights_only", "True"),
    "get_state_dict": ("weights_only", "True"),
    "load_from_checkpoint": ("weights_only", "True"),
    "load_state_dict_from_url": ("weights_only", "True"),
    "ImageFolder": ("loader", "load_rgb"),
}
"""Calls that need an argument, by how they end."""

REFUSED = {"allow_pickle", "shell"}
"""Arguments that a call may have as ``False`` only."""


def unsafe(path: Path) -> Iterator[str]:
    """The lines of a file that are, with what is in them."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found = unsafe_imports(node)
        elif isinstance(node, ast.Call):
            found = unsafe_call(node, ALLOWED.get(path.name, set()))
        else:
            continue
        yield from (f"line {node.lineno}: {what}" for what in found)


def endings(name: str) -> set[str]:
    """A dotted name without its first parts; one without dots is of Python's own."""
    parts = (name if "." in name else f"builtins.{name}").split(".")
    return {".".join(parts[start:]) for start in range(len(parts))}


def unsafe_imports(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """Modules, and functions that would be called by a name that says nothing."""
    for alias in node.names:
        name = alias.name if isinstance(node, ast.Import) else f"{node.module}.{alias.name}"
        module = name.partition(".")[0] in MODULES and not name.endswith("Error")
        if module or (endings(name) - {alias.name}) & (CALLS | NEEDS.keys()):
            yield f"import {name}"


def unsafe_call(node: ast.Call, allowed: set[str]) -> Iterator[str]:
    """Calls, and their arguments."""
    name = ast.unparse(node.func)
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    if endings(name) & CALLS - allowed:
        yield name
    for argument, value in (NEEDS[ending] for ending in endings(name) & NEEDS.keys()):
        if given.get(argument) != value:
            yield f"{name} without {argument}={value}"
    for argument in REFUSED & given.keys():
        if given[argument] != "False":
            yield f"{name} with {argument}={given[argument]}"
