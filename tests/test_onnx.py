"""What ONNX Runtime computes of the methods and of modules in evaluation."""

import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from covlayers import functional as F
from covlayers.functional import METHODS
from tests.built import MODULES, sample, unlike_at_first
from tests.properties import spd

pytest.importorskip("onnx")  # torch.onnx.export needs it
pytest.importorskip("onnxscript")  # torch.onnx.export needs it
onnxruntime = pytest.importorskip("onnxruntime")  # runs the files

# An export takes seconds, so one of each family stands for it; FEW of them run without --full.
FAMILIES = (
    *("DecorrelatedBatchNorm zca", "PCANorm", "GroupWhitening", "CovPool", "ISQRTCovPool"),
    *("CrossCovPool", "CovAttention", "SecondOrderHead sum", "AttentiveTemporalCovPool video"),
    "GroupWhiteningColoring",
)
FEW = ("DecorrelatedBatchNorm zca", "CovPool", "ISQRTCovPool", "CovAttention")
RAISING = {
    *("auto", "eigh", "pade"),
    *("CovPool", "SecondOrderHead sum", "GroupWhitening", "GroupWhiteningColoring"),
}


class InverseRoot(nn.Module):
    """The inverse root by one of the methods."""

    def __init__(self, method: str) -> None:
        super().__init__()
        self.method = method

    def forward(self, A: Tensor) -> Tensor:
        return F.invsqrtm(A, method=self.method)


def export(module: nn.Module, x: Tensor, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), path, dynamo=True, verbose=False)


@pytest.mark.support("ONNX", of="method")
@pytest.mark.parametrize("method", METHODS)
def test_methods(method: str, tmp_path: Path, record_property) -> None:
    A = spd(2, condition=10.0).float()
    runs_or_raises(method, InverseRoot(method), A, tmp_path / "model.onnx", record_property)


@pytest.mark.support("ONNX")
@pytest.mark.parametrize(
    "name",
    [name if name in FEW else pytest.param(name, marks=pytest.mark.full) for name in FAMILIES],
)
def test_modules(name: str, tmp_path: Path, record_property) -> None:
    module = unlike_at_first(MODULES[name]())
    module(sample(name))
    x = sample(name, 4, seed=1)
    runs_or_raises(name, module.eval(), x, tmp_path / "model.onnx", record_property)


def runs_or_raises(name: str, module: nn.Module, x: Tensor, path: Path, record_property) -> None:
    """The same numbers from the file, or no file."""
    if name in RAISING:
        record_property("support", "raises torch.onnx.OnnxExporterError")
        with pytest.raises(torch.onnx.OnnxExporterError):
            export(module, x, path)
        assert not path.exists()
        return
    export(module, x, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    assert_close(torch.from_numpy(y), module(x).detach(), rtol=1e-4, atol=1e-4)
