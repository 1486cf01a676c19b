"""A file imports only floors below its own."""

import ast
from pathlib import Path

import pytest

import covlayers

ROOT = Path(covlayers.__file__).parent
FLOORS = [
    ["functional.checks", "functional.precision", "functional.collective", "functional.layout"],
    ["functional.func_transforms"],
    ["functional.linalg", "functional.triangle"],
    ["functional.batch_moments"],
    ["functional.spectrum", "functional.covariance", "functional.batch_transform"],
    ["functional.coupled_iteration", "kernels.conditions", "kernels.tile"],
    ["kernels.plain", "kernels.coupled_iteration"],
    ["kernels.smith_iteration", "kernels.sign_iteration"],
    ["kernels.launch"],
    ["kernels.operators"],
    ["kernels"],
    ["functional.core", "functional.lyapunov_solvers"],
    ["functional.gaussian", "functional.weighted_moments"],
    ["functional.spectra", "functional.lyapunov", "functional.methods.minimax"],
    ["functional.saved"],
    ["functional.rule", "functional.refinement", "functional.methods.normalised"],
    ["functional.methods.eigh", "functional.methods.newton_schulz", "functional.methods.taylor"],
    ["functional.methods.pade", "functional.methods.polar_express"],
    ["functional.methods.through_spectrum"],
    ["functional.methods.auto"],
    ["functional.methods"],
    ["functional.backwards.gap_rule"],
    ["functional.backwards.gaps", "functional.backwards.power_iteration"],
    ["functional.backwards.unrolled"],
    ["functional.backwards.autograd"],
    ["functional.backwards.loewner", "functional.backwards.lyapunov", "functional.backwards.smith"],
    ["functional.backwards"],
    ["functional.matrix_functions", "functional.eigh"],
    ["functional.whitening", "functional.whitening_matrix", "functional.projector"],
    ["functional.whitening_coloring"],
    ["functional"],
    ["modules.sync", "modules.derived_buffers", "modules.observations", "modules.place"],
    ["modules.channel_affine"],
    ["modules.reduction", "modules.build_pool", "modules.covariance_function"],
    ["modules.style_inputs"],
    ["modules.running_moments", "modules.data_statistics"],
    ["modules.covariance_norm", "modules.group_whitening", "modules.switchable_whitening"],
    ["modules.power_norm", "modules.attention", "modules.temporal_attention"],
    ["modules.batchnorm", "modules.pca_norm", "modules.whitening"],
    ["modules.pooling", "modules.cross_pooling"],
    ["modules.pooling_presets", "modules.whitening_presets"],
    ["modules.temporal", "modules.vision_transformer"],
    ["modules.style", "modules.style_losses"],
    ["modules.style_variants"],
    ["modules"],
    ["surgery.convert", "surgery.neighbours", "surgery.statistics", "surgery.conditioning"],
    ["surgery.fold", "surgery.pooled_features"],
    ["surgery.heads"],
    ["surgery"],
    [""],
]
# Imported where a kernel is launched, and not before.
KERNELS = {
    "kernels.tile",
    "kernels.coupled_iteration",
    "kernels.smith_iteration",
    "kernels.sign_iteration",
}
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in ROOT.rglob("*.py")}


def test_every_file_has_a_floor() -> None:
    assert FLOOR_OF.keys() == FILES.keys()


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("covlayers"):
            module = (node.module or "").removeprefix("covlayers").removeprefix(".")
            for alias in node.names:
                inner = f"{module}.{alias.name}".removeprefix(".")
                found.add(inner if inner in FILES and inner != "functional.eigh" else module)
        if isinstance(node, ast.Import):
            assert not any(alias.name.startswith("covlayers") for alias in node.names)
    return found


@pytest.mark.parametrize("name", sorted(FILES))
def test_imports_go_downward(name: str) -> None:
    for imported in imports(FILES[name]):
        assert FLOOR_OF[imported] < FLOOR_OF[name], f"{name} imports {imported}, above or beside it"


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_is_one_idea(name: str) -> None:
    assert len(FILES[name].read_text().splitlines()) <= 220


def test_the_library_imports_torch_and_einops_alone() -> None:
    for name, path in FILES.items():
        triton = {"triton"} if name in KERNELS else set()
        for node in ast.walk(ast.parse(path.read_text())):
            modules = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            for module in modules:
                assert module.split(".")[0] in triton | {
                    "covlayers",
                    "torch",
                    "einops",
                    "abc",
                    "collections",
                    "contextlib",
                    "copy",
                    "dataclasses",
                    "fnmatch",
                    "functools",
                    "importlib",
                    "itertools",
                    "math",
                    "typing",
                    "warnings",
                }
