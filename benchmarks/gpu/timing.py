"""What a computation takes of a user's time, of the GPU's, and of launches."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.processes import OK, told
from benchmarks.gpu.setting import Setting
from benchmarks.measure import Row, milliseconds, settled

CALLS = 3
"""Calls that are watched; the figures are means over them."""


def side_by_side(runs: Mapping[str, Callable[[], Any]], setting: Setting) -> Iterator[Row]:
    """One row for each, timed in turns; one that raises has its error, and no turn."""
    rows: dict[str, Row] = {}
    for name, run in runs.items():
        rows[name] = {"what": name, "status": OK}
        try:
            settled(run)
        except Exception as error:  # whatever it raises is its result
            rows[name]["status"] = told(error)
    left = [name for name, row in rows.items() if row["status"] == OK]
    times = milliseconds([runs[name] for name in left], setting.min_time)
    for name, (median, iqr) in zip(left, times, strict=True):
        rows[name] |= {"wall_ms": median, "wall_iqr_ms": iqr}
        rows[name] |= watched(runs[name], setting.device)
    yield from rows.values()


def watched(run: Callable[[], Any], device: str) -> Row:
    """Milliseconds of the kernels of a call, and their number; None on a CPU."""
    if device != "cuda":
        return {"gpu_ms": None, "launches": None}
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA], acc_events=True) as seen:
        for _ in range(CALLS):
            run()
        torch.cuda.synchronize()
    events = [
        event
        for event in seen.events()
        if event.device_type == torch.autograd.DeviceType.CUDA
        and not getattr(event, "is_user_annotation", False)
    ]
    total = sum(event.device_time for event in events) / 1e3
    return {"gpu_ms": total / CALLS, "launches": round(len(events) / CALLS)}
