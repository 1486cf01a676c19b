"""Calls of the functions that whiten by a covariance."""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from covlayers import functional as F
from tests.reliability.fuzzing.calls import Call, Claim, arrays, claim, eps_of, noise, rounding
from tests.reliability.fuzzing.drawn_settings import settings_of_calls
from tests.reliability.fuzzing.matrix_functions import infinite_at_ties, spectrum
from tests.reliability.fuzzing.references import (
    covariance,
    norms,
    rebuilt,
    root_of,
    shrunk,
    symmetric,
)
from tests.reliability.fuzzing.strategies import (
    DEFINITE,
    DEGENERATE,
    DIRECT,
    GAPS,
    RULES,
    SPECTRAL,
    built,
    features,
    matrices,
)
from tests.style_reference import shrinkage as oracle

Draw = st.DrawFn
KINDS = ("zca", "pca", "cholesky", "zca_cor", "pca_cor")


def standardised(cov: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The correlation matrix, and what the variances are multiplied by."""
    scale = np.diagonal(cov, axis1=-2, axis2=-1) ** -0.5
    return scale[..., :, None] * cov * scale[..., None, :], scale


def choice(draw: Draw, kind: str) -> tuple[object, object]:
    """A method and a rule that fit the kind."""
    if kind == "cholesky":
        return "auto", None
    if kind.startswith("pca"):
        return draw(SPECTRAL), draw(st.one_of(st.none(), st.just("autograd"), GAPS))
    return draw(st.one_of(DIRECT, SPECTRAL)), draw(RULES)


@st.composite
def whitening_matrix(draw: Draw) -> Call:
    setting, kind = draw(settings_of_calls), draw(st.sampled_from(KINDS))
    method, backward = choice(draw, kind)
    options = {"kind": kind, "method": method, "backward": backward}
    distinct = infinite_at_ties(method, backward)
    spectra = ("spread",) if distinct else DEFINITE + (() if setting.half else DEGENERATE)
    drawn = draw(matrices(*spectra))
    tensors = {"cov": drawn.of(setting)}
    (cov,) = arrays(tensors.values())
    cov = symmetric(cov)

    def claims(W: np.ndarray) -> list[Claim]:
        if not W.size or drawn.spectrum in DEGENERATE:
            return []
        P, scale = standardised(cov) if kind.endswith("cor") else (cov, np.ones(cov.shape[:-1]))
        W = W / scale[..., None, :]  # a whitening of P
        values, U = spectrum(P)
        condition, n = values[..., -1] / values[..., 0], drawn.n
        if kind.startswith("zca"):
            root = root_of(-0.5, built(F.METHODS, method), eps_of(setting), values)
            if root is None:
                return []
            return [claim(setting, W, rebuilt(root.values, U), root.error * condition**0.5, n)]
        if kind == "cholesky":
            expected = np.linalg.inv(np.linalg.cholesky(P))
            return [claim(setting, W, expected, condition * norms(expected), n)]
        allowed = (noise(setting, n) + 2 * rounding(setting)) * condition * n**0.5
        rows = norms(W, 1)
        lead = np.abs(W).max(-1) - W.max(-1)
        share = 1e-3 * np.abs(W).max((-2, -1))  # within which the first entry is positive
        return [
            Claim(W @ P @ W.swapaxes(-1, -2), np.broadcast_to(np.eye(n), P.shape), allowed),
            Claim(rows, values[..., ::-1] ** -0.5, allowed * norms(rows, 1), 1),
            Claim(lead, np.zeros_like(lead), allowed * norms(rows, 1) + share, 1),
        ]

    return Call(
        "whitening_matrix",
        f"{setting}, {drawn}, {options}",
        setting,
        tensors,
        (cov.shape,),
        options,
        claims,
        symmetric=0.0,
    )


def regularised(x: np.ndarray, s: float | str | None, eps: float) -> np.ndarray:
    """The covariance, shrunk and with ``eps`` of its mean eigenvalue."""
    cov, M = covariance(x, x), x.shape[-1]
    C = x.shape[-2]
    mean = np.trace(cov, axis1=-2, axis2=-1)[..., None, None] / C
    if s == "auto":
        each = [oracle(one, M) if C > 1 else 0.0 for one in cov.reshape(-1, C, C)]
        s = np.array(each).reshape(*cov.shape[:-2], 1, 1)
    return shrunk(cov, s or 0.0 if s is None else s, eps * mean)


@st.composite
def whiten_color(draw: Draw) -> Call:
    setting = draw(settings_of_calls)
    content = draw(features(positions=range(1, 21)))
    style = replace(draw(features()), channels=content.channels)
    of_style = replace(setting, batch=draw(st.sampled_from((setting.batch, ()))))
    method, backward = draw(st.one_of(DIRECT, SPECTRAL)), draw(RULES)
    options = {
        "alpha": draw(st.one_of(st.sampled_from((0, 1)), st.floats(0, 1))),
        "eps": draw(st.sampled_from((0, 1e-5, 1e-2))),
        "shrinkage": draw(st.sampled_from(("auto", None, 0.0, 0.3, 1))),
        "method": method,
        "backward": None if infinite_at_ties(method, backward) else backward,
    }
    tensors = {"content": content.of(setting), "style": style.of(of_style, 10)}
    x, s = arrays(tensors.values())
    C, M, alpha = content.channels, content.positions + style.positions, options["alpha"]

    def claims(y: np.ndarray) -> list[Claim]:
        if not y.size:
            return []
        covs = [regularised(z, options["shrinkage"], options["eps"]) for z in (x, s)]
        (values, U), (style_values, V) = (spectrum(cov) for cov in covs)
        condition = (values[..., -1] / values[..., 0]).max()
        if not 0 < condition * noise(setting, C + M) < 0.1:
            return []  # to the noise of the covariance, singular
        chosen, eps = built(F.METHODS, method), eps_of(setting)
        W, R = root_of(-0.5, chosen, eps, values), root_of(0.5, chosen, eps, style_values)
        if W is None or R is None:
            return []
        T = rebuilt(R.values, V) @ rebuilt(W.values, U)
        mean, target = x.mean(-1, keepdims=True), s.mean(-1, keepdims=True)
        expected = alpha * (T @ (x - mean) + target) + (1 - alpha) * x
        gain = R.error * W.values.max(-1) + W.error * R.values.max(-1)
        error = gain * condition**0.5 * norms(x - mean) + norms(x) * (1 + norms(T)) + norms(s)
        return [claim(setting, y, expected, error, C + M)]

    return Call(
        "whiten_color",
        f"{setting}, {content}, style {of_style.batch} {style}, {options}",
        setting,
        tensors,
        (x.shape,),
        options,
        claims,
        F.InvalidValueError if content.positions < 2 else None,
    )


WHITENING = {"whitening_matrix": whitening_matrix(), "whiten_color": whiten_color()}
