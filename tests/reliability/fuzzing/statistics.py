"""Calls of the functions of features, covariances and triangles."""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from covlayers import functional as F
from covlayers.functional.covariance_functions import SIDES
from tests.reliability.fuzzing.calls import Call, Claim, arrays, claim, eps_of
from tests.reliability.fuzzing.drawn_settings import settings_of_calls
from tests.reliability.fuzzing.references import covariance, norms, shrunk
from tests.reliability.fuzzing.strategies import DEFINITE, DEGENERATE, SIZES, features, matrices

Draw = st.DrawFn
flag = st.booleans()
weight = st.one_of(st.none(), st.floats(0, 1))
eps_added = st.sampled_from((0, 0.0, 1e-3, 1.0))


def largest(x: np.ndarray) -> np.ndarray:
    return np.abs(x).max((-2, -1), initial=0.0)


def too_few(center: bool, M: int) -> type[Exception] | None:
    at_least = 2 if center else 1
    return F.InvalidValueError if at_least > M else None


@st.composite
def of_features(draw: Draw, name: str) -> Call:
    """The covariance, its first power, the covariance with others, the embedding of a Gaussian."""
    setting = draw(settings_of_calls)
    drawn = draw(features(positions=range(21)))
    tensors = {"x": drawn.of(setting)}
    options: dict[str, object] = {}
    if name == "cross_covariance":
        tensors["y"] = replace(drawn, channels=draw(st.sampled_from(SIZES))).of(setting, 10)
    else:
        options = {"eps": draw(eps_added), "shrinkage": draw(weight)}
    if name == "gaussian_embedding":
        options["mean_weight"] = draw(st.floats(0.01, 2))
    else:
        options["center"] = draw(flag)
    if name == "covariance_function":
        options |= {"function": 1.0, "side": draw(st.sampled_from(SIDES))}
    center = bool(options.get("center", True))
    x, *others = arrays(tensors.values())
    y = others[0] if others else x
    C, D, M = x.shape[-2], y.shape[-2], x.shape[-1]

    def claims(A: np.ndarray) -> list[Claim]:
        expected = covariance(x, y, center)
        centred = [z - z.mean(-1, keepdims=True) if center else z for z in (x, y)]
        off = (M * eps_of(setting)) ** 2 * largest(x) * largest(y)  # the means, squared
        error = norms(centred[0]) * norms(centred[1]) / M + off
        if not others:
            expected = shrunk(expected, options["shrinkage"] or 0.0, options["eps"])
        if name == "gaussian_embedding":
            ones = np.ones((*x.shape[:-2], 1))
            mean = np.concatenate([options["mean_weight"] * x.mean(-1), ones], -1)
            padded = np.zeros((*x.shape[:-2], C + 1, C + 1))
            padded[..., :C, :C] = expected
            expected = padded + mean[..., :, None] * mean[..., None, :]
            wide = options["mean_weight"] * largest(x) * C**0.5 + 1
            error = error + wide**2
        return [claim(setting, A, expected, error + norms(expected), C + M)]

    extra = name == "gaussian_embedding"
    return Call(
        name,
        f"{setting}, {drawn}, D={D}, {options}",
        setting,
        tensors,
        ((*setting.batch, C + extra, D + extra),),
        options,
        claims,
        too_few(center, M),
        1 + largest(x) + largest(y) + (2 * largest(x) if extra else 0.0),
    )


@st.composite
def shrink(draw: Draw) -> Call:
    setting, s = draw(settings_of_calls), draw(st.floats(0, 1))
    drawn = draw(matrices(*DEFINITE, *DEGENERATE, "indefinite"))
    tensors = {"cov": drawn.of(setting)}
    (cov,) = arrays(tensors.values())
    return Call(
        "shrink",
        f"{setting}, {drawn}, {s}",
        setting,
        tensors,
        (cov.shape,),
        {"shrinkage": s},
        lambda A: [claim(setting, A, shrunk(cov, s), norms(cov), drawn.n)],
        slope=1.0,
    )


@st.composite
def triangle(draw: Draw, name: str) -> Call:
    """A call that turns a triangle into a vector, or back."""
    setting, n, isometric = draw(settings_of_calls), draw(st.sampled_from(SIZES)), draw(flag)
    row, column = np.triu_indices(n)
    factor = np.where((row == column) | (not isometric), 1, 2**0.5)
    back = name == "triu_matrix"
    x = setting.normal(len(row)) if back else setting.normal(n, n)
    tensors = {"v" if back else "A": setting.laid(x)}
    (known,) = arrays(tensors.values())
    if back:
        expected = np.zeros((*setting.batch, n, n))
        expected[..., row, column] = expected[..., column, row] = known / factor
    else:
        expected = known[..., row, column] * factor
    return Call(
        name,
        f"{setting}, {n}, isometric={isometric}",
        setting,
        tensors,
        (expected.shape,),
        {"isometric": isometric} | ({"n": n} if back else {}),
        lambda y: [
            claim(
                setting, y, expected, norms(expected, 1 + back) if isometric else 0.0, n, 1 + back
            )
        ],
        slope=2.0,
    )


@st.composite
def affine(draw: Draw, name: str) -> Call:
    """Whitening, or colouring, with what is given."""
    setting, drawn = draw(settings_of_calls), draw(features(positions=range(21)))
    K, C = draw(st.sampled_from(SIZES)), drawn.channels
    W = setting.normal(K, C, salt=5)
    colors = name == "color"
    mean = setting.normal(K if colors else C, salt=6)
    tensors = {
        "x": drawn.of(setting),
        "mean": setting.laid(mean),
        "C" if colors else "W": setting.laid(W),
    }
    x, mean, W = arrays(tensors.values())
    expected = W @ x + mean[..., None] if colors else W @ (x - mean[..., None])
    size = norms(W) * (norms(x) + norms(mean, 1) * x.shape[-1] ** 0.5) + norms(mean, 1)
    return Call(
        name,
        f"{setting}, {drawn}, K={K}",
        setting,
        tensors,
        (expected.shape,),
        {},
        lambda y: [claim(setting, y, expected, size, C + 1)],
        slope=norms(W) + norms(x) + norms(mean, 1) + drawn.positions,
    )


STATISTICS = {
    "covariance": of_features("covariance"),
    "covariance_function": of_features("covariance_function"),
    "cross_covariance": of_features("cross_covariance"),
    "gaussian_embedding": of_features("gaussian_embedding"),
    "shrink": shrink(),
    "triu_vector": triangle("triu_vector"),
    "triu_matrix": triangle("triu_matrix"),
    "whiten": affine("whiten"),
    "color": affine("color"),
}
