"""Run the kernel of the symmetric part in Triton's interpreter; prints as ``interpreted`` does."""

import json
from itertools import product

import torch
from torch import Tensor

from covlayers.functional._base.linalg import BEYOND_ROUNDING
from tests.properties import spd

DAMAGES = (torch.nan, torch.inf, -torch.inf)


def rounded(*batch: int, n: int) -> Tensor:
    """Matrices with an asymmetry of at most half of what passes for rounding."""
    A = spd(*batch, n=n).float()
    noise = torch.rand(A.shape, generator=torch.Generator().manual_seed(1)) - 0.5
    return A + 0.5 * BEYOND_ROUNDING * A.abs().amax((-2, -1), keepdim=True) * noise


def main() -> None:
    from covlayers.functional._iterations.launch import launch_symmetric_part

    records: list[tuple[str, float, float]] = []

    def note(what: str, holds: bool | Tensor) -> None:
        records.append((what, 0.0 if holds else 1.0, 0.0))

    for n, batch in product((1, 2, 16, 17, 65), ((), (0,), (2, 2))):
        A = rounded(*batch, n=n)
        for view in (A, A.mT, rounded(n=n).expand_as(A)):
            S = launch_symmetric_part(view)
            same = torch.equal(S, (view + view.mT) / 2) and S.is_contiguous()
            note(f"n={n} {batch} {view.stride()}", same)
    for n in (2, 17, 65):
        A = rounded(2, n=n)
        for damage, place in zip(DAMAGES, ((n - 1, 0), (0, 0), (0, n - 1)), strict=True):
            B = A.clone()
            B[0][place] = damage
            S = launch_symmetric_part(B)
            note(f"{damage}, n={n}", S[0].isnan().all())
            note(f"beside {damage}, n={n}", torch.equal(S[1], (A[1] + A[1].mT) / 2))
        for share in (0.9, 1.1):
            B = torch.eye(n).repeat(2, 1, 1)
            B[0, n - 1, 0] = share * BEYOND_ROUNDING
            S = launch_symmetric_part(B)
            note(f"asymmetry {share}, n={n}", S[0].isnan().all() == (share > 1))
            note(f"beside asymmetry {share}, n={n}", torch.equal(S[1], B[1]))
    zero = torch.zeros(2, 5, 5)
    note("zero", torch.equal(launch_symmetric_part(zero), zero))
    print(json.dumps(records))


if __name__ == "__main__":
    main()
