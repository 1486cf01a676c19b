#!/usr/bin/env bash
# spd_learn 0.2.1 with torch 2.14.1: float32 covariances of signals in volts lose their eigenvalues.
#
# The EEG of a few microvolts has variances near 1e-10 V². For diag(1, 2, 4) * 1e-10 in float32, a
# well-conditioned positive definite matrix, matrix_sqrt and matrix_inv_sqrt raise all eigenvalues
# to an absolute threshold of about 1.2e-5 and return multiples of the identity: 3.5e-3 in place of
# 1e-5 to 2e-5, and 91.6 in place of 5e4 to 1e5. They say nothing; matrix_log does the same and
# warns. In float64 all three are right.
#
# Exits with an error if any of that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.14.1 spd_learn==0.2.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import warnings

import torch
from spd_learn.functional import matrix_inv_sqrt, matrix_log, matrix_sqrt

volts = 1e-10 * torch.diag(torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64))[None]
exact = {matrix_sqrt: torch.sqrt, matrix_inv_sqrt: torch.rsqrt, matrix_log: torch.log}
for function, of_values in exact.items():
    expected = of_values(volts.diagonal(dim1=-2, dim2=-1))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        single = function.apply(volts.float()).diagonal(dim1=-2, dim2=-1)
    double = function.apply(volts).diagonal(dim1=-2, dim2=-1)
    warned = any("clamp" in str(one.message) for one in said)
    print(f"{function.__name__}: expected {expected.tolist()}, float32 {single.tolist()}, "
          f"float64 {double.tolist()}, warned: {warned}")
    assert torch.allclose(double, expected, rtol=1e-6)
    assert torch.allclose(single, single[..., :1].expand_as(single)), "eigenvalues differ now"
    assert not torch.allclose(single.double(), expected, rtol=0.1), "float32 is right now"
    assert warned == (function is matrix_log), "the warnings have changed"
PYTHON
