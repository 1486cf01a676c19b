"""The same calls by PyTorch alone: an eigendecomposition, a function of its values, autograd."""

from collections.abc import Callable

import torch
from torch import Tensor

from tests.reliability.fuzzing.calls import Call
from tests.reliability.fuzzing.checks import weights_of

Plain = Callable[..., tuple[Tensor, ...]]


def of_spectrum(*functions: Callable[[Tensor], Tensor]) -> Plain:
    def plain(A: Tensor) -> tuple[Tensor, ...]:
        values, U = torch.linalg.eigh(A)
        return tuple((U * f(values).unsqueeze(-2)) @ U.mT for f in functions)

    return plain


def powm(A: Tensor, p: float) -> tuple[Tensor, ...]:
    return of_spectrum(lambda values: values**p)(A)


def spectral_projector(A: Tensor, rank: int) -> tuple[Tensor, ...]:
    leading = torch.linalg.eigh(A)[1][..., A.shape[-1] - rank :]
    return (leading @ leading.mT,)


def solve_lyapunov(S: Tensor, Q: Tensor) -> tuple[Tensor, ...]:
    values, U = torch.linalg.eigh(S)
    X = (U.mT @ Q @ U) / (values[..., :, None] + values[..., None, :])
    return (U @ X @ U.mT,)


PLAIN: dict[str, Plain] = {
    "sqrtm": of_spectrum(Tensor.sqrt),
    "invsqrtm": of_spectrum(Tensor.rsqrt),
    "sqrtm_and_invsqrtm": of_spectrum(Tensor.sqrt, Tensor.rsqrt),
    "logm": of_spectrum(Tensor.log),
    "powm": powm,
    "eigh": lambda A: tuple(torch.linalg.eigh(A)),
    "spectral_projector": spectral_projector,
    "solve_lyapunov": solve_lyapunov,
}
CHOICES = ("method", "backward", "solver")


def beside(calls: list[Call]) -> str:
    """How many of the calls that are not to be refused have a finite value and gradient so."""
    tried = [call for call in calls if call.refused is None]
    if not tried or tried[0].function not in PLAIN:
        return "–"
    finite = sum(is_finite(call) for call in tried)
    return f"torch.linalg.eigh + autograd: {finite} of {len(tried)} finite, none of a half type"


def is_finite(call: Call) -> bool:
    leaves = [x.detach().requires_grad_() for x in call.tensors.values()]
    options = {name: value for name, value in call.options.items() if name not in CHOICES}
    try:
        outputs = PLAIN[call.function](*leaves, **options)
    except RuntimeError:  # there is none for half types
        return False
    weights = [weights_of(y, call.setting.batch) for y in outputs]
    grads = torch.autograd.grad(outputs, leaves, weights)
    return all(bool(part.isfinite().all()) for part in (*outputs, *grads))
