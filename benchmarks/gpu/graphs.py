"""What a CUDA graph captures: forward and backward pass of every function and layer, both ways.

``differs_by`` is the largest relative distance of what a replay on new input gives from what eager
mode gives, of output and gradients. What is not captured has the error's text, and is no failure;
a replay that differs is one.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.gpu.layers import trained
from benchmarks.gpu.processes import told
from benchmarks.gpu.setting import Cases, Setting, Spoilt
from benchmarks.measure import Row
from benchmarks.zoo import SMALL, Run, Shape, Sizes, inputs, placed, zoo
from covlayers import functional as F

LAYERS = Sizes(16, batch=16, clips=4, samples=256, side=8, pooled=8, tokens=33)
MATRICES = ((32, 16, 16), (32, 64, 64), (8, 128, 128), (4, 256, 256))
FUNCTIONS: dict[str, tuple[Callable[..., Tensor], tuple[Shape, ...]]] = {
    **{
        f"{name} of {n} x {n}": (getattr(F, name), ((batch, n, n),))
        for name in ("sqrtm", "invsqrtm", "whitening_matrix")
        for batch, n, _ in MATRICES
    },
    "sqrtm_and_invsqrtm": (lambda A: torch.stack(F.sqrtm_and_invsqrtm(A)), MATRICES[1:2]),
    "solve_lyapunov": (F.solve_lyapunov, MATRICES[1:2] * 2),
    "covariance": (F.covariance, ((16, 64, 49),)),
    "covariance_function": (F.covariance_function, ((16, 64, 49),)),
    "gaussian_embedding": (F.gaussian_embedding, ((16, 64, 49),)),
    "cross_covariance": (F.cross_covariance, ((16, 64, 49),) * 2),
    "whiten_color": (F.whiten_color, ((4, 64, 196),) * 2),
    "triu_vector": (F.triu_vector, MATRICES[1:2]),
}
DECOMPOSED: dict[str, tuple[Callable[..., Tensor], tuple[Shape, ...]]] = {
    "logm": (F.logm, MATRICES[1:2]),
    "powm": (partial(F.powm, p=0.3), MATRICES[1:2]),
    "eigh": (lambda A: F.eigh(A)[0], MATRICES[1:2]),
}
"""They need a library's eigendecomposition, which waits before torch 2.13, and come last: a capture
that fails costs its process."""
TOLERANCE = 1e-3
Subject = tuple[Run, tuple[Shape, ...]]
Way = Callable[[Run, Sequence[Tensor]], tuple[list[Tensor], list[Tensor]]]


def cases(setting: Setting) -> Cases:
    """Functions, then layers."""
    layers = enumerate(layer.name for layer in zoo(SMALL))
    subjects = {name: partial(of_function, FUNCTIONS[name]) for name in FUNCTIONS}
    subjects |= {name: partial(of_layer, number) for number, name in layers}
    subjects |= {name: partial(of_function, DECOMPOSED[name]) for name in DECOMPOSED}
    return {
        f"{name}, {how}": partial(captured, way, of, setting)
        for name, of in subjects.items()
        for how, way in WAYS.items()
    }


def of_function(function: Subject, setting: Setting) -> Subject:
    """One of the functions."""
    return function


def of_layer(number: int, setting: Setting) -> Subject:
    """One of the layers."""
    layer = zoo(SMALL if setting.quick else LAYERS)[number]
    return layer.run, layer.shapes


def captured(way: Way, of: Callable[[Setting], Subject], setting: Setting) -> Iterator[Row]:
    """The row of one subject captured one way.

    Raises:
        Spoilt: after a capture that failed, which may leave stream and allocator in its midst.
    """
    run, shapes = of(setting)
    run, x = placed(run, setting.device), inputs(shapes, setting.device)
    trained(run, *x)()
    setting.need_gpu()
    row: Row = {"shape": list(shapes[0]), "captured": True, "error": None, "differs_by": None}
    try:
        replayed, eager = way(run, x)
        row["differs_by"] = worst(replayed, eager)
    except Exception as error:  # what is not captured says why
        yield row | {"captured": False, "error": told(error)}
        raise Spoilt from error
    if not row["differs_by"] <= TOLERANCE:
        row["status"] = f"a replay differs by {row['differs_by']:.0e}"
    yield row


def whole_step(run: Run, x: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Forward and backward pass in one ``torch.cuda.graph``."""
    step = with_output(run, x)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = step()
    renew(x)
    graph.replay()
    return [one.clone() for one in found], step()


def graphed_callable(run: Run, x: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """The layer through ``torch.cuda.make_graphed_callables``."""
    plain = run.forward if isinstance(run, nn.Module) else run
    samples = tuple(one.detach().clone().requires_grad_() for one in x)
    graphed = torch.cuda.make_graphed_callables(run, samples, allow_unused_input=True)
    renew(x)
    try:
        replayed = [one.clone() for one in with_output(graphed, x)()]
    finally:
        if isinstance(run, nn.Module):
            run.forward = plain
    return replayed, with_output(run, x)()


def with_output(run: Run, x: Sequence[Tensor]) -> Callable[[], list[Tensor]]:
    """A step that returns the output and the gradients, of which none is zero by symmetry."""
    sources = [*x, *(run.parameters() if isinstance(run, nn.Module) else ())]

    def step() -> list[Tensor]:
        y = run(*x)
        counts = torch.arange(1, 1 + y.numel(), device=y.device, dtype=y.dtype)
        waves = counts.sin().view_as(y)
        grads = torch.autograd.grad(y, sources, waves, allow_unused=True)
        return [y.detach(), *(grad for grad in grads if grad is not None)]

    return step


def renew(x: Sequence[Tensor]) -> None:
    """Other values in the same memory; matrices stay symmetric and positive definite."""
    with torch.no_grad():
        for one in x:
            one.copy_(1.25 * one.flip(0))


def worst(some: Sequence[Tensor], others: Sequence[Tensor]) -> float:
    """The largest relative distance of a tensor from its counterpart."""
    pairs = zip(some, others, strict=True)
    return max(float((a - b).norm() / b.norm().clamp_min(1e-30)) for a, b in pairs)


WAYS: dict[str, Way] = {"torch.cuda.graph": whole_step, "make_graphed_callables": graphed_callable}
