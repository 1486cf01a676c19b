"""What ONNX Runtime computes of the methods and of modules in evaluation, and what a trace does."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

import covlayers as cl
from covlayers import functional as F
from covlayers.functional import METHODS, UnsupportedError
from tests.built import MODULES, features, sample, unlike_at_first
from tests.properties import spd

pytest.importorskip("onnx")  # torch.onnx.export needs it
pytest.importorskip("onnxscript")  # torch.onnx.export needs it
onnxruntime = pytest.importorskip("onnxruntime")  # runs the files

# An export takes seconds, so FEW of them run without --full.
FEW = ("DecorrelatedBatchNorm zca", "CovPool", "MPACovPool", "CovAttention")
RAISING = {"CovPool log", "CovPool power"}  # functions that no products give


class Function(nn.Module):
    """A function of matrices."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, A: Tensor) -> Tensor:
        return self.function(A)


def export(module: nn.Module, x: Tensor, path: Path, **options: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), path, dynamo=True, verbose=False, **options)


@pytest.mark.support("ONNX", of="method")
@pytest.mark.parametrize("method", METHODS)
def test_methods(method: str, tmp_path: Path, record_property) -> None:
    A = spd(2, condition=10.0).float()
    module = Function(lambda A: F.invsqrtm(A, method=method))
    runs_or_raises(method, module, A, tmp_path / "model.onnx", record_property)


@pytest.mark.support("ONNX")
@pytest.mark.parametrize(
    "name",
    [name if name in FEW else pytest.param(name, marks=pytest.mark.full) for name in MODULES],
)
def test_modules(name: str, tmp_path: Path, record_property) -> None:
    module = unlike_at_first(MODULES[name]())
    module(sample(name))
    x = sample(name, 4, seed=1)
    runs_or_raises(name, module.eval(), x, tmp_path / "model.onnx", record_property)


@pytest.mark.parametrize("p", [0.25, -0.25, -0.125])
def test_powers_that_are_roots_of_roots(p: float, tmp_path: Path, record_property) -> None:
    A = spd(2, condition=10.0).float()
    module = Function(lambda A: F.powm(A, p))
    runs_or_raises("power", module, A, tmp_path / "model.onnx", record_property)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (F.logm, "logm cannot be exported"),
        (lambda A: F.powm(A, 0.3), "the power 0.3 cannot be exported"),
        (lambda A: F.powm(A, 0.0), "the power 0.0 cannot be exported"),
        (lambda A: F.eigh(A)[0], "ONNX has no operator for an eigendecomposition"),
        (lambda A: F.whitening_matrix(A, kind="pca"), "has no operator for an eigendecomposition"),
        (lambda A: F.whitening_matrix(A, kind="cholesky"), "has no operator for a Cholesky"),
    ],
)
def test_what_products_cannot_give_says_so(
    function: Callable[[Tensor], Tensor], words: str, tmp_path: Path
) -> None:
    A = spd(2, condition=10.0).float()
    with pytest.raises(torch.onnx.OnnxExporterError, match=words) as caught:
        export(Function(function), A, tmp_path / "model.onnx")
    assert isinstance(caught.value.__cause__, UnsupportedError)


def test_an_exported_program_keeps_the_eigendecomposition() -> None:
    A = spd(2, condition=10.0).float()
    program = torch.export.export(Function(lambda A: F.sqrtm(A, method="eigh")), (A,))
    assert any("eigh" in str(node.target) for node in program.graph.nodes)


def test_a_file_takes_other_batches(tmp_path: Path) -> None:
    module, path = cl.MPACovPool(6).eval(), tmp_path / "model.onnx"
    batches = {"dynamic_shapes": ({0: torch.export.Dim("N")},)}
    export(module, features(3), path, **batches)
    x = features(5, seed=1)
    assert_close(run(path, x), module(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["CovPool reduced", "MPACovPool", "SecondOrderHead sum"])
def test_a_trace_is_saved_and_loaded(name: str, tmp_path: Path) -> None:
    module, path = MODULES[name]().eval(), str(tmp_path / "model.pt")
    x = sample(name, 4, seed=1)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.jit.trace(module, (sample(name, 4),)).save(path)
        assert_close(torch.jit.load(path)(x), module(x))


def runs_or_raises(name: str, module: nn.Module, x: Tensor, path: Path, record_property) -> None:
    """The same numbers from the file, or no file."""
    if name in RAISING:
        record_property("support", "raises covlayers.functional.UnsupportedError")
        with pytest.raises(torch.onnx.OnnxExporterError) as caught:
            export(module, x, path)
        assert isinstance(caught.value.__cause__, UnsupportedError)
        assert not path.exists()
        return
    export(module, x, path)
    other = x.flip(0)  # a file that holds what it was exported with would show
    for given in (x, other):
        assert_close(run(path, given), module(given).detach(), rtol=1e-4, atol=1e-4)


def run(path: Path, x: Tensor) -> Tensor:
    """What ONNX Runtime computes."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    return torch.from_numpy(y)
