"""One row per registered name: what each method and rule is held to on the grid.

Measured on float64 matrices of condition number 100, n = 5, against an eigendecomposition; each
bound is within a factor of three to ten of the worst figure seen.
"""

# Relative error of the value. Where it is large, the method is a faithful approximation.
METHOD_ERROR = {
    "auto": 1e-12,
    "eigh": 1e-12,
    "newton_schulz": 0.5,  # five steps: 0.04 for the root, 0.36 for the inverse root
    "pade": 0.25,  # 0.02 and 0.17
    "polar_express": 1e-12,
    "taylor": 0.7,  # 0.09 and 0.57
}

# Relative error of the gradient under an exact forward; None: judged by direction.
RULE_ERROR = {
    "autograd": 1e-9,
    "clipped_gaps": 1e-12,  # no gap of these spectra is below 0.01
    "exact_gaps": 1e-12,
    "loewner": 1e-12,
    "lorentzian_gaps": 1e-8,
    "lyapunov": 5e-3,  # eight sign steps
    "pade_gaps": 1e-12,
    "power_iteration": 1e-8,
    "smith": 1e-12,
    "taylor_gaps": 3e-5,  # ten terms
    "truncated_gaps": 1e-12,
    "unrolled": None,
}

# The cosine to the true gradient that a surrogate keeps, over both roots. Three Newton-Schulz steps
# flatten the slope of the smallest eigenvalues: 0.96 for the root, 0.46 for the inverse root.
RULE_COSINE = {"unrolled": 0.4}

# Methods that compute what they promise to rounding, so that any right rule fits their output.
EXACT_METHODS = ("auto", "eigh", "polar_express")

# Rules with a second derivative, right under an exact method; every other one must raise.
ANY_ORDER_RULES = ("autograd", "loewner", "lyapunov", "smith")

# Cells whose gradient is documented as infinite or NaN at repeated eigenvalues.
INFINITE_AT_TIES = {("auto", "autograd"), ("eigh", "autograd")}
