"""Run the kernels of a batch in Triton's interpreter and print their errors, as JSON.

A program of its own: the interpreter must be chosen before the kernels are imported. The layer runs
whole, with the kernels in the place of the operators' lines for a CPU.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import product
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

import covlayers as cl
from covlayers.functional._base import tuning
from covlayers.functional._batch import affine, averages, gradient, kernels, normalise, statistics
from tests.kernels import numpy_of_today

EPS = torch.finfo(torch.float32).eps
LAUNCHES = {
    "batch_statistics": statistics._on_cuda,
    "affine": affine._affine_on_cuda,
    "batch_gradient_sums": gradient._sums_on_cuda,
    "features_gradient": gradient._features_gradient_on_cuda,
}
Record = tuple[str, float, float]
records: list[Record] = []


@contextmanager
def by_kernels(programs: int = tuning.PROGRAMS) -> Iterator[dict[str, int]]:
    """Every batch goes through the kernels; how often each of them has run."""
    ran = dict.fromkeys(LAUNCHES, 0)

    def counting(name: str) -> Any:
        def launch(*args: Any) -> Any:
            ran[name] += 1
            return LAUNCHES[name](*args)

        return launch

    with ExitStack() as stack:
        for name in LAUNCHES:
            stack.enter_context(patch.object(kernels, name, counting(name)))
        forced = lambda x, num_groups, **_: kernels.Kernels(num_groups)
        stack.enter_context(patch.object(normalise, "_passes", forced))
        stack.enter_context(patch.object(tuning, "PROGRAMS", programs))
        yield ran


def note(what: str, actual: Tensor, expected: Tensor, allowed: float) -> None:
    """The relative error in the Frobenius norm."""
    expected = expected.detach()
    difference = torch.linalg.vector_norm(actual.detach().double() - expected)
    error = float(difference / torch.linalg.vector_norm(expected))
    records.append((what, error, allowed))


def whitened(x: Tensor, weight: Tensor, bias: Tensor, eps: float, groups: int) -> Any:
    """Output, mean, covariance, in float64 by an eigendecomposition."""
    c = x.shape[1] // groups
    z = x.transpose(0, 1).reshape(groups, c, -1)
    mean = z.mean(-1, keepdim=True)
    cov = (z - mean) @ (z - mean).mT / z.shape[-1]
    values, U = torch.linalg.eigh(cov + eps * torch.eye(c, dtype=x.dtype))
    y = U @ (values.rsqrt()[..., None] * (U.mT @ (z - mean)))
    y = weight.view(groups, c, 1) * y + bias.view(groups, c, 1)
    return y.reshape(x.transpose(0, 1).shape).transpose(0, 1), mean.flatten(), cov


def trained(
    case: str,
    x: Tensor,
    groups: int,
    *,
    programs: int = tuning.PROGRAMS,
    rounding: float = EPS,
    offset: float = 0.0,
) -> None:
    """A step of the layer against the same in float64.

    Args:
        case: its name.
        x: features.
        groups: of channels.
        programs: that share the positions.
        rounding: of the output.
        offset: how far the mean is from zero, in deviations.
    """
    C = x.shape[1]
    layer = cl.DecorrelatedBatchNorm(C, groups, eps=0.1, momentum=1.0)
    with torch.no_grad():
        layer.weight.uniform_(0.5, 1.5)
        layer.bias.normal_()
    x = x.detach().requires_grad_()
    g = torch.randn(x.shape).to(x.dtype)
    g = g.contiguous(memory_format=torch.preserve_format)
    with by_kernels(programs) as ran:
        y = layer(x)
        y.backward(g)
    records.append((f"each kernel once {case}", float({*ran.values()} != {1}), 0.0))
    plain = layer(x.detach())
    records.append((f"strides {case}", float(y.stride() != plain.stride()), 0.0))
    wide = [one.detach().double().requires_grad_() for one in (x, layer.weight, layer.bias)]
    expected, mean, cov = whitened(*wide, 0.1, groups)
    gradients = torch.autograd.grad(expected, wide, g.double())
    n = x.numel() // C
    lost = EPS * offset  # the rounding of the mean is a shift of the output
    note(f"output {case}", y, expected, 20 * rounding + lost)
    note(f"gradient {case}", x.grad, gradients[0], 30 * rounding + lost)
    note(
        f"gradient of the scale {case}",
        layer.weight.grad,
        gradients[1],
        30 * (rounding + EPS) + lost,
    )
    note(f"gradient of the shift {case}", layer.bias.grad, gradients[2], 10 * EPS)
    note(f"mean {case}", layer.running_mean, mean, 4 * EPS)
    note(f"covariance {case}", layer.running_cov, cov * n / (n - 1), 10 * EPS)
    layer.eval()
    with torch.no_grad(), by_kernels(programs) as ran:
        y = layer(x)
    records.append((f"one kernel in evaluation {case}", float(sum(ran.values()) != 1), 0.0))
    z = layer.running_mean.double()
    wide_x = x.double() - z.view(-1, *(1 for _ in x.shape[2:]))
    W = torch.block_diag(*layer.evaluation_matrix().double())
    expected = torch.einsum("ij,nj...->ni...", layer.weight.double()[:, None] * W, wide_x)
    expected += layer.bias.double().view(-1, *(1 for _ in x.shape[2:]))
    note(f"evaluation {case}", y, expected.detach(), 10 * rounding)


def formats() -> None:
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    cases = [((2, 5, 3, 3), 1), ((3, 12, 7, 5), 3), ((2, 4, 2, 3, 3), 2), ((5, 6, 7), 6)]
    for shape, groups in [*cases, ((40, 6), 2)]:
        x = torch.randn(shape) + torch.arange(float(shape[1])).view(-1, *(1 for _ in shape[2:]))
        trained(f"{shape} in {groups}", x, groups)
        if len(shape) in formats:
            x = x.contiguous(memory_format=formats[len(shape)])
            trained(f"{shape} in {groups}, channels last", x, groups)
    trained("two blocks", torch.randn(2, 70, 9, 8), 1)
    trained("four blocks", torch.randn(3, 200, 9, 9), 1)
    trained("several tiles in a part", torch.randn(3, 6, 9, 11), 2, programs=4)
    trained("neither format", torch.randn(3, 7, 6, 5).permute(0, 3, 2, 1), 1)
    trained("large mean", torch.randn(4, 8, 9, 11) + 1e3, 2, programs=4, offset=1e3)
    for dtype in (torch.float16, torch.bfloat16):
        x, rounding = torch.randn(3, 6, 5, 7).to(dtype), torch.finfo(dtype).eps / 4
        trained(f"{dtype}", x, 2, rounding=rounding)
        last = x.to(memory_format=torch.channels_last)
        trained(f"{dtype} channels last", last, 2, rounding=rounding)


def spoilt_and_shrunk() -> None:
    x = torch.randn(3, 6, 5, 5)
    x[1, 2, 3, 3] = torch.nan
    layer = cl.DecorrelatedBatchNorm(6, 3)
    before = layer.running_cov.clone()
    with by_kernels():
        y = layer(x)
        sound = layer(x[:, [0, 1, 4, 5, 0, 1]])
    spoilt = y.isnan()
    right = spoilt[:, 2:4].all() & ~spoilt[:, :2].any() & ~spoilt[:, 4:].any()
    records.append(("NaN spoils its own group", float(not right), 0.0))
    note("beside NaN", y[:, :2], sound[:, :2].double(), 0.0)
    records.append(("averages of NaN", float(layer.num_batches_tracked != 1), 0.0))
    records.append(("averages that move", float(torch.equal(layer.running_cov, before)), 0.0))

    x = torch.randn(4, 8, 9, 11)
    x[:2] += 1e3  # a mean that the first tile of a part does not show
    for programs in (2, 8):
        with by_kernels(programs):
            _, _, (mean, cov, n) = kernels.Kernels(2).statistics(x, 0.0, None, None)
        z = x.double().transpose(0, 1).reshape(2, 4, n)
        note(f"mean that jumps in {programs} parts", mean, z.mean(-1).flatten(), 2 * EPS)
        z = z - z.mean(-1, keepdim=True)
        note(f"covariance that jumps in {programs} parts", cov, z @ z.mT / n, 10 * EPS)

    x = torch.randn(2, 6, 5, 5)
    _, cov, A = statistics._on_cuda(x, 2, 0.01, 0.3)
    wide = cov.double()
    trace = wide.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None]
    expected = 0.7 * wide + (0.3 * trace / 3 + 0.01) * torch.eye(3)
    note("shrinkage", A, expected, 4 * EPS)

    y = torch.randn(3, 4, 5, 5, requires_grad=True)
    with by_kernels():
        cl.DecorrelatedBatchNorm(4)(y).sum().backward()  # a gradient without strides
    note("the gradient of a sum", 1 + y.grad, torch.ones_like(y).double(), 1e-6)


def running() -> None:
    cov = torch.randn(3, 20, 20)
    cov, mean = cov @ cov.mT, torch.randn(60)
    spoilt = cov.clone()
    spoilt[2, 19, 19] = torch.nan
    for momentum, batch in product((0.1, 1.0, None), (cov, spoilt)):
        runs = []
        for move, dtype in ((averages._on_cuda, torch.float32), (averages.plain, torch.float64)):
            averaged = [torch.zeros(60, dtype=dtype), torch.eye(20, dtype=dtype).repeat(3, 1, 1)]
            seen = torch.tensor(3)
            move(*averaged, seen, mean.to(dtype), batch.to(dtype), 7, momentum)
            runs.append([*averaged, seen])
        case = f"momentum={momentum} finite={batch is cov}"
        note(f"running mean {case}", 1 + runs[0][0], 1 + runs[1][0], 2 * EPS)
        note(f"running covariance {case}", runs[0][1], runs[1][1], 2 * EPS)
        records.append((f"number {case}", float(runs[0][2] != runs[1][2]), 0.0))
        records.append((f"moved {case}", float(int(runs[0][2]) != 3 + (batch is cov)), 0.0))


def main() -> None:
    torch.manual_seed(0)
    numpy_of_today.patch_interpreter()
    formats()
    spoilt_and_shrunk()
    running()
    print(json.dumps(records))


if __name__ == "__main__":
    main()
