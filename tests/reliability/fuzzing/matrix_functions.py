"""Calls of the matrix functions."""

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from covlayers import functional as F
from tests.reliability.fuzzing.calls import Call, Claim, arrays, claim, eps_of
from tests.reliability.fuzzing.drawn_settings import settings_of_calls
from tests.reliability.fuzzing.references import (
    LOG,
    Spectral,
    exact,
    power,
    rebuilt,
    root_of,
    symmetric,
)
from tests.reliability.fuzzing.strategies import (
    DEFINITE,
    DEGENERATE,
    DIRECT,
    OTHER_RULES,
    RULES,
    SPECTRAL,
    built,
    matrices,
)

Draw = st.DrawFn


def infinite_at_ties(method: object, backward: object) -> bool:
    """Whether the gradient is PyTorch's own, which is documented as infinite at ties."""
    method, backward = built(F.METHODS, method), built(F.BACKWARDS, backward)
    steps = built(F.METHODS, backward.method) if isinstance(backward, F.Unrolled) else method
    unrolled = isinstance(backward, F.Autograd | F.Unrolled)
    return unrolled and isinstance(steps, F.Auto | F.Eigh)


def refusal(method: object, backward: object) -> type[Exception] | None:
    """What another function than a root has to raise."""
    method, backward = built(F.METHODS, method), built(F.BACKWARDS, backward)
    roots_alone = isinstance(backward, F.Smith | F.Lyapunov)
    if isinstance(backward, F.Unrolled):
        roots_alone = isinstance(built(F.METHODS, backward.method), F.DirectMethod)
    return F.UnsupportedError if roots_alone or isinstance(method, F.DirectMethod) else None


def is_exact(method: object, backward: object) -> bool:
    """Whether value and gradient are exact to rounding."""
    method = built(F.METHODS, method)
    exact_method = isinstance(method, F.Auto | F.Eigh) or method == F.PolarExpress()
    return exact_method and backward in (None, "loewner", "smith")


def spectrum(A: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.linalg.eigh(symmetric(A))


@st.composite
def matrix_function(draw: Draw, name: str, functions: Sequence[Spectral | float]) -> Call:
    """A call of a root, by its exponent, or of another function."""
    setting = draw(settings_of_calls)
    roots = all(isinstance(function, float) for function in functions)
    method = draw(st.one_of(SPECTRAL, DIRECT if roots else st.just("pade")))
    backward = draw(RULES if roots else OTHER_RULES)
    options = {"method": method, "backward": backward}
    if name == "powm":
        p = draw(st.one_of(st.sampled_from((0.0, 0.5, -0.5, 1, 2, -1)), st.floats(-2, 2)))
        options["p"], roots = p, abs(p) == 0.5
        functions = [p if roots else power(p)]
    distinct = infinite_at_ties(method, backward)
    singular = () if setting.half or name == "powm" else DEGENERATE
    drawn = draw(matrices(*(("spread",) if distinct else DEFINITE + singular)))
    tensors = {"A": drawn.of(setting)}
    if tensors["A"].numel() == 0:
        options["backward"] = backward = None  # not looked at where there is no gradient
    values, U = spectrum(*arrays(tensors.values()))
    regular = drawn.spectrum in DEFINITE and values.size > 0

    def claims(*outputs: np.ndarray) -> list[Claim]:
        found = []
        for output, function in zip(outputs, functions, strict=True) if regular else ():
            if isinstance(function, float):
                root = root_of(function, built(F.METHODS, method), eps_of(setting), values)
            else:
                root = exact(function, values)
            if root is not None:
                expected = rebuilt(root.values, U)
                found.append(claim(setting, output, expected, root.error, drawn.n))
        return found

    steep = 0.0
    if regular:
        known = [power(f) if isinstance(f, float) else f for f in functions]
        steep = sum(np.abs(f.df(values)).max(-1) for f in known)
    conditioned = regular and is_exact(method, backward)
    return Call(
        name,
        f"{setting}, {drawn}, {options}",
        setting,
        tensors,
        tuple(tensors["A"].shape for _ in functions),
        options,
        claims,
        None if roots else refusal(method, backward),
        10 * steep * values.max(-1) / values.min(-1) if conditioned else None,
        steep,
    )


MATRIX_FUNCTIONS = {
    "sqrtm": matrix_function("sqrtm", [0.5]),
    "invsqrtm": matrix_function("invsqrtm", [-0.5]),
    "sqrtm_and_invsqrtm": matrix_function("sqrtm_and_invsqrtm", [0.5, -0.5]),
    "logm": matrix_function("logm", [LOG]),
    "powm": matrix_function("powm", [power(1)]),
}
