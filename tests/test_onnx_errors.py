"""The errors that docs/onnx.json states of poolings in ONNX."""

import json

import pytest

from tests.onnx_errors import CONDITIONS, FILE, POOLINGS, errors

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package)

FEW = ("CovPool", "MPACovPool")
STATED = json.loads(FILE.read_text())
FLOOR = 5e-7  # four roundings of float32; another machine sums in another order


@pytest.mark.parametrize(
    "name",
    [name if name in FEW else pytest.param(name, marks=pytest.mark.full) for name in POOLINGS],
)
def test_stated_errors_hold(name: str) -> None:
    for kind, measured in errors(name).items():
        for one, stated in zip(measured, STATED["rows"][name][kind], strict=True):
            assert one <= 3 * stated + FLOOR, kind


def test_a_file_is_as_exact_as_eager_mode() -> None:
    for name, row in STATED["rows"].items():
        if name != "CovPool of few positions":  # of which eager mode takes the smaller side
            for file, eager in zip(row["file"], row["eager"], strict=True):
                assert file <= 1.5 * eager + FLOOR, name


def test_every_pooling_is_stated() -> None:
    assert list(STATED["rows"]) == list(POOLINGS)
    assert STATED["metadata"]["conditions"] == list(CONDITIONS)
