"""Calls of what else has a spectrum: eigenvectors, their projectors, the Lyapunov equation."""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from covlayers import functional as F
from covlayers.functional.solvers import SOLVERS, SignSolver, SmithSolver
from tests.reliability.fuzzing.calls import Call, Claim, arrays, claim, eps_of, noise, rounding
from tests.reliability.fuzzing.drawn_settings import settings_of_calls
from tests.reliability.fuzzing.matrix_functions import Draw, refusal, spectrum
from tests.reliability.fuzzing.references import lyapunov, norms, rebuilt, sign_iteration, symmetric
from tests.reliability.fuzzing.strategies import (
    DEFINITE,
    DEGENERATE,
    GAPS,
    LYAPUNOV_SOLVERS,
    OTHER_RULES,
    SIZES,
    SPECTRAL,
    built,
    matrices,
)

LYAPUNOV = {"auto": SOLVERS["eigh"], **SOLVERS}


@st.composite
def eigh(draw: Draw) -> Call:
    setting = draw(settings_of_calls)
    backward = draw(st.one_of(st.just("autograd"), st.sampled_from(("smith", "lyapunov")), GAPS))
    method = draw(st.one_of(SPECTRAL, st.just("pade")))
    series = isinstance(built(F.BACKWARDS, backward), F.TaylorGaps | F.PadeGaps | F.PowerIteration)
    distinct = ("spread",) if series else ("spread", "indefinite")
    drawn = draw(matrices(*(distinct if backward == "autograd" else (*distinct, *DEFINITE))))
    tensors = {"A": drawn.of(setting)}
    shape = tensors["A"].shape
    A = symmetric(*arrays(tensors.values()))

    def claims(values: np.ndarray, U: np.ndarray) -> list[Claim]:
        if not A.size:
            return []
        expected = np.linalg.eigvalsh(A)
        size, allowed = np.abs(expected).max(-1), noise(setting, drawn.n)
        half = 2 * drawn.n**0.5 * rounding(setting)
        lead = np.abs(U).max(-2) - U.max(-2)
        identity = np.broadcast_to(np.eye(drawn.n), A.shape)
        return [
            claim(setting, values, expected, size, drawn.n, 1),
            Claim(rebuilt(values, U), A, (allowed + half) * size),
            Claim(U.swapaxes(-1, -2) @ U, identity, allowed + half),
            # the first entry within 0.1% of the largest is positive
            Claim(lead, np.zeros_like(lead), allowed + half + 1e-3, 1),
        ]

    bad = method == "pade" or backward in ("smith", "lyapunov")
    return Call(
        "eigh",
        f"{setting}, {drawn}, {method}, {backward}",
        setting,
        tensors,
        (shape[:-1], shape),
        {"method": method, "backward": backward},
        claims,
        F.UnsupportedError if bad else None,
        symmetric=0.0,
    )


@st.composite
def spectral_projector(draw: Draw) -> Call:
    setting, method, backward = draw(settings_of_calls), draw(SPECTRAL), draw(OTHER_RULES)
    drawn = draw(matrices("spread", sizes=SIZES[1:]))
    rank = draw(st.integers(1, drawn.n + 1))
    options = {"rank": rank, "method": method, "backward": backward}
    tensors = {"A": drawn.of(setting)}
    values, U = spectrum(*arrays(tensors.values()))

    def claims(P: np.ndarray) -> list[Claim]:
        leading = U[..., drawn.n - rank :]
        if not P.size:
            return []
        expected = leading @ leading.swapaxes(-1, -2)
        gap = values[..., -rank] - values[..., -rank - 1] if rank < drawn.n else values[..., -1]
        return [claim(setting, P, expected, values[..., -1] / gap, drawn.n)]

    refused = refusal(method, backward)
    return Call(
        "spectral_projector",
        f"{setting}, {drawn}, {options}",
        setting,
        tensors,
        (tensors["A"].shape,),
        options,
        claims,
        F.InvalidValueError if rank > drawn.n else refused,
        symmetric=0.0,
    )


@st.composite
def solve_lyapunov(draw: Draw) -> Call:
    setting, solver = draw(settings_of_calls), draw(LYAPUNOV_SOLVERS)
    drawn = draw(matrices(*DEFINITE, *(() if setting.half else DEGENERATE), scales=(1.0, 1e2)))
    of_Q = replace(setting, batch=draw(st.sampled_from((setting.batch, ()))))
    Q = of_Q.laid(of_Q.normal(drawn.n, drawn.n))
    tensors = {"S": drawn.of(setting), "Q": Q}
    S, Q = arrays(tensors.values())
    S = symmetric(S)
    values, _ = spectrum(S)
    chosen = built(LYAPUNOV, solver)

    def claims(X: np.ndarray) -> list[Claim]:
        if not X.size or drawn.spectrum in DEGENERATE:
            return []
        condition = values[..., -1] / values[..., 0]
        if isinstance(chosen, SignSolver):
            expected = sign_iteration(S, Q, chosen.iterations)
            error = chosen.iterations * 1.5**chosen.iterations * norms(Q) / norms(S)
        elif isinstance(chosen, SmithSolver) and condition.max() > (8 * eps_of(setting)) ** -0.5:
            return []
        else:
            expected, steps = lyapunov(S, Q), isinstance(chosen, SmithSolver)
            # The contraction of the squared iteration is within (8 eps)^(1/4) of 1.
            error = (condition + steps * (8 * eps_of(setting)) ** -0.25) * norms(expected)
        return [claim(setting, X, expected, error, drawn.n)]

    return Call(
        "solve_lyapunov",
        f"{setting}, {drawn}, Q {of_Q.batch}, {solver}",
        setting,
        tensors,
        (tensors["S"].shape,),
        {"solver": solver},
        claims,
    )


SPECTRA = {
    "eigh": eigh(),
    "spectral_projector": spectral_projector(),
    "solve_lyapunov": solve_lyapunov(),
}
