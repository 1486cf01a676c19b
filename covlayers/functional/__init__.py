r"""Batched symmetric matrix functions with a selectable method and a selectable gradient.

Tensors in, tensors out, for any batch shape ``(*, n, n)``. Read :mod:`covlayers.functional.core`
first; :data:`METHODS` and :data:`BACKWARDS` are the menus.
"""

from covlayers.functional._base.errors import (
    ConvergenceError,
    InvalidTypeError,
    InvalidValueError,
    UnsupportedError,
)
from covlayers.functional.backwards import (
    BACKWARDS,
    Autograd,
    ClippedGaps,
    ExactGaps,
    Loewner,
    LorentzianGaps,
    Lyapunov,
    PadeGaps,
    PowerIteration,
    Smith,
    TaylorGaps,
    TruncatedGaps,
    Unrolled,
)
from covlayers.functional.backwards._gap_rule import GapRule
from covlayers.functional.core import DirectMethod, MatrixFunction, Method, SpectralMethod
from covlayers.functional.covariance_functions import covariance_function
from covlayers.functional.covariances import covariance, cross_covariance, shrink
from covlayers.functional.eigendecomposition import eigh
from covlayers.functional.gaussian import gaussian_embedding
from covlayers.functional.logarithm_and_power import logm, powm
from covlayers.functional.lyapunov import solve_lyapunov
from covlayers.functional.matrix_functions import invsqrtm, sqrtm, sqrtm_and_invsqrtm
from covlayers.functional.methods import (
    METHODS,
    Auto,
    Eigh,
    NewtonSchulz,
    Pade,
    PolarExpress,
    Taylor,
)
from covlayers.functional.methods._normalised import NormalisedMethod
from covlayers.functional.projector import spectral_projector
from covlayers.functional.rule import Backward, Rule
from covlayers.functional.saved import Saved
from covlayers.functional.selection import Selection, select
from covlayers.functional.solvers import LyapunovSolver
from covlayers.functional.triangle import triu_matrix, triu_vector
from covlayers.functional.whitening import color, whiten
from covlayers.functional.whitening_coloring import whiten_color
from covlayers.functional.whitening_kinds import whitening_matrix

__all__ = [
    "BACKWARDS",
    "METHODS",
    "Auto",
    "Autograd",
    "Backward",
    "ClippedGaps",
    "ConvergenceError",
    "DirectMethod",
    "Eigh",
    "ExactGaps",
    "GapRule",
    "InvalidTypeError",
    "InvalidValueError",
    "Loewner",
    "LorentzianGaps",
    "Lyapunov",
    "LyapunovSolver",
    "MatrixFunction",
    "Method",
    "NewtonSchulz",
    "NormalisedMethod",
    "Pade",
    "PadeGaps",
    "PolarExpress",
    "PowerIteration",
    "Rule",
    "Saved",
    "Selection",
    "Smith",
    "SpectralMethod",
    "Taylor",
    "TaylorGaps",
    "TruncatedGaps",
    "Unrolled",
    "UnsupportedError",
    "color",
    "covariance",
    "covariance_function",
    "cross_covariance",
    "eigh",
    "gaussian_embedding",
    "invsqrtm",
    "logm",
    "powm",
    "select",
    "shrink",
    "solve_lyapunov",
    "spectral_projector",
    "sqrtm",
    "sqrtm_and_invsqrtm",
    "triu_matrix",
    "triu_vector",
    "whiten",
    "whiten_color",
    "whitening_matrix",
]
