"""The folders stand on one another, and what an underscore marks stays in its own top folder."""

import ast
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import covlayers

ROOT = Path(covlayers.__file__).parent
# From the ground up. A folder stands for all its files but those named by themselves.
LAYERS = [
    ["functional._base"],
    ["functional._iterations"],
    ["functional._features"],
    [
        *("functional.core", "functional.functions", "functional.factored"),
        *("functional.saved", "functional.rule"),
    ],
    [
        *("functional.solvers", "functional.lyapunov", "functional.triangle"),
        *("functional.centered_product", "functional.position_weights", "functional.covariances"),
    ],
    ["functional.gaussian", "functional._batch"],
    ["functional.methods"],
    ["functional.backwards"],
    ["functional"],
    [
        *("modules._factory", "modules._made_once"),
        *("modules._outweighing_eps", "modules._ranges", "modules._statistic_buffers"),
    ],
    ["modules._derived_matrices"],
    ["modules.norms", "modules.data", "modules.pooling", "modules.style"],
    ["modules.video"],
    ["modules"],
    ["surgery"],
    [""],
]
LAYER_OF = {place: layer for layer, places in enumerate(LAYERS) for place in places}
# What the layers use of the functional tier beside its public names.
CORES = {"functional._base", "functional._batch"}
# Imported where a kernel is launched, and not before.
WITH_TRITON = ("_triton", ".tile", ".scratch")  # ends of names
ALLOWED = {"covlayers", "torch", "einops"}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in ROOT.rglob("*.py")}
each_file = pytest.mark.parametrize("name", sorted(FILES))


def place_of(name: str) -> str:
    """The nearest of the places in ``LAYERS``: the file itself or a folder around it."""
    while name not in LAYER_OF:
        name = name.rpartition(".")[0]
    return name


def imports(name: str) -> Iterator[tuple[str, str]]:
    """Every file of the library that a file imports, and the name that it takes of it."""
    for node in ast.walk(ast.parse(FILES[name].read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("covlayers"):
            module = (node.module or "").removeprefix("covlayers").removeprefix(".")
            for alias in node.names:
                inner = f"{module}.{alias.name}".removeprefix(".")
                yield (inner, "") if inner in FILES else (module, alias.name)
        if isinstance(node, ast.Import):
            assert not any(alias.name.startswith("covlayers") for alias in node.names)


def private(name: str) -> bool:
    return any(part.startswith("_") for part in name.split("."))


@each_file
def test_imports_go_downward(name: str) -> None:
    own = LAYER_OF[place_of(name)]
    for imported, _ in imports(name):
        assert LAYER_OF[place_of(imported)] <= own, f"{name} imports {imported}, above it"


def test_no_two_files_import_each_other() -> None:
    graph = {name: {imported for imported, _ in imports(name)} - {name} for name in FILES}
    left = dict(graph)
    while free := [name for name, needed in left.items() if not needed & left.keys()]:
        for name in free:
            del left[name]
    assert not left


@each_file
def test_what_an_underscore_marks_stays_in_its_top_folder(name: str) -> None:
    top = name.split(".")[0]
    for imported, taken in imports(name):
        if private(imported) or private(taken):
            own = imported.split(".")[0] == top
            core = top in ("modules", "surgery") and place_of(imported) in CORES
            core = core and not private(taken)
            assert own or core, f"{name} imports {imported} {taken}"


@each_file
def test_a_file_is_one_idea(name: str) -> None:
    assert len(FILES[name].read_text().splitlines()) <= 220


@each_file
def test_no_name_shadows_a_file(name: str) -> None:
    package, _, own = name.rpartition(".")
    if own:
        parent = importlib.import_module(f"covlayers.{package}".rstrip("."))
        assert not callable(getattr(parent, own, None)), f"{package}.{own} is a function"


def packages(node: ast.AST) -> set[str]:
    """What a statement imports."""
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
    return {imported.split(".")[0] for imported in names}


def test_pages_are_made_without_sphinx() -> None:
    """Tests make them, and make test installs no Sphinx; two files are extensions of it."""
    for path in (ROOT.parent / "docs").glob("*.py"):
        if path.stem not in ("conf", "llms_txt"):
            for node in ast.parse(path.read_text()).body:
                assert not packages(node) & {"sphinx", "docutils"}, path.stem


def test_the_library_imports_torch_and_einops_alone() -> None:
    for name, path in FILES.items():
        triton = {"triton"} if name.endswith(WITH_TRITON) else set()
        allowed = ALLOWED | {*sys.stdlib_module_names} | triton
        for node in ast.walk(ast.parse(path.read_text())):
            assert packages(node) <= allowed
